"""Triangle meshes of what a MuJoCo model shows, merged per body and colour."""

from dataclasses import dataclass

import mujoco
import numpy as np
import trimesh

from manip_core.scene import COLLISION_GROUP

_GEOM = mujoco.mjtGeom
_SECTIONS = 32
# Edges sharper than this stay sharp when the mesh is shaded smoothly [rad].
_CREASE = 0.6


@dataclass(frozen=True)
class BodyMesh:
    """Everything of one colour on one body.

    Attributes:
        body: Name of the body.
        vertices: ``(V, 3)`` in [m], in the body's frame.
        faces: ``(F, 3)`` rows of ``vertices``.
        colour: Red, green and blue, 0 to 255.
    """

    body: str
    vertices: np.ndarray
    faces: np.ndarray
    colour: tuple[int, int, int]


def body_meshes(model: mujoco.MjModel) -> list[BodyMesh]:
    """All visible geoms but planes, in the order of the bodies."""
    groups: dict[tuple[int, tuple[int, int, int]], list[trimesh.Trimesh]] = {}
    for geom in range(model.ngeom):
        if model.geom_group[geom] == COLLISION_GROUP:
            continue
        mesh = _geom_mesh(model, geom)
        if mesh is None:
            continue
        material = model.geom_matid[geom]
        rgba = model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]
        colour = tuple(round(255 * float(c)) for c in rgba[:3])
        groups.setdefault((int(model.geom_bodyid[geom]), colour), []).append(mesh)
    result = []
    for (body, colour), parts in sorted(groups.items()):
        merged = trimesh.util.concatenate(parts)
        result.append(
            BodyMesh(
                model.body(body).name,
                np.asarray(merged.vertices, np.float32),
                np.asarray(merged.faces, np.uint32),
                colour,
            )
        )
    return result


def _geom_mesh(model: mujoco.MjModel, geom: int) -> trimesh.Trimesh | None:
    size = model.geom_size[geom]
    kind = model.geom_type[geom]
    if kind == _GEOM.mjGEOM_BOX:
        mesh = trimesh.creation.box(2 * size)
    elif kind == _GEOM.mjGEOM_CYLINDER:
        mesh = trimesh.creation.cylinder(size[0], 2 * size[1], sections=_SECTIONS)
    elif kind == _GEOM.mjGEOM_CAPSULE:
        mesh = trimesh.creation.capsule(2 * size[1], size[0], count=[_SECTIONS, _SECTIONS // 2])
    elif kind == _GEOM.mjGEOM_SPHERE:
        mesh = trimesh.creation.uv_sphere(size[0], count=[_SECTIONS // 2, _SECTIONS])
    elif kind == _GEOM.mjGEOM_ELLIPSOID:
        mesh = trimesh.creation.uv_sphere(1.0, count=[_SECTIONS // 2, _SECTIONS])
        mesh.apply_scale(size)
    elif kind == _GEOM.mjGEOM_MESH:
        mesh = _stored_mesh(model, model.geom_dataid[geom])
    else:
        return None
    pose = np.eye(4)
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
    pose[:3, :3], pose[:3, 3] = rotation.reshape(3, 3), model.geom_pos[geom]
    mesh.apply_transform(pose)
    return trimesh.graph.smooth_shade(mesh, angle=_CREASE)


def _stored_mesh(model: mujoco.MjModel, mesh: int) -> trimesh.Trimesh:
    first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
    vertices = model.mesh_vert[first : first + count]
    first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
    return trimesh.Trimesh(vertices.copy(), model.mesh_face[first : first + count].copy())
