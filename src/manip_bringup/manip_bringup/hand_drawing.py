"""The hand as it is drawn: colours of the fingers, and the skeleton on a camera picture."""

import cv2
import numpy as np

from manip_core.hand import Hand
from manip_core.hand_skeleton import BONES, FINGER_CHAINS, FINGER_COLOURS, FINGERS, TIPS, Keypoint

TOUCH_COLOUR = (255, 255, 255)
# From this contact likelihood on, a finger is shown as touching the thumb.
TOUCH = 0.5

# (21, 3) uint8: colour of each keypoint; the wrist is light grey.
KEYPOINT_COLOURS = np.full((len(Keypoint), 3), 215, np.uint8)
for _finger, _chain in zip(FINGERS, FINGER_CHAINS, strict=True):
    KEYPOINT_COLOURS[_chain] = FINGER_COLOURS[_finger]


def downscaled(picture: np.ndarray, width: int) -> np.ndarray:
    """The picture ``(H, W, 3)`` at most ``width`` pixels wide, its proportions kept."""
    if picture.shape[1] <= width:
        return picture.copy()
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def draw_hand(picture: np.ndarray, hand: Hand, scale: float = 1.0) -> None:
    """Draw the hand's 2D skeleton onto ``picture`` ``(H, W, 3)`` BGR, in place.

    Args:
        picture: What to draw on.
        hand: A tracked hand; its ``keypoints_px`` are multiplied by ``scale``.
        scale: Size of ``picture`` over that of the camera's picture.
    """
    if not hand.tracked or not np.isfinite(hand.keypoints_px).all():
        return
    # Sixteenths of a pixel, for lines that do not jump; far outside is kept within int32.
    points = np.clip(hand.keypoints_px * scale, -1e4, 1e4)
    points = np.round(16 * points).astype(int).tolist()
    thick = max(1, round(picture.shape[1] / 240))
    shade = 0.45 if hand.bridged else 1.0
    for parent, child in BONES:
        colour = _bgr(KEYPOINT_COLOURS[child], shade)
        cv2.line(picture, points[parent], points[child], (20, 20, 20), thick + 2, cv2.LINE_AA, 4)
        cv2.line(picture, points[parent], points[child], colour, thick, cv2.LINE_AA, 4)
    for keypoint in Keypoint:
        radius = 16 * (thick + 2 if keypoint in TIPS else thick + 1)
        colour = _bgr(KEYPOINT_COLOURS[keypoint], shade)
        cv2.circle(picture, points[keypoint], radius, colour, -1, cv2.LINE_AA, 4)
    for tip, likelihood in zip(TIPS[1:], hand.contact, strict=True):
        if likelihood >= TOUCH:
            for end in (tip, Keypoint.THUMB_TIP):
                cv2.circle(
                    picture, points[end], 16 * (thick + 5), TOUCH_COLOUR, thick, cv2.LINE_AA, 4
                )


def _bgr(colour, shade: float) -> tuple[float, ...]:
    return tuple(float(c) * shade for c in colour[::-1])
