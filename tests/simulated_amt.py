"""A made-up scene of hands, and a network and a detector that see just what is in it."""

from dataclasses import dataclass, field

import numpy as np

from manip_core.camera import CameraIntrinsics
from manip_core.hand import LEFT, SIDES
from manip_core.hand_skeleton import FINGER_CHAINS
from manip_model.config import CONTACT_TYPES, YCB_CLASSES
from manip_perception.hand_finder import Detection
from manip_perception.runtimes import Runtime
from synthetic_hand import make_hand

SIZE, GRID = 224, 16
CAMERA = CameraIntrinsics.from_fov(640, 480, 60.0)
_SURE = 12.0


@dataclass
class Scene:
    """What there is to see: hands by name, ``(side, keypoints (21, 3) [m])``."""

    hands: dict = field(default_factory=dict)

    def put(self, name, at, side="right", **shape):
        """A hand at a place; a left one is a right one's mirror image."""
        points = make_hand((0, 0, 0), **shape)
        if side == LEFT:
            points = points * (-1, 1, 1)
        self.hands[name] = (side, points + np.asarray(at))


class SimulatedFinder:
    """Sees every hand of the scene; counts how often it is asked."""

    def __init__(self, scene, names=None):
        self.scene, self.names, self.asked, self.closed = scene, names, 0, False
        self.blind = False

    def find(self, image):
        assert image.shape[2] == 3 and image.dtype == np.uint8
        self.asked += 1
        if self.blind:
            return []
        return [
            Detection(CAMERA.project(points), (self.names or {}).get(name, side), 0.95)
            for name, (side, points) in self.scene.hands.items()
        ]

    def close(self):
        self.closed = True


class SimulatedRuntime(Runtime):
    """Tells of the hand nearest to the middle of each crop; without one, of something vague."""

    name = "simulated"
    size, largest = SIZE, 2

    def __init__(self, scene):
        self.scene, self.calls, self.closed = scene, [], False
        self.objects = []
        self.contacts = []

    def close(self):
        self.closed = True

    def _infer(self, images, cameras, sides, hints):
        self.calls.append((len(images), cameras.copy(), sides.copy(), hints.copy()))
        rows = [self._see(*one) for one in zip(cameras, hints, strict=True)]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _see(self, camera, hint):
        fx, fy, cx, cy = map(float, camera)
        crop = CameraIntrinsics(width=SIZE, height=SIZE, fx=fx, fy=fy, cx=cx, cy=cy)
        best, nearest = None, 0.75 * SIZE
        for side, points in self.scene.hands.values():
            pixels = crop.project(points)
            middle = 0.5 * (pixels.min(0) + pixels.max(0))
            distance = np.linalg.norm(middle - SIZE / 2)
            if distance < nearest:
                best, nearest = (side, points, pixels), distance
        found = self._empty()
        if best is None:
            vague = crop.unproject(np.full((21, 2), SIZE / 2), np.full(21, 0.5))
            found["joints"] = vague + 0.001 * np.arange(21)[:, None]
            found["keypoints_px"] = np.full((21, 2), SIZE / 2) + np.arange(21)[:, None]
            return {name: np.asarray(v, dtype=np.float32) for name, v in found.items()}
        side, points, pixels = best
        found["joints"], found["keypoints_px"] = points, pixels
        found["joints_log_variance"] = np.full((21, 3), 2 * np.log(0.005))
        place = (pixels + 0.5) * GRID / SIZE - 0.5
        power = -((place[..., None] - np.arange(GRID)) ** 2)
        found["keypoint_logits"] = (power[:, 1, :, None] + power[:, 0, None, :]).reshape(21, -1)
        sure = 3.0 if side == "right" else -3.0
        if hint >= 0:
            # Told a side, the network believes it.
            sure = 6.0 if SIDES[hint] == "right" else -6.0
        found["side_logits"] = np.array((-sure / 2, sure / 2))
        found["vertices"] = np.repeat(points, 38, axis=0)[:778]
        return {name: np.asarray(v, dtype=np.float32) for name, v in found.items()}

    def _empty(self):
        objects, contacts = np.full(10, -_SURE), np.full(10, -_SURE)
        classes = np.zeros((10, len(YCB_CLASSES)))
        kinds = np.zeros((10, len(CONTACT_TYPES)))
        for row, (name, logit) in enumerate(self.objects):
            objects[row], classes[row, YCB_CLASSES.index(name)] = logit, _SURE
        for region, kind in self.contacts:
            contacts[region], kinds[region, CONTACT_TYPES.index(kind)] = _SURE, _SURE
        return {
            "side_logits": np.zeros(2),
            "mano_pose": np.zeros(48),
            "mano_shape": np.zeros(10),
            "translation": np.zeros(3),
            "vertices": np.zeros((778, 3)),
            "joints_log_variance": np.full((21, 3), 2 * np.log(0.05)),
            "keypoint_logits": np.zeros((21, GRID * GRID)),
            "object_class_logits": classes,
            "object_position": np.tile((0.0, 0.0, 0.5), (10, 1)),
            "object_rotation": np.tile(np.eye(3), (10, 1, 1)),
            "object_confidence_logits": objects,
            "contact_point": np.tile((0.0, 0.0, 0.5), (10, 1)),
            "contact_confidence_logits": contacts,
            "contact_type_logits": kinds,
            "contact_force_direction": np.tile((0.0, 0.0, 1.0), (10, 1)),
            "contact_force": np.full(10, 2.0),
            "contact_map_logits": np.zeros(778),
        }


def chain_length(keypoints):
    """Wrist to middle fingertip along the bones [m]."""
    chain = np.array((0, *FINGER_CHAINS[2]))
    return float(np.linalg.norm(np.diff(keypoints[chain], axis=0), axis=1).sum())
