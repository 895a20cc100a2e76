"""From hands as they are seen and the objects about them to what the hand is about to do.

Hands are taken as they come out of the picture, not smoothed: the smoother's depth lags by some
tenths of a second behind a hand that reaches out, while objects are told of as they were seen, so
that the two would be apart just when the hand arrives. The network has learnt to see through an
estimator's noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from manip_core.hand import RIGHT, Hand, SeenObject
from manip_core.hand_skeleton import NUM_KEYPOINTS, Keypoint
from manip_core.manipulation import NUM_STEPS, Manipulation
from manip_core.resources import find
from manip_model.action_features import (
    FORMAT,
    RULED,
    SHIPPED,
    TYPES,
    UNLIKELY,
    Sights,
    action_answers,
    aperture,
    features,
    nothing_before,
    palm_frames,
)
from manip_perception.temporal import TemporalNetwork

_DECIMETRE = 0.1
_MIRROR = np.array((-1.0, 1.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class ActionConfig:
    """Of the decoder.

    Attributes:
        max_loss: Longest loss of the hand [s] after which the past is forgotten.
        max_object_age: Oldest word on objects [s] that is believed.
        reach: Farthest that an object's middle is from the wrist to be of interest [m].
        least: Probability of a grasp from which force and approach are told.
    """

    max_loss: float = 0.5
    max_object_age: float = 0.2
    reach: float = 0.6
    least: float = 0.5

    def __post_init__(self):
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be finite and positive, got {value}")
        if not self.least < 1:
            raise ValueError(f"least must be below 1, got {self.least}")


class ActionStream(TemporalNetwork):
    """The network of :mod:`manip_model.action`, a frame at a time."""

    def step(self, told: dict[str, np.ndarray], time: float) -> np.ndarray:
        """See :class:`TemporalNetwork`."""
        answer = super().step(told, time)
        answer[TYPES] += np.log1p(told["objects"][RULED] / UNLIKELY) @ self._w["rule.weight"]
        return answer


class ActionDecoder:
    """Foretells what one hand does, a frame at a time.

    Args:
        network: Of :mod:`manip_model.action`; by default the one that ships.
        config: Its settings.
    """

    def __init__(self, network: ActionStream | None = None, config: ActionConfig | None = None):
        self.config = config or ActionConfig()
        self._network = network or read()
        self._side = RIGHT
        self.reset()

    def reset(self) -> None:
        """Forget the hand."""
        self._network.reset()
        self._before, self._began = nothing_before(1), None
        self._stamp = self._seen = -np.inf
        self._hand: Hand | None = None

    def update(
        self, hand: Hand | None, stamp: float, objects: Sequence[SeenObject] = ()
    ) -> Manipulation:
        """What the hand is about to do after ``stamp``.

        Args:
            hand: As it was seen; ``None``, untracked or unsound: not at all.
            stamp: Exposure of the image [s]. One that is not later than the last begins anew.
            objects: What is seen about it, ``camera_optical_frame``.

        Returns:
            With a confidence of 0 where no hand is seen.
        """
        if hand is not None and (not hand.tracked or hand.problem()):
            hand = None
        lost = hand is None and stamp - self._seen > self.config.max_loss
        if not stamp > self._stamp or lost or (hand is not None and hand.side != self._side):
            self.reset()
        self._stamp = stamp
        if hand is not None:
            self._side, self._seen, self._hand = hand.side, stamp, hand
        if self._hand is None:
            return Manipulation(stamp=stamp, side=self._side)
        if self._began is None:
            self._began = stamp
        sights = self._sights(hand, stamp, objects)
        told, self._before = features(sights, self._before)
        said = self._network.step(
            {name: value[0, 0] for name, value in told.items()}, stamp - self._began
        )
        return self._manipulation(action_answers(said.astype(float)), stamp, hand is not None)

    def _sights(self, hand: Hand | None, stamp: float, objects: Sequence[SeenObject]) -> Sights:
        """One frame, of a right hand."""
        sign = _sign(self._side)
        seen = hand is not None
        thing = self._nearest(objects)
        turn = np.eye(3) if thing is None else thing.rotation
        place = np.zeros(3) if thing is None else thing.position
        size = np.zeros(3) if thing is None or thing.size is None else thing.size
        joints = hand.keypoints * sign if seen else np.zeros((NUM_KEYPOINTS, 3))
        return Sights(
            times=np.array([[stamp]]),
            seen=np.array([[seen]]),
            joints=joints[None, None],
            confidence=np.array([[hand.confidence if seen else 0.0]]),
            contact=(np.asarray(hand.contact, float) if seen else np.zeros(4))[None, None],
            object_confidence=np.array([[0.0 if thing is None else thing.confidence]]),
            # Boxes and cylinders are their own mirror image across x = 0 of their own frame.
            object_rotation=(sign[:, None] * turn * sign)[None, None],
            object_position=(place * sign)[None, None],
            object_size=size[None, None],
        )

    def _nearest(self, objects: Sequence[SeenObject]) -> SeenObject | None:
        """The object whose middle is nearest to the middle of the palm."""
        points = self._hand.keypoints
        palm = 0.5 * (points[Keypoint.WRIST] + points[Keypoint.MIDDLE_MCP])
        apart = [float(np.linalg.norm(one.position - palm)) for one in objects]
        if not apart or min(apart) > self.config.reach:
            return None
        return objects[int(np.argmin(apart))]

    def _manipulation(self, said: dict[str, np.ndarray], stamp: float, seen: bool) -> Manipulation:
        sign = _sign(self._side)
        joints = self._hand.keypoints * sign
        palm = palm_frames(joints)
        way = said["position"].reshape(NUM_STEPS, 3) * _DECIMETRE
        turns = Rotation.from_rotvec(said["turn"].reshape(NUM_STEPS, 3)).as_matrix()
        grasping = _probability(said["grasping"])
        holds = grasping >= self.config.least
        approach = palm @ said["approach"]
        length = float(np.linalg.norm(approach))
        known = holds.any() and length > 1e-3
        types = np.exp(said["type"] - said["type"].max())
        rotation = palm @ turns
        if self._side != RIGHT:
            # A left palm's y axis points away from the thumb, a mirrored right one's towards it.
            rotation = sign[:, None] * rotation * np.array((1.0, -1.0, 1.0))
        return Manipulation(
            stamp=stamp,
            side=self._side,
            position=(joints[Keypoint.WRIST] + way @ palm.T) * sign,
            rotation=rotation,
            aperture=np.maximum(aperture(joints) + _DECIMETRE * said["aperture"], 0.0),
            force=np.where(holds, np.expm1(np.clip(said["force"], 0.0, 4.0)), 0.0),
            grasping=grasping,
            approach=approach / length * sign if known else np.zeros(3),
            grasp_types=types / types.sum(),
            confidence=float(_probability(said["confidence"])[0]) if seen else 0.0,
        )


def read(path: str | Path = "") -> ActionStream:
    """The network of a file that ``manip action`` wrote; by default the one that ships."""
    return ActionStream.read(path or find(SHIPPED), FORMAT)


def _sign(side: str) -> np.ndarray:
    """Left hands are seen in the mirror."""
    return np.ones(3) if side == RIGHT else _MIRROR


def _probability(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logits, -50, 50)))
