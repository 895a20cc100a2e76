"""Hands made up for tests, in ``camera_optical_frame``."""

import numpy as np

from manip_core.hand_skeleton import FINGER_CHAINS, TIPS

LENGTH_CHAIN = np.array((0, *FINGER_CHAINS[2]))


def make_hand(at=(0.0, 0.0, 0.0), length=0.187, tilt=0.3):
    """Keypoints of an open right hand, fingers up, palm to the camera, the wrist at ``at``."""
    points = np.zeros((21, 3))
    for finger, (angle, reach) in enumerate(
        zip(np.radians((55, 18, 3, -10, -24)), (0.7, 0.93, 1.0, 0.94, 0.8), strict=True)
    ):
        parts = np.array((0.25, 0.5, 0.75, 1.0) if finger == 0 else (0.52, 0.76, 0.9, 1.0))
        points[FINGER_CHAINS[finger], 0] = np.sin(angle) * reach * parts
        points[FINGER_CHAINS[finger], 1] = -np.cos(angle) * reach * parts
    c, s = np.cos(tilt), np.sin(tilt)
    points = points @ np.array(((1, 0, 0), (0, c, -s), (0, s, c))).T
    chain = np.linalg.norm(np.diff(points[LENGTH_CHAIN], axis=0), axis=1).sum()
    return points * length / chain + np.asarray(at)


OPEN = make_hand((0, 0.05, 0.6), tilt=0.0)


def bent(points, finger, angles):
    """The finger bent towards the camera (the palm's side) by ``angles`` [rad] at its joints."""
    points = points.copy()
    chain = FINGER_CHAINS[finger]
    parent, total = points[chain[0]].copy(), 0.0
    along = points[chain[1]] - points[chain[0]]
    along /= np.linalg.norm(along)
    lengths = np.linalg.norm(np.diff(points[chain], axis=0), axis=1)
    for joint, angle, length in zip(chain[1:], angles, lengths, strict=True):
        total += angle
        parent = parent + length * (np.cos(total) * along + np.sin(total) * np.array((0, 0, -1)))
        points[joint] = parent
    return points


def pinch(finger, across=0.012, along=0.0):
    """An open hand, but this finger's tip that far from the thumb's, across and along the view."""
    points = bent(OPEN, finger, (0.7, 0.7, 0.5))
    shift = points[TIPS[finger]] + (across, 0, along) - points[TIPS[0]]
    for joint, share in zip(FINGER_CHAINS[0], (0.2, 0.5, 0.8, 1.0), strict=True):
        points[joint] += share * shift
    return points
