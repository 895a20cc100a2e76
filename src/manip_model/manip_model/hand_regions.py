"""Names of the 16 joints of the hand mesh, how they make 21 keypoints, and the contact regions."""

import numpy as np

from manip_core.hand_skeleton import FINGERS, Keypoint

# Order of MANO's fingers (Romero et al. 2017, "Embodied Hands"), not that of the keypoints.
MESH_FINGERS = ("index", "middle", "little", "ring", "thumb")

MESH_JOINTS = ("wrist", *(f"{finger}{i}" for finger in MESH_FINGERS for i in (1, 2, 3)))
NUM_MESH_JOINTS = len(MESH_JOINTS)

# Parent of each joint, -1 for the wrist.
MESH_PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)

# (5, 3): rows of the joints of each finger, in the order of FINGERS (thumb first).
MESH_CHAINS = np.array(
    [[MESH_JOINTS.index(f"{finger}{i}") for i in (1, 2, 3)] for finger in FINGERS]
)

# (21,): where each keypoint is found among the 16 joints, followed by the 5 tips (thumb first).
KEYPOINT_ROWS = np.zeros(len(Keypoint), dtype=np.int64)
KEYPOINT_ROWS[1:] = np.column_stack((MESH_CHAINS, 16 + np.arange(5))).ravel()

CONTACT_REGIONS = (
    "thumb_tip",
    "index_tip",
    "middle_tip",
    "ring_tip",
    "little_tip",
    "thumb_base",
    "index_side",
    "middle_side",
    "ring_side",
    "palm",
)


def joint_regions() -> np.ndarray:
    """``(16,)`` the contact region, a row of ``CONTACT_REGIONS``, of each mesh joint."""
    regions = np.full(NUM_MESH_JOINTS, CONTACT_REGIONS.index("palm"))
    for finger, chain in zip(FINGERS, MESH_CHAINS, strict=True):
        regions[chain[2]] = CONTACT_REGIONS.index(f"{finger}_tip")
        if finger != "little":
            side = "thumb_base" if finger == "thumb" else f"{finger}_side"
            regions[chain[:2]] = CONTACT_REGIONS.index(side)
    return regions


def vertex_regions(hand_model) -> np.ndarray:
    """``(778,)`` int64, the contact region of each vertex: that of its largest skinning weight.

    The first two phalanges of the little finger count as palm, whose outer edge they carry on.

    Args:
        hand_model: A :class:`manip_model.hand_model.HandModel`.
    """
    return joint_regions()[hand_model.weights.argmax(dim=1).cpu().numpy()]
