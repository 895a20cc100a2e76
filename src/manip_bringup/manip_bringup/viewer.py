"""The operator page: the robot, the hand, the camera picture and the clutch, in a browser."""

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np
import viser
import viser.theme

from manip_bringup.body_meshes import body_meshes
from manip_bringup.hand_drawing import FINGER_COLOURS, KEYPOINT_COLOURS, downscaled, draw_hand
from manip_bringup.hand_placement import HandPlacement
from manip_bringup.robot_frames import pose_in_parent
from manip_bringup.viewer_seen import SeenScene
from manip_bringup.viewer_status import Monitor, details_html, headline_html, note_html
from manip_core.hand import RIGHT, Hand
from manip_core.hand_skeleton import BONES, FINGERS, TIPS
from manip_core.robot_model import (
    JOINT_NAMES,
    PALM_FRAME,
    TIP_FRAMES,
    TIP_RADIUS,
    build_model,
    check_side,
    home,
)
from manip_core.scene import FLOOR_Z

PICTURE_WIDTH = 480
_PANEL_WIDTH = 370
# Eye and target of each view, on the right-hand robot, in world [m].
_VIEWS = {
    "Front": ((1.55, -1.05, 0.95), (0.30, -0.06, 0.30)),
    "Behind": ((-0.75, -0.80, 1.05), (0.40, -0.10, 0.36)),
    "Hand": ((1.10, -0.50, 0.78), (0.62, -0.13, 0.55)),
}
# Changes of pose that nobody sees are not sent [m], [1].
_STILL = 1e-4
_BACKGROUND = (23, 27, 33)
_GHOST = (235, 238, 245)


@dataclass(frozen=True, kw_only=True)
class ViewerConfig:
    """Where the page is served and which robot it shows.

    Attributes:
        hand: Side of the robot's hand, ``"left"`` or ``"right"``.
        host: Address to listen on; ``0.0.0.0`` lets other machines in, buttons included.
        port: TCP port.
        rate: Poses sent a second, while somebody watches [Hz].
        picture_rate: Camera pictures sent a second [Hz].
        shadows: Cast shadows; without them a browser that has no graphics card keeps up better.
    """

    hand: str = RIGHT
    host: str = "127.0.0.1"
    port: int = 8080
    rate: float = 25.0
    picture_rate: float = 15.0
    shadows: bool = True

    def __post_init__(self):
        check_side(self.hand)
        if not 0 < self.port < 65536:
            raise ValueError(f"port must be within 1 and 65535, got {self.port}")
        for name in ("rate", "picture_rate"):
            if not 0 < getattr(self, name) <= 120:
                raise ValueError(f"{name} must be within 0 and 120 Hz, got {getattr(self, name)}")


@dataclass(frozen=True)
class Thing:
    """An object of the scene in world: position [m], quaternion (x, y, z, w), size [m]."""

    name: str
    position: np.ndarray
    quaternion: np.ndarray
    size: np.ndarray


class Viewer:
    """Builds the page and keeps it up to date; buttons call ``actions`` by their names.

    Data comes in by the ``set_`` methods at any rate; `refresh` sends what has changed, and does
    nothing while no browser is connected.

    Attributes:
        monitor: What the page shows as text.
        seen: What the page shows in the camera's own frame.
    """

    def __init__(self, config: ViewerConfig, actions: dict[str, Callable[[], None]]):
        self.config = config
        self.monitor = Monitor()
        self._actions = actions
        self._mirror = 1.0 if config.hand == RIGHT else -1.0
        self._model = build_model(config.hand)
        self._data = mujoco.MjData(self._model)
        self._addresses = {name: self._model.joint(name).qposadr[0] for name in JOINT_NAMES}
        self._data.qpos[: len(JOINT_NAMES)] = home(config.hand)
        self._placement = HandPlacement(self._model, config.hand)
        self._things: dict[str, Thing] = {}
        self._shown: dict[str, object] = {}
        self._note = ("", True)
        self._robot_changed = True
        try:
            self.server = viser.ViserServer(
                host=config.host, port=config.port, label="manip", verbose=False
            )
        except OSError as error:
            raise RuntimeError(f"cannot serve on {config.host}:{config.port}: {error}") from error
        self._build_scene()
        self._build_panel()

    @property
    def watched(self) -> bool:
        """True while a browser is connected."""
        return bool(self.server.get_clients())

    def close(self) -> None:
        """Stop serving."""
        self.server.stop()

    def set_joints(self, names, positions, now: float) -> None:
        """Take joint positions by name [rad]; names that are not the robot's are passed over."""
        for name, position in zip(names, positions, strict=False):
            address = self._addresses.get(name)
            if address is not None and np.isfinite(position):
                self._data.qpos[address] = position
        self._robot_changed = True
        self.monitor.on_robot(now)

    def set_things(self, things: list[Thing]) -> None:
        """Take the poses of the objects."""
        for thing in things:
            if np.isfinite(thing.position).all() and np.linalg.norm(thing.quaternion) > 0.1:
                self._things[thing.name] = thing

    def set_hand(self, hand: Hand, now: float) -> None:
        """Take the smoothed hand."""
        self.monitor.on_hand(hand, now)
        self._placement.update(hand)

    def set_picture(self, picture: np.ndarray, hand: Hand | None) -> None:
        """Show a camera picture ``(H, W, 3)`` BGR with the hand seen in it."""
        small = downscaled(picture, PICTURE_WIDTH)
        if hand is not None:
            draw_hand(small, hand, small.shape[1] / picture.shape[1])
        self._picture.image = small[:, :, ::-1]
        self._picture.visible = True
        self._no_picture.visible = False

    def note(self, text: str, good: bool = True) -> None:
        """Say what came of a button."""
        self._note = (text, good)

    def refresh(self, now: float) -> None:
        """Send what has changed since the last call."""
        if not self.watched:
            return
        with self.server.atomic():
            self._show_things()
            if self._robot_changed:
                self._robot_changed = False
                self._move_bodies()
            self._show_hand(now)
            self.seen.refresh(now)
        self._put("headline", self._headline, headline_html(self.monitor, now))
        self._put("note", self._note_text, note_html(*self._note))
        self._put("details", self._details, details_html(self.monitor, now))

    def _put(self, key: str, element, content: str) -> None:
        if self._shown.get(key) != content:
            self._shown[key] = element.content = content

    def _build_scene(self) -> None:
        scene = self.server.scene
        scene.set_up_direction("+z")
        scene.world_axes.visible = False
        scene.set_background_image(np.full((2, 2, 3), _BACKGROUND, np.uint8), format="png")
        scene.configure_default_lights(enabled=False)
        scene.add_light_ambient("/lights/ambient", intensity=0.55, color=(205, 218, 240))
        sun = scene.add_light_directional(
            "/lights/sun", intensity=1.4, color=(255, 246, 232), cast_shadow=self.config.shadows
        )
        sun.position = (1.2, -1.4 * self._mirror, 2.4)
        scene.add_light_directional(
            "/lights/fill", intensity=0.4, color=(170, 195, 255)
        ).position = (-1.5, 1.5 * self._mirror, 1.2)
        scene.add_grid(
            "/floor",
            width=6.0,
            height=6.0,
            position=(0.35, 0.0, FLOOR_Z),
            cell_color=(44, 50, 59),
            section_color=(56, 63, 74),
            fade_distance=9.0,
            shadow_opacity=0.25,
        )
        self._add_bodies()
        self._add_hand_nodes()
        self.seen = SeenScene(scene, self.config.hand)
        eye, target = (self._place(point) for point in _VIEWS["Front"])
        camera = self.server.initial_camera
        camera.position, camera.look_at, camera.fov = eye, target, np.radians(42)

    def _add_bodies(self) -> None:
        """One node a body, nested as the robot is: a joint that turns is one small message."""
        scene, model = self.server.scene, self._model
        mujoco.mj_kinematics(model, self._data)
        self._frames, self._boxes, paths = {}, {}, {0: "/robot"}
        for body in range(1, model.nbody):
            paths[body] = f"{paths[model.body_parentid[body]]}/{model.body(body).name}"
            position, quaternion = pose_in_parent(model, self._data, body)
            frame = scene.add_frame(
                paths[body], show_axes=False, position=position, wxyz=quaternion
            )
            if model.body_jntnum[body]:
                self._frames[body] = frame
        self._paths = {model.body(body).name: path for body, path in paths.items()}
        for index, mesh in enumerate(body_meshes(model)):
            path = f"{self._paths[mesh.body]}/mesh_{index}"
            scene.add_mesh_simple(path, mesh.vertices, mesh.faces, color=mesh.colour)

    def _move_bodies(self) -> None:
        mujoco.mj_kinematics(self._model, self._data)
        for body, frame in self._frames.items():
            position, quaternion = pose_in_parent(self._model, self._data, body)
            if np.abs(quaternion - frame.wxyz).max() > _STILL:
                frame.wxyz = quaternion
            if np.abs(position - frame.position).max() > _STILL:
                frame.position = position

    def _add_hand_nodes(self) -> None:
        scene = self.server.scene
        # Children of the robot's own bodies, so that they move with them in every frame drawn.
        for finger, tip in TIP_FRAMES.items():
            scene.add_icosphere(
                f"{self._paths[tip]}/mark", radius=1.06 * TIP_RADIUS, color=FINGER_COLOURS[finger]
            )
        palm = self._paths[PALM_FRAME]
        colours = np.repeat(KEYPOINT_COLOURS[BONES[:, 1]][:, None], 2, axis=1)
        self._ghost = scene.add_line_segments(
            f"{palm}/bones",
            np.zeros((len(BONES), 2, 3), np.float32),
            colors=colours,
            thickness=0.004,
            visible=False,
        )
        self._human_tips = scene.add_point_cloud(
            f"{palm}/tips",
            np.zeros((5, 3), np.float32),
            colors=np.array([FINGER_COLOURS[finger] for finger in FINGERS], np.uint8),
            point_size=0.009,
            point_shape="circle",
            visible=False,
        )
        self._links = scene.add_line_segments(
            f"{palm}/links",
            np.zeros((4, 2, 3), np.float32),
            colors=_GHOST,
            thickness=0.0015,
            visible=False,
        )

    def _build_panel(self) -> None:
        gui = self.server.gui
        gui.configure_theme(
            dark_mode=True, show_logo=False, show_share_button=False, brand_color=(62, 140, 220)
        )
        gui.main_panel.dock_right()
        gui.main_panel.set_width(_PANEL_WIDTH)
        gui.add_html(_STYLE)
        self._headline = gui.add_html(headline_html(self.monitor, 0.0))
        for name, label, colour in (
            ("engage", "Engage", (38, 128, 88)),
            ("hold", "Hold", (186, 62, 62)),
        ):
            button = gui.add_button(label, color=colour, hint=_HINTS[name])
            button.on_click(lambda _, name=name: self._press(name))
        others = gui.add_button_group("Set up", ("Reset robot", "Calibrate hand"))
        others.on_click(
            lambda event: self._press("reset" if "Reset" in event.target.value else "calibrate")
        )
        self._note_text = gui.add_html("")
        self._picture = gui.add_image(
            np.zeros((9, 16, 3), np.uint8), format="jpeg", jpeg_quality=75, visible=False
        )
        self._no_picture = gui.add_html(_NO_PICTURE)
        self._details = gui.add_html(details_html(self.monitor, 0.0))
        views = gui.add_button_group("View", tuple(_VIEWS))
        views.on_click(self._on_view)
        compare = gui.add_checkbox(
            "Your hand", True, hint="Show it on the robot's palm, as large as the robot's"
        )
        compare.on_update(lambda _: setattr(self, "_compare", compare.value))
        self._compare = True
        seen = gui.add_checkbox(
            "What is seen", True, hint="Hand, objects and contacts as they are before the camera"
        )
        seen.on_update(lambda _: setattr(self.seen, "visible", seen.value))

    def _press(self, name: str) -> None:
        self.note(_PRESSED[name])
        self._actions[name]()

    def _on_view(self, event) -> None:
        eye, target = (self._place(point) for point in _VIEWS[event.target.value])
        with event.client.atomic():
            event.client.camera.position, event.client.camera.look_at = eye, target

    def _place(self, point) -> tuple[float, float, float]:
        return (point[0], point[1] * self._mirror, point[2])

    def _show_things(self) -> None:
        """Pose the model's own objects; unknown ones are shown as boxes of their size."""
        for name, thing in self._things.items():
            quaternion = np.roll(thing.quaternion / np.linalg.norm(thing.quaternion), 1)
            address = self._free_joint(name)
            if address is not None:
                state = np.concatenate((thing.position, quaternion))
                if not np.allclose(self._data.qpos[address : address + 7], state, atol=1e-5):
                    self._data.qpos[address : address + 7] = state
                    self._robot_changed = True
                continue
            if name not in self._boxes:
                self._boxes[name] = self.server.scene.add_box(
                    f"/things/{name}", color=(170, 120, 200), dimensions=tuple(thing.size)
                )
            self._boxes[name].position, self._boxes[name].wxyz = thing.position, quaternion

    def _free_joint(self, name: str) -> int | None:
        body = mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_BODY, name)
        joint = self._model.body_jntadr[body] if body >= 0 else -1
        if joint < 0 or self._model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_FREE:
            return None
        return int(self._model.jnt_qposadr[joint])

    def _show_hand(self, now: float) -> None:
        hand, points = self.monitor.hand, None
        fresh = now - self.monitor.hand_received < 1.0
        if self._compare and fresh and hand is not None and hand.tracked:
            points = self._placement.on_palm(hand)
        for node in (self._ghost, self._human_tips, self._links):
            node.visible = points is not None
        if points is None:
            return
        self._ghost.points = points[BONES].astype(np.float32)
        self._human_tips.points = points[TIPS].astype(np.float32)
        palm = self._data.body(PALM_FRAME)
        tips = np.array([self._data.body(name).xpos for name in TIP_FRAMES.values()])
        tips = (tips - palm.xpos) @ palm.xmat.reshape(3, 3)
        rows = [TIPS[FINGERS.index(finger)] for finger in TIP_FRAMES]
        self._links.points = np.stack((points[rows], tips), axis=1).astype(np.float32)


# Buttons that a finger on a tablet hits.
_STYLE = (
    "<style>.mantine-Button-root{min-height:36px;font-size:14px;font-weight:600}"
    ".mantine-Text-root,label{letter-spacing:0!important}</style>"
)
_HINTS = {
    "engage": "The robot follows your hand from where it stands",
    "hold": "The robot slows down and stands",
}
_PRESSED = {
    "engage": "Engaging …",
    "hold": "Holding …",
    "reset": "Resetting …",
    "calibrate": "Hold your open hand before the camera, fingers straight …",
}
_NO_PICTURE = (
    '<div style="margin:0 12px 6px;aspect-ratio:16/9;border-radius:6px;background:#ffffff0a;'
    'display:flex;align-items:center;justify-content:center;color:#8b95a5;font-size:14px">'
    "No camera picture yet</div>"
)
