"""The 21 keypoints of a human hand: order, names, bones and fingertips.

The order is that of MediaPipe Hands, which DexYCB and most of the field share: the wrist, then
thumb, index, middle, ring and little finger, each from its base to its tip.
"""

from enum import IntEnum

import numpy as np


class Keypoint(IntEnum):
    """Row of a ``(21, …)`` keypoint array."""

    WRIST = 0
    THUMB_CMC = 1
    THUMB_MCP = 2
    THUMB_IP = 3
    THUMB_TIP = 4
    INDEX_MCP = 5
    INDEX_PIP = 6
    INDEX_DIP = 7
    INDEX_TIP = 8
    MIDDLE_MCP = 9
    MIDDLE_PIP = 10
    MIDDLE_DIP = 11
    MIDDLE_TIP = 12
    RING_MCP = 13
    RING_PIP = 14
    RING_DIP = 15
    RING_TIP = 16
    LITTLE_MCP = 17
    LITTLE_PIP = 18
    LITTLE_DIP = 19
    LITTLE_TIP = 20


NUM_KEYPOINTS = len(Keypoint)

FINGERS = ("thumb", "index", "middle", "ring", "little")

# Red, green, blue, 0 to 255, in which fingers are drawn: apart from each other for colour-blind
# eyes too (after Okabe and Ito, 2008).
FINGER_COLOURS = {
    "thumb": (240, 170, 60),
    "index": (70, 190, 240),
    "middle": (60, 200, 150),
    "ring": (245, 220, 90),
    "little": (225, 140, 190),
}

# (5, 4): the keypoints of each finger, base to tip.
FINGER_CHAINS = np.arange(1, NUM_KEYPOINTS).reshape(5, 4)

# (5,): the tip of each finger.
TIPS = FINGER_CHAINS[:, -1]

# (20, 2): parent and child of each bone; palm bones run from the wrist to each finger's base.
BONES = np.array(
    [
        (parent, child)
        for chain in FINGER_CHAINS
        for parent, child in zip((Keypoint.WRIST, *chain[:-1]), chain, strict=True)
    ]
)

# Fingers that can touch the thumb, in the order of HandObservation.contact.
CONTACT_FINGERS = FINGERS[1:]
