"""Hands and things as they would have been seen: the hand by the observer of temporal fusion, what
a smoother would have made of it, and a thing that is seen no better than the hand.

Both come out of one picture. So an error of the hand's place is the thing's as well, and only what
the thing errs beyond it parts them; its size is known of some, and a few are never told of.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from manip_core.hand_skeleton import Keypoint
from manip_model.action_features import Sights
from manip_training.action.scenes import Scenes
from manip_training.temporal.observer import Observer, ObserverConfig, between, spells


@dataclass(frozen=True, kw_only=True)
class SightConfig:
    """Least and most of each kind of error; a sequence draws its own, evenly in the logarithm.

    Attributes:
        observer: Of the hand.
        smoothed: Share of hands that were smoothed.
        lag: By how long a smoother lags behind [s].
        place, along: Of the thing's place against the hand's, across the line of sight [m], and how
            many times larger along it.
        turn: Of the thing's turn [rad].
        size: Of each of its sides, as a share; always the same in a sequence.
        shown, sized: Shares of things that are told of, and of those whose size is known.
        near: Share of sequences in which things farther than ``reach`` [m] are not seen, as by an
            estimator that looks at the hand alone.
        losses: How often a second the thing is lost.
    """

    observer: ObserverConfig = field(default_factory=ObserverConfig)
    smoothed: float = 0.3
    lag: tuple[float, float] = (0.005, 0.05)
    place: tuple[float, float] = (0.001, 0.005)
    along: tuple[float, float] = (1.0, 2.5)
    turn: tuple[float, float] = (0.02, 0.15)
    size: float = 0.03
    shown: float = 0.75
    sized: float = 0.8
    near: float = 0.5
    reach: tuple[float, float] = (0.15, 0.35)
    losses: float = 0.2


_NO = (1e-9, 2e-9)
# Who sees everything as it is, but for the size of the hand.
EXACT = SightConfig(
    observer=ObserverConfig(
        **dict.fromkeys(
            ("depth", "depth_noise", "line", "line_noise", "turn", "joint", "joint_noise"), _NO
        ),
        bursts=0.0,
        losses=0.0,
    ),
    **{"smoothed": 0.0, "place": _NO, "turn": _NO, "size": 0.0, "shown": 1.0, "sized": 1.0},
    near=0.0,
    losses=0.0,
)


class Sight:
    """Draws what is seen of scenes."""

    def __init__(self, config: SightConfig | None = None):
        self.config = config or SightConfig()
        self._observer = Observer(self.config.observer)

    def see(self, scenes: Scenes, rows: np.ndarray, frames: int, rng) -> Sights:
        """What would have been said of the first frames.

        Args:
            scenes: The truth.
            rows: ``(b,)`` of which sequences.
            frames: Of each.
            rng: Where the numbers come from.
        """
        rate = 1 / float(scenes.times[1] - scenes.times[0])
        true = scenes.joints[rows, :frames]
        moments = self._observer.see(true, rate, rng)
        joints = self._smoothed(moments.joints, rate, rng)
        off = moments.joints[:, :, Keypoint.WRIST] - true[:, :, Keypoint.WRIST]
        thing = self._thing(scenes, rows, frames, off, rate, rng)
        return Sights(
            times=moments.times,
            seen=moments.seen,
            joints=joints,
            confidence=moments.confidence,
            contact=moments.contact,
            **thing,
        )

    def _smoothed(self, joints: np.ndarray, rate: float, rng) -> np.ndarray:
        lag = between(rng, self.config.lag, len(joints))
        lag = lag * (rng.random(len(joints)) < self.config.smoothed)
        share = (1 / (1 + rate * lag))[:, None, None]
        out = joints.copy()
        for frame in range(1, joints.shape[1]):
            out[:, frame] = out[:, frame - 1] + share * (joints[:, frame] - out[:, frame - 1])
        return out

    def _thing(self, scenes, rows, frames, off, rate, rng) -> dict[str, np.ndarray]:
        config, size = self.config, len(rows)
        position, rotation = scenes.position[rows, :frames], scenes.rotation[rows, :frames]

        def error(bounds, share_of_noise: float) -> np.ndarray:
            """``(B, T, 3)``, most of it wandering."""
            wide = between(rng, bounds, size)[:, None, None]
            slow = self._observer.wander(size, frames, rate, rng, 3)
            return wide * (slow + share_of_noise * rng.normal(size=slow.shape))

        wrong = error(config.place, 0.4)
        wrong[..., 2] *= between(rng, config.along, size)[:, None]
        turn = error(config.turn, 0.3)
        turns = Rotation.from_rotvec(turn.reshape(-1, 3)).as_matrix().reshape(rotation.shape)
        sides = scenes.size[rows] * np.exp(config.size * rng.normal(size=(size, 3)))
        sides = sides * (rng.random((size, 1)) < config.sized)

        told = rng.random(size) < config.shown
        lost = spells(size, frames, rate, rng, config.losses, (0.05, 0.4))
        wrist = scenes.joints[rows, :frames, Keypoint.WRIST]
        apart = np.linalg.norm(position - wrist, axis=-1)
        reach = np.where(rng.random(size) < config.near, between(rng, config.reach, size), np.inf)
        must = scenes.must_show[rows]
        seen = (told[:, None] & ~lost & (apart < reach[:, None])) | must[:, None]
        seen &= scenes.index[rows, None] >= 0
        doubt = rng.normal(size=(size, 1)) + 0.5 * rng.normal(size=(size, frames))
        sure = 1 / (1 + np.exp(-(2 + doubt)))
        return {
            "object_confidence": np.where(seen, np.maximum(sure, 0.05), 0.0),
            "object_rotation": turns @ rotation,
            "object_position": position + off + wrong,
            "object_size": np.broadcast_to(sides[:, None], position.shape),
        }
