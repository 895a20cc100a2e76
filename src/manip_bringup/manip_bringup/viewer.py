"""The operator page: the robot, the hand, the camera picture and the gauges, in a browser."""

from collections.abc import Callable
from dataclasses import dataclass, field

import mujoco
import numpy as np

from manip_bringup.body_meshes import body_meshes
from manip_bringup.hand_drawing import downscaled, draw_hand
from manip_bringup.page_server import Handler, serve_page
from manip_bringup.page_token import Gatekeeper, choose_token
from manip_bringup.palm_hand import PalmHand
from manip_bringup.robot_drawing import RobotDrawing, TargetGhost
from manip_bringup.viewer_html import latency_html, pinch_html, tracking_html
from manip_bringup.viewer_seen import SeenScene
from manip_bringup.viewer_status import Monitor
from manip_core.hand import RIGHT, Hand
from manip_core.robot_model import (
    JOINT_NAMES,
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
_SET_UP = {"Reset robot": "reset", "Calibrate hand": "calibrate"}
# The curve of the latency is redrawn so often [s].
_LATENCY_PERIOD_S = 0.5
_BACKGROUND = (23, 27, 33)


@dataclass(frozen=True, kw_only=True)
class ViewerConfig:
    """Where the page is served and which robot it shows.

    Attributes:
        hand: Side of the robot's hand, ``"left"`` or ``"right"``.
        host: Address to listen on; one that other machines reach, like ``0.0.0.0``, makes the page
            ask for its token.
        port: TCP port.
        token: What a browser must bring; empty: that of the environment variable ``MANIP_TOKEN``,
            and where others reach the page, one that is made up once and kept.
        rate: Poses sent a second, while somebody watches [Hz].
        picture_rate: Camera pictures sent a second [Hz].
        shadows: Cast shadows; without them a browser that has no graphics card keeps up better.
    """

    hand: str = RIGHT
    host: str = "127.0.0.1"
    port: int = 8080
    token: str = field(default="", repr=False)
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
    """Builds the page and keeps it up to date.

    Data comes in by the ``set_`` methods at any rate; `refresh` sends what has changed, and does
    nothing while no browser is connected. The clutch, the stop and the episodes are not among it:
    the page has a line of its own for them, which ``bench`` serves.

    Attributes:
        monitor: What the page shows as text.
        token: What the page asks for; empty where it asks for nothing.
        seen: What the page shows in the camera's own frame.
        target: The robot as it is wanted to be.
    """

    def __init__(
        self,
        config: ViewerConfig,
        monitor: Monitor,
        bench: Handler,
        press: Callable[[str], None],
    ):
        """Serve the page.

        Args:
            config: Where, and which robot.
            monitor: What is shown as text.
            bench: Serves the connections of the page's own line.
            press: Called with ``reset`` or ``calibrate`` by the buttons of the panel.

        Raises:
            RuntimeError: It cannot be served there.
            ValueError: The token is too short.
        """
        self.config = config
        self.token = choose_token(config.host, config.token)
        self.monitor = monitor
        self._press = press
        self._mirror = 1.0 if config.hand == RIGHT else -1.0
        self._model = build_model(config.hand)
        self._data = mujoco.MjData(self._model)
        self._addresses = {name: self._model.joint(name).qposadr[0] for name in JOINT_NAMES}
        self._data.qpos[: len(JOINT_NAMES)] = home(config.hand)
        self._things: dict[str, Thing] = {}
        self._shown: dict[str, object] = {}
        self._robot_changed = True
        self._latency_at = -np.inf
        gate = Gatekeeper(self.token, config.port)
        self.server = serve_page(config.host, config.port, gate, bench, label="manip")
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
        self._hand.update(hand)

    def set_picture(self, picture: np.ndarray, hand: Hand | None) -> None:
        """Show a camera picture ``(H, W, 3)`` BGR with the hand seen in it."""
        small = downscaled(picture, PICTURE_WIDTH)
        if hand is not None:
            draw_hand(small, hand, small.shape[1] / picture.shape[1])
        self._picture.image = small[:, :, ::-1]
        self._picture.visible = True
        self._no_picture.visible = False

    def refresh(self, now: float) -> None:
        """Send what has changed since the last call."""
        if not self.watched:
            return
        with self.server.atomic():
            self._show_things()
            if self._robot_changed:
                self._robot_changed = False
                mujoco.mj_kinematics(self._model, self._data)
                self._robot.move(self._data)
            self._hand.show(self._palm_hand(now), self._data)
            self.target.refresh(self._data, now)
            self.seen.refresh(now)
        self._put("tracking", self._tracking, tracking_html(self.monitor, now))
        self._put("pinches", self._pinches, pinch_html(self.monitor.seen(now)))
        if now - self._latency_at >= _LATENCY_PERIOD_S:
            self._latency_at = now
            self._put("latency", self._latency, latency_html(self.monitor, now))

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
        self._hand = PalmHand(scene, self._model, self.config.hand, self._robot.paths)
        self.seen = SeenScene(scene, self.config.hand)
        eye, target = (self._place(point) for point in _VIEWS["Front"])
        camera = self.server.initial_camera
        camera.position, camera.look_at, camera.fov = eye, target, np.radians(42)

    def _add_bodies(self) -> None:
        scene, model = self.server.scene, self._model
        mujoco.mj_kinematics(model, self._data)
        meshes = body_meshes(model)
        self._boxes = {}
        self._robot = RobotDrawing(scene, model, self._data, meshes, "/robot")
        self.target = TargetGhost(scene, model, meshes)

    def _build_panel(self) -> None:
        gui = self.server.gui
        gui.configure_theme(
            dark_mode=True, show_logo=False, show_share_button=False, brand_color=(62, 140, 220)
        )
        gui.main_panel.dock_right()
        gui.main_panel.set_width(_PANEL_WIDTH)
        gui.add_html(_STYLE)
        self._picture = gui.add_image(
            np.zeros((9, 16, 3), np.uint8), format="jpeg", jpeg_quality=75, visible=False
        )
        self._no_picture = gui.add_html(_NO_PICTURE)
        self._pinches = gui.add_html(pinch_html(None))
        self._tracking = gui.add_html(tracking_html(self.monitor, 0.0))
        self._latency = gui.add_html(latency_html(self.monitor, 0.0))
        views = gui.add_button_group("View", tuple(_VIEWS))
        views.on_click(self._on_view)
        others = gui.add_button_group("Set up", tuple(_SET_UP))
        others.on_click(lambda event: self._press(_SET_UP[event.target.value]))
        with gui.add_folder("Shown", expand_by_default=False):
            compare = gui.add_checkbox(
                "Your hand", True, hint="Show it on the robot's palm, as large as the robot's"
            )
            compare.on_update(lambda _: setattr(self, "_compare", compare.value))
            self._compare = True
            ghost = gui.add_checkbox("Target", True, hint="The robot where it is wanted to be")
            ghost.on_update(lambda _: setattr(self.target, "wanted", ghost.value))
            seen = gui.add_checkbox(
                "What is seen",
                True,
                hint="Hand, objects and contacts as they are before the camera",
            )
            seen.on_update(lambda _: setattr(self.seen, "visible", seen.value))

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

    def _palm_hand(self, now: float) -> Hand | None:
        fresh = now - self.monitor.hand_received < 1.0
        return self.monitor.hand if self._compare and fresh else None


# Buttons that a finger on a tablet hits.
_STYLE = (
    "<style>.mantine-Button-root{min-height:38px;font-size:14px;font-weight:600}"
    ".mantine-Text-root,label{letter-spacing:0!important}</style>"
)
_NO_PICTURE = (
    '<div style="margin:0 12px 8px;aspect-ratio:16/9;border-radius:6px;background:#ffffff0a;'
    'display:flex;align-items:center;justify-content:center;color:#98a2b3;font-size:14px">'
    "No camera picture yet</div>"
)
