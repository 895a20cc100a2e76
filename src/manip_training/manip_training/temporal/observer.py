"""Hands as an estimator would have seen them: errors of every kind, as they hang together in time.

An estimator's errors are no white noise. Depth wanders with the pose, the palm's turn is wrong for
a second on end, a finger is lost for three frames, and now and then nothing is seen. Each sequence
draws how much there is of each, so that what learns to see through them fits any estimator. Ranges
were set wide about what MediaPipe and our own network do on rendered hands.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from scipy.spatial.transform import Rotation

from manip_core.hand_skeleton import NUM_KEYPOINTS, TIPS, Keypoint
from manip_model.temporal_features import NUM_OBJECT_FEATURES, Moments


@dataclass(frozen=True, kw_only=True)
class ObserverConfig:
    """Least and most of each kind of error; a sequence draws its own, evenly in the logarithm.

    Attributes:
        depth, depth_noise: Of the distance, as shares: wandering, and from frame to frame.
        line, line_noise: Of the wrist's line of sight.
        turn: Of the palm about axes across the line of sight [rad].
        joint, joint_noise: Of joints across the line of sight [m].
        along: How many times larger a joint's error is along it.
        memory: For how long an error wanders [s].
        bursts, burst_size: How often a second everything gets worse, and how many times.
        losses: How often a second nothing is seen.
    """

    depth: tuple[float, float] = (0.008, 0.06)
    depth_noise: tuple[float, float] = (0.001, 0.015)
    line: tuple[float, float] = (0.001, 0.004)
    line_noise: tuple[float, float] = (0.0003, 0.003)
    turn: tuple[float, float] = (0.03, 0.25)
    joint: tuple[float, float] = (0.002, 0.009)
    joint_noise: tuple[float, float] = (0.0003, 0.004)
    along: tuple[float, float] = (1.0, 3.0)
    memory: tuple[float, float] = (0.05, 1.0)
    bursts: float = 0.25
    burst_size: tuple[float, float] = (1.5, 5.0)
    losses: float = 0.2


class Observer:
    """Draws what is seen of motions."""

    def __init__(self, config: ObserverConfig | None = None):
        self.config = config or ObserverConfig()

    def see(self, joints: np.ndarray, rate: float, rng: np.random.Generator) -> Moments:
        """What an estimator would have said of each frame.

        Args:
            joints: ``(B, T, 21, 3)`` [m], ``camera_optical_frame``: the truth.
            rate: Frames a second.
            rng: Where the numbers come from.
        """
        config, (size, frames) = self.config, joints.shape[:2]
        burst = self._burst(size, frames, rate, rng)

        def error(wander, noise, *shape) -> np.ndarray:
            """``(B, T, *shape)`` of unit direction-less size: what wanders and what does not."""
            wide = between(rng, wander, size, *shape)
            slow = wide[:, None] * self.wander(size, frames, rate, rng, *shape)
            if noise is None:
                return slow * _as(burst, slow)
            fast = between(rng, noise, size)
            fast = _as(fast[:, None], slow) * rng.normal(size=slow.shape)
            return (slow + fast) * _as(burst, slow)

        wrist = joints[:, :, Keypoint.WRIST]
        shape = joints - wrist[:, :, None]
        turn = error(config.turn, None, 3) * np.array((1.0, 1.0, 0.4))
        turns = Rotation.from_rotvec(turn.reshape(-1, 3)).as_matrix().reshape(size, frames, 3, 3)
        shape = np.einsum("btij,btkj->btki", turns, shape)
        shape = shape * np.exp(0.04 * rng.normal(size=(size, 1, 1, 1)))
        # Joints of a finger err together as much as each by itself.
        own = error(config.joint, config.joint_noise, NUM_KEYPOINTS, 3)
        finger = error(config.joint, None, 5, 3)
        off = own.copy()
        off[:, :, 1:] = 0.7 * own[:, :, 1:] + 0.7 * np.repeat(finger, 4, axis=2)
        off[:, :, Keypoint.WRIST] *= 0.3
        off[..., 2] *= between(rng, config.along, size)[:, None, None]
        shape = shape + off - off[:, :, :1]
        line = wrist[..., :2] / wrist[..., 2:] + error(config.line, config.line_noise, 2)
        depth = wrist[..., 2] * np.exp(error(config.depth, config.depth_noise))
        wrist = np.concatenate((line * depth[..., None], depth[..., None]), -1)
        seen = ~self._lost(size, frames, rate, rng)

        spread = np.sqrt(np.square(off).mean((2, 3)))
        told = np.exp(0.5 * rng.normal(size=(size, 1)) + 0.3 * rng.normal(size=(size, frames)))
        deviation = np.broadcast_to((spread * told)[..., None, None], joints.shape)
        doubt = rng.normal(size=(size, 1)) + 0.5 * rng.normal(size=(size, frames))
        confidence = 1 / (1 + np.exp(-(3 - 1.2 * (burst - 1) + 0.7 * doubt)))
        return Moments(
            times=np.broadcast_to(np.arange(frames) / rate, (size, frames)),
            seen=seen,
            joints=shape + wrist[:, :, None],
            deviation=deviation,
            confidence=confidence,
            contact=self._contact(joints, burst, rng),
            objects=np.zeros((size, frames, NUM_OBJECT_FEATURES)),
            regions=np.zeros((size, frames, 10)),
        )

    def wander(self, size, frames, rate, rng, *shape) -> np.ndarray:
        """``(B, T, *shape)`` of unit variance that forgets itself after a while (AR(1))."""
        out = np.empty((size, frames, *shape))
        memory = between(rng, self.config.memory, size)
        for row, keep in enumerate(np.exp(-1 / (rate * memory))):
            noise = rng.normal(size=(frames, *shape))
            noise[1:] *= np.sqrt(1 - keep**2)
            out[row] = lfilter([1.0], [1.0, -keep], noise, axis=0)
        return out

    def _burst(self, size, frames, rate, rng) -> np.ndarray:
        """``(B, T)`` by how many times errors are larger."""
        within = spells(size, frames, rate, rng, self.config.bursts, (0.1, 0.6))
        larger = between(rng, self.config.burst_size, size)
        return np.where(within, larger[:, None], 1.0)

    def _lost(self, size, frames, rate, rng) -> np.ndarray:
        """``(B, T)`` bool."""
        return spells(size, frames, rate, rng, self.config.losses, (0.03, 0.35))

    def _contact(self, joints, burst, rng) -> np.ndarray:
        """Likelihood ``(B, T, 4)``, of a gap that is seen a little wrong."""
        gap = np.linalg.norm(joints[:, :, TIPS[1:]] - joints[:, :, TIPS[:1]], axis=-1)
        wrong = 0.004 * burst[..., None] * rng.normal(size=gap.shape)
        return 1 / (1 + np.exp(np.clip((gap + wrong - 0.0235) / 0.002, -50, 50)))


def between(rng, bounds: tuple[float, float], *shape: int) -> np.ndarray:
    """Evenly in the logarithm."""
    low, high = np.log(bounds)
    return np.exp(rng.uniform(low, high, shape))


def _as(value: np.ndarray, like: np.ndarray) -> np.ndarray:
    """``value`` with axes of length 1 behind, as many as ``like`` has."""
    return value.reshape(*value.shape, *(1,) * (like.ndim - value.ndim))


def spells(size, frames, rate, rng, often: float, lasts: tuple[float, float]) -> np.ndarray:
    """``(B, T)`` bool, true in spells of some length [s] that begin so often a second."""
    begins = rng.random((size, frames)) < often / rate
    length = np.ceil(rate * between(rng, lasts, size, frames))
    ends = np.where(begins, np.arange(frames) + length, 0)
    return np.arange(frames) < np.maximum.accumulate(ends, 1)
