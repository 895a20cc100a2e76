"""What the camera sees, on the operator page: surface of the hand, objects, contacts."""

from dataclasses import dataclass

import numpy as np
import viser

from manip_bringup.contact_drawing import drawn_contacts
from manip_bringup.hand_mesh import hand_faces
from manip_core.hand import RIGHT, SeenContact, SeenObject
from manip_core.robot_model import camera_mount
from manip_core.rotation import quaternion_from_matrix

# What nobody has confirmed for so long is not shown [s].
_STALE_S = 1.0
_ROOT = "/camera"
# From where the camera of the robot's model stands, away from a right-hand robot [m].
_ASIDE = np.array((-0.1, 0.42, 0.0))
_SKIN, _OBJECT = (168, 196, 232), (170, 120, 200)
_SKIN_OPACITY, _OBJECT_OPACITY = 0.6, 0.35


@dataclass
class _Heard:
    """The last message of a kind: what it said, when, and whether that is on the page."""

    value: object = None
    received: float = -np.inf
    shown: bool = True

    def take(self, value: object, now: float) -> None:
        self.value, self.received, self.shown = value, now, False


class SeenScene:
    """Draws in ``camera_optical_frame``, beside the robot: the two would cover each other.

    Nodes are made when there is first something to show, so that a page without costs nothing.
    """

    def __init__(self, scene: viser.SceneApi, side: str):
        self._scene = scene
        rotation, position = camera_mount(side)
        quaternion = np.roll(quaternion_from_matrix(rotation), 1)
        position = position + _ASIDE * (1.0, 1.0 if side == RIGHT else -1.0, 1.0)
        self._root = scene.add_frame(_ROOT, show_axes=False, position=position, wxyz=quaternion)
        self._surface, self._objects, self._contacts = _Heard(), _Heard(()), _Heard(())
        self._mesh: viser.MeshHandle | None = None
        self._arrows: viser.ArrowsHandle | None = None
        self._dots: viser.PointCloudHandle | None = None
        self._things: dict[str, viser.FrameHandle] = {}

    @property
    def visible(self) -> bool:
        """Whether any of it is shown."""
        return self._root.visible

    @visible.setter
    def visible(self, value: bool) -> None:
        self._root.visible = value

    def set_surface(self, vertices: np.ndarray | None, side: str, now: float) -> None:
        """Take the vertices ``(778, 3)`` of a hand of that side, or None where there is none."""
        self._surface.take(None if vertices is None else (vertices, side), now)

    def set_objects(self, objects: tuple[SeenObject, ...], now: float) -> None:
        """Take all objects that are seen."""
        self._objects.take(objects, now)

    def set_contacts(self, contacts: tuple[SeenContact, ...], now: float) -> None:
        """Take all contacts of the hand."""
        self._contacts.take(contacts, now)

    def refresh(self, now: float) -> None:
        """Send what has changed since the last call."""
        if not self.visible:
            return
        for heard, nothing, show in (
            (self._surface, None, self._show_surface),
            (self._objects, (), self._show_objects),
            (self._contacts, (), self._show_contacts),
        ):
            if heard.value and now - heard.received > _STALE_S:
                heard.take(nothing, now)
            if not heard.shown:
                heard.shown = True
                show(heard.value)

    def _show_surface(self, surface: tuple[np.ndarray, str] | None) -> None:
        if surface is None:
            if self._mesh is not None:
                self._mesh.visible = False
            return
        vertices, side = surface[0].astype(np.float32), surface[1]
        faces = hand_faces(side)
        if self._mesh is None:
            self._mesh = self._scene.add_mesh_simple(
                f"{_ROOT}/hand",
                vertices,
                faces,
                color=_SKIN,
                opacity=_SKIN_OPACITY,
                cast_shadow=False,
                receive_shadow=False,
            )
            return
        self._mesh.vertices = vertices
        if (self._mesh.faces[0] != faces[0]).any():
            self._mesh.faces = faces
        self._mesh.visible = True

    def _show_objects(self, objects: tuple[SeenObject, ...]) -> None:
        named = {_node_name(seen.name): seen for seen in objects}
        for name in set(self._things) - set(named):
            # The children go with it.
            self._things.pop(name).remove()
        for name, seen in named.items():
            if name not in self._things:
                self._things[name] = self._add_object(name, seen)
            frame = self._things[name]
            frame.position = seen.position
            frame.wxyz = np.roll(quaternion_from_matrix(seen.rotation), 1)

    def _add_object(self, name: str, seen: SeenObject) -> viser.FrameHandle:
        path = f"{_ROOT}/objects/{name}"
        frame = self._scene.add_frame(path, axes_length=0.05, axes_radius=0.001)
        if seen.size is not None:
            self._scene.add_box(
                f"{path}/box",
                color=_OBJECT,
                dimensions=tuple(seen.size),
                opacity=_OBJECT_OPACITY,
                cast_shadow=False,
                receive_shadow=False,
            )
        self._scene.add_label(f"{path}/name", seen.name, font_screen_scale=0.8)
        return frame

    def _show_contacts(self, contacts: tuple[SeenContact, ...]) -> None:
        points, ends, colours = drawn_contacts(contacts)
        points, ends = points.astype(np.float32), ends.astype(np.float32)
        known = (points != ends).any(axis=1)
        arrows = np.stack((points, ends), axis=1)[known]
        if self._dots is None:
            if not len(points):
                return
            self._dots = self._scene.add_point_cloud(
                f"{_ROOT}/touches", points, colours, point_size=0.006, point_shape="circle"
            )
            self._arrows = self._scene.add_arrows(
                f"{_ROOT}/forces",
                arrows,
                colours[known],
                shaft_radius=0.0012,
                head_radius=0.0035,
                head_length=0.008,
            )
            return
        self._dots.visible, self._arrows.visible = len(points) > 0, len(arrows) > 0
        if len(points):
            self._dots.points, self._dots.colors = points, colours
        if len(arrows):
            self._arrows.points, self._arrows.colors = arrows, colours[known]


def _node_name(name: str) -> str:
    """``name`` as one level of the page's scene tree."""
    return name.replace("/", "_")
