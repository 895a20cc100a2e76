"""A hand smoother that has learnt how hands move and how estimators err."""

import numpy as np

from manip_core.hand import RIGHT, Hand
from manip_core.hand_skeleton import NUM_KEYPOINTS
from manip_model.temporal_features import NUM_OBJECT_FEATURES, UNIT_SHAPE, Moments, placed
from manip_perception.smoothing import HandSmoother, SmoothingConfig
from manip_perception.temporal import TemporalFilter, TemporalNetwork

_MIRROR = np.array((-1.0, 1.0, 1.0))
# Deviations beyond these are not believed [m].
_LEAST, _MOST = 5e-4, 0.1


class TemporalSmoother(HandSmoother):
    """As its base, but temporal fusion says where the keypoints are, and where they will be while
    nothing is seen.

    Args:
        network: Of :mod:`manip_model.temporal`.
        config: Of the base; its cut-off frequencies have no meaning here.
    """

    def __init__(self, network: TemporalNetwork, config: SmoothingConfig | None = None):
        self._filter_of_hands = TemporalFilter(network)
        super().__init__(config)

    def reset(self) -> None:
        """See the base class."""
        super().reset()
        self._filter_of_hands.reset()

    def _placed(self, hand: Hand, stamp: float) -> tuple[np.ndarray, np.ndarray]:
        sign = _sign(hand.side)
        moments = _moments(stamp, hand.keypoints * sign, hand)
        said, found = self._filter_of_hands.update(moments)
        # Of the shape alone: where the whole hand is, the estimator knows how well it knows.
        spread = UNIT_SHAPE * np.exp(0.5 * said["log_variance"][0, 0, :NUM_KEYPOINTS])
        deviation = np.maximum(spread.clip(_LEAST, _MOST), hand.keypoints_std[:1])
        return placed(found)[0, 0] * sign, deviation

    def _awaited(self, stamp: float) -> np.ndarray:
        _, found = self._filter_of_hands.update(_moments(stamp))
        return placed(found)[0, 0] * _sign(self._side)


def _sign(side: str) -> np.ndarray:
    """Left hands are seen in the mirror."""
    return np.ones(3) if side == RIGHT else _MIRROR


def _moments(stamp: float, keypoints: np.ndarray | None = None, hand: Hand | None = None):
    """One frame, of a right hand or of none."""
    seen = hand is not None
    none = np.zeros((NUM_KEYPOINTS, 3))
    return Moments(
        times=np.array([[stamp]]),
        seen=np.array([[seen]]),
        joints=(keypoints if seen else none)[None, None],
        deviation=(hand.keypoints_std if seen else none)[None, None],
        confidence=np.array([[hand.confidence if seen else 0.0]]),
        contact=(np.asarray(hand.contact, float) if seen else np.zeros(4))[None, None],
        objects=np.zeros((1, 1, NUM_OBJECT_FEATURES)),
        regions=np.zeros((1, 1, 10)),
    )
