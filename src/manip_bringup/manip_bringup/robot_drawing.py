"""The robot in the page's scene: as it stands, and as a ghost of where it is wanted to be."""

import mujoco
import numpy as np
import viser

from manip_bringup.body_meshes import BodyMesh
from manip_bringup.robot_frames import pose_in_parent
from manip_core.robot_model import JOINT_NAMES

# Changes of pose that nobody sees are not sent [m], [1].
_STILL = 1e-4
_GHOST_COLOUR, _GHOST_OPACITY = (92, 200, 255), 0.28
# A target that nobody has confirmed for so long is not shown [s].
_STALE_S = 0.6
# The ghost shows when some joint is farther than the first from where it is wanted to be, and goes
# when none is farther than the second [rad]: inside the robot it would only flicker.
_APART, _TOGETHER = 0.08, 0.03


class RobotDrawing:
    """One node a body, nested as the robot is: a joint that turns is one small message.

    Attributes:
        paths: Path of each body's node, by the body's name.
        frames: Nodes of the bodies that joints move, by the body's number.
    """

    def __init__(
        self,
        scene: viser.SceneApi,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        meshes: list[BodyMesh],
        root: str,
        bodies: set[int] | None = None,
        **look,
    ):
        """Make the nodes.

        Args:
            scene: Where.
            model: The robot and its scene.
            data: Posture to begin with, its kinematics computed.
            meshes: What to draw.
            root: Path of the node above all of them.
            bodies: Those to draw, and those above them; None for all.
            **look: Passed on to every mesh, before its own colour.
        """
        self._model = model
        self.frames: dict[int, viser.FrameHandle] = {}
        paths = {0: root}
        wanted = range(1, model.nbody) if bodies is None else sorted(_with_parents(model, bodies))
        for body in wanted:
            paths[body] = f"{paths[model.body_parentid[body]]}/{model.body(body).name}"
            position, quaternion = pose_in_parent(model, data, body)
            frame = scene.add_frame(
                paths[body], show_axes=False, position=position, wxyz=quaternion
            )
            if model.body_jntnum[body]:
                self.frames[body] = frame
        self.paths = {model.body(body).name: path for body, path in paths.items()}
        for index, mesh in enumerate(meshes):
            if bodies is not None and model.body(mesh.body).id not in bodies:
                continue
            path = f"{self.paths[mesh.body]}/mesh_{index}"
            scene.add_mesh_simple(
                path, mesh.vertices, mesh.faces, **({"color": mesh.colour} | look)
            )

    def move(self, data: mujoco.MjData) -> None:
        """Send where ``data`` has moved the bodies to."""
        for body, frame in self.frames.items():
            position, quaternion = pose_in_parent(self._model, data, body)
            if np.abs(quaternion - frame.wxyz).max() > _STILL:
                frame.wxyz = quaternion
            if np.abs(position - frame.position).max() > _STILL:
                frame.position = position


class TargetGhost:
    """The robot in the posture that the retargeting asks for, where it is not there already."""

    def __init__(self, scene: viser.SceneApi, model: mujoco.MjModel, meshes: list[BodyMesh]):
        self.wanted = True
        self._model = model
        self._data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, self._data)
        self._addresses = {name: model.joint(name).qposadr[0] for name in JOINT_NAMES}
        self._root = scene.add_frame("/target", show_axes=False, visible=False)
        self._drawing = RobotDrawing(
            scene,
            model,
            self._data,
            meshes,
            "/target",
            _moved_by(model, JOINT_NAMES),
            color=_GHOST_COLOUR,
            opacity=_GHOST_OPACITY,
            cast_shadow=False,
            receive_shadow=False,
        )
        self._target: dict[str, float] = {}
        self._received = -np.inf

    @property
    def visible(self) -> bool:
        """Whether it is shown just now."""
        return self._root.visible

    def set_target(self, names, positions, now: float) -> None:
        """Take a target by joint name [rad]; what is not the robot's or not finite is left out."""
        for name, position in zip(names, positions, strict=False):
            if name in self._addresses and np.isfinite(position):
                self._target[name] = float(position)
        self._received = now

    def refresh(self, robot: mujoco.MjData, now: float) -> None:
        """Send what has changed, given the robot's own posture."""
        visible = self.wanted and now - self._received < _STALE_S
        if visible:
            # Joints without a target are where the robot has them.
            self._data.qpos[:] = robot.qpos
            for name, position in self._target.items():
                self._data.qpos[self._addresses[name]] = position
            apart = np.abs(self._data.qpos - robot.qpos).max()
            visible = apart > (_TOGETHER if self._root.visible else _APART)
        if visible:
            mujoco.mj_kinematics(self._model, self._data)
            self._drawing.move(self._data)
        if visible != self._root.visible:
            self._root.visible = visible


def _moved_by(model: mujoco.MjModel, joints) -> set[int]:
    """Bodies that these joints move."""
    moved = {int(model.joint(name).bodyid[0]) for name in joints}
    for body in range(1, model.nbody):
        if model.body_parentid[body] in moved:
            moved.add(body)
    return moved


def _with_parents(model: mujoco.MjModel, bodies: set[int]) -> set[int]:
    found = set()
    for body in bodies:
        while body:
            found.add(body)
            body = int(model.body_parentid[body])
    return found
