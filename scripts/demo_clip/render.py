"""Frames of the posed hand: MuJoCo draws hand and sleeve, this module puts them into the room."""

import os

os.environ.setdefault("MUJOCO_GL", "egl")

import cv2
import mujoco
import numpy as np

from demo_clip import appearance
from demo_clip.hand_model import FOREARM, HandModel
from demo_clip.mesh_tools import vertex_normals
from demo_clip.pose import skin

WIDTH, HEIGHT, OVERSAMPLE = 640, 480, 2
FIELD_OF_VIEW = np.radians(60.0)  # horizontal: an ordinary webcam
NEAR, FAR = 0.1, 5.0
GRAIN = 0.010  # deviation of the sensor's noise, 0 to 1
OPTICAL_TO_WORLD = np.diag([1.0, -1.0, -1.0])  # MuJoCo's camera looks along its own -z, y up

# Direction of travel (world), colour, casts shadows: window at the upper right, lamp, bounce, rim.
# The window is wide: three suns beside each other soften its shadow's edge.
LIGHTS = [
    ((-0.45, -0.60, -0.66), (0.21, 0.20, 0.19), True),
    ((-0.52, -0.52, -0.68), (0.21, 0.20, 0.19), True),
    ((-0.36, -0.62, -0.72), (0.21, 0.20, 0.19), True),
    ((0.75, -0.15, -0.65), (0.20, 0.21, 0.23), False),
    ((0.0, 0.9, -0.45), (0.12, 0.10, 0.09), False),
    ((-0.8, -0.3, 0.5), (0.20, 0.22, 0.25), False),
]


def camera_matrix() -> np.ndarray:
    """``(3, 3)`` pinhole intrinsics, pixel centres at whole numbers."""
    f = WIDTH / 2 / np.tan(FIELD_OF_VIEW / 2)
    return np.array([[f, 0, (WIDTH - 1) / 2], [0, f, (HEIGHT - 1) / 2], [0, 0, 1.0]])


class _Skin:
    """The hand's mesh with one vertex for each pair of position and texture coordinate."""

    def __init__(self, model: HandModel) -> None:
        pairs = np.stack([model.faces.ravel(), model.faces_uv.ravel()], axis=1)
        unique, index = np.unique(pairs, axis=0, return_inverse=True)
        self.vertex, self.texel = unique.T
        self.faces = index.reshape(-1, 3)


class Renderer:
    """Draws the hand over its background.

    Args:
        model: The hand.
        seed: Of textures, room and grain.
    """

    def __init__(self, model: HandModel, seed: int) -> None:
        self._hand, self._skin = model, _Skin(model)
        self._rng = np.random.default_rng(seed)
        self._room = appearance.background(WIDTH, HEIGHT, seed)
        cloth = appearance.sleeve(model, seed)
        self._cloth_points, self._cloth_faces = cloth[0], cloth[1]
        self._model = self._compile(appearance.skin_texture(model, seed), cloth)
        self._data = mujoco.MjData(self._model)
        mujoco.mj_forward(self._model, self._data)
        self._size = (WIDTH * OVERSAMPLE, HEIGHT * OVERSAMPLE)
        self._gl = mujoco.GLContext(*self._size)
        self._gl.make_current()
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(self._model, maxgeom=16)
        self._option, self._camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._camera.type, self._camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0

    def _compile(self, texture: np.ndarray, cloth: tuple[np.ndarray, ...]) -> mujoco.MjModel:
        spec = mujoco.MjSpec()
        spec.visual.global_.offwidth = WIDTH * OVERSAMPLE
        spec.visual.global_.offheight = HEIGHT * OVERSAMPLE
        spec.visual.quality.offsamples = 0  # the edge between hand and room must be sharp here
        spec.visual.quality.shadowsize = 4096
        spec.visual.headlight.ambient = [0.36, 0.34, 0.33]
        spec.visual.headlight.diffuse = [0.16, 0.16, 0.16]
        spec.visual.headlight.specular = [0.0, 0.0, 0.0]
        spec.stat.extent, spec.stat.center = 1.0, [0, 0, -0.5]
        spec.visual.map.znear, spec.visual.map.zfar = NEAR, FAR
        spec.visual.map.shadowclip, spec.visual.map.shadowscale = 0.45, 0.9
        world = spec.worldbody
        fovy = np.degrees(2 * np.arctan(np.tan(FIELD_OF_VIEW / 2) * HEIGHT / WIDTH))
        world.add_camera(name="webcam", pos=[0, 0, 0], fovy=fovy)
        for direction, colour, shadows in LIGHTS:
            d = np.array(direction) / np.linalg.norm(direction)
            world.add_light(
                pos=np.array([0, 0, -0.45]) - 0.8 * d,
                dir=d,
                diffuse=colour,
                specular=0.5 * np.array(colour),
                castshadow=shadows,
                type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
            )
        s = self._skin
        parts = {
            "skin": (
                self._hand.vertices[s.vertex],
                s.faces,
                self._hand.uv[s.texel],
                texture,
                0.16,
                0.35,
            ),
            "sleeve": (*cloth, 0.02, 0.1),
        }
        for name, (points, faces, uv, image, specular, shininess) in parts.items():
            drawn = spec.add_texture(
                name=name,
                type=mujoco.mjtTexture.mjTEXTURE_2D,
                width=image.shape[1],
                height=image.shape[0],
                nchannel=3,
            )
            drawn.data = image.tobytes()
            material = spec.add_material(name=name, specular=specular, shininess=shininess)
            material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
            spec.add_mesh(
                name=name,
                uservert=points.ravel(),
                userface=faces.ravel(),
                usertexcoord=(uv * [1, -1] + [0, 1]).ravel(),
                usernormal=vertex_normals(points, faces).ravel(),
                inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
            )
            world.add_geom(
                type=mujoco.mjtGeom.mjGEOM_MESH,
                meshname=name,
                material=name,
                contype=0,
                conaffinity=0,
            )
        return spec.compile()

    def _put(self, mesh: int, points: np.ndarray, normals: np.ndarray) -> None:
        m = self._model
        first, count = m.mesh_vertadr[mesh], m.mesh_vertnum[mesh]
        if count != len(points):
            raise RuntimeError(f"mesh has {count} vertices, got {len(points)}")
        m.mesh_vert[first : first + count] = points @ OPTICAL_TO_WORLD
        first = m.mesh_normaladr[mesh]
        m.mesh_normal[first : first + count] = normals @ OPTICAL_TO_WORLD
        mujoco.mjr_uploadMesh(m, self._context, mesh)
        self._data.geom_xpos[mesh] = 0.0
        self._data.geom_xmat[mesh] = np.eye(3).ravel()

    def layer(
        self, transforms: np.ndarray, rotation: np.ndarray, wrist: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Colour ``(960, 1280, 3)``, 0 to 1, and depth ``(960, 1280)`` [m], ``inf`` where none."""
        hand = skin(self._hand, transforms) @ rotation.T + wrist
        normals = vertex_normals(hand, self._hand.faces)
        self._put(0, hand[self._skin.vertex], normals[self._skin.vertex])
        t = transforms[FOREARM]
        cloth = (self._cloth_points @ t[:3, :3].T + t[:3, 3]) @ rotation.T + wrist
        self._put(1, cloth, vertex_normals(cloth, self._cloth_faces))
        mujoco.mjv_updateScene(
            self._model,
            self._data,
            self._option,
            None,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        view = mujoco.MjrRect(0, 0, *self._size)
        mujoco.mjr_render(view, self._scene, self._context)
        rgb = np.empty((self._size[1], self._size[0], 3), np.uint8)
        z = np.empty((self._size[1], self._size[0]), np.float32)
        mujoco.mjr_readPixels(rgb, z, view, self._context)
        rgb, z = rgb[::-1].astype(np.float32) / 255, z[::-1]
        depth = NEAR * FAR / (FAR - z * (FAR - NEAR))
        return rgb, np.where(z >= 1, np.inf, depth)

    def frame(self, transforms: np.ndarray, rotation: np.ndarray, wrist: np.ndarray) -> np.ndarray:
        """One BGR image ``(480, 640, 3)`` uint8.

        Args:
            transforms: ``(21, 4, 4)`` bones, palm frame.
            rotation: ``(3, 3)`` palm frame to camera_optical_frame.
            wrist: ``(3,)`` [m], camera_optical_frame.
        """
        rgb, depth = self.layer(transforms, rotation, wrist)
        there = np.isfinite(depth)
        near = np.where(there, depth, 0).astype(np.float32)
        shade = np.zeros_like(near)
        # Creases see less of the room: darker where the surroundings are nearer.
        for radius in (6, 18):
            share = cv2.GaussianBlur(there.astype(np.float32), (0, 0), radius)
            around = cv2.GaussianBlur(near, (0, 0), radius) / np.maximum(share, 1e-3)
            shade += np.clip((near - around) / 0.012, 0, 1) * there
        # Light that went through the skin: shadows are redder and softer than on stone.
        rgb = rgb * (1 - 0.30 * shade[..., None] * np.array([0.75, 1.0, 1.0], np.float32))
        rgb = rgb ** np.array([0.90, 0.97, 1.0], np.float32)
        alpha = there.astype(np.float32)
        premultiplied = np.dstack([rgb * alpha[..., None], alpha])
        small = cv2.resize(premultiplied, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), 0.55)  # the lens
        image = small[..., :3] + (1 - small[..., 3:]) * self._room
        grain = self._rng.normal(size=(*image.shape[:2], 1)) + 0.4 * self._rng.normal(
            size=image.shape
        )
        image = image + GRAIN * cv2.GaussianBlur(grain, (0, 0), 0.6)
        return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)[..., ::-1].copy()

    def close(self) -> None:
        """Gives the graphics memory back."""
        self._context.free()
        self._gl.free()
