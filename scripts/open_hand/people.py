"""The people whose hands make the shape space: anny's phenotypes, and proportions anny lacks."""

import numpy as np

from manip_core.hand_skeleton import FINGERS
from manip_model.hand_regions import MESH_CHAINS
from open_hand.source import Hands, direction

CHILDREN = 0.2  # share of the sample
ADULT_AGE, CHILD_AGE = (0.6, 1.0), (0.15, 0.6)  # in anny's unit: 0 a baby, 1/3 a child, 1 old

# anny's hands differ in size, sex, age and fat but hardly in proportions: its finger to palm ratio
# stays within 1 %. Deviations of the logarithm of each measure from what size makes it; the figures
# are ours, of the order that hand surveys report (e.g. Greiner 1991, US Army hand anthropometry).
SPREAD = {
    "fingers": 0.04,  # length of all fingers against the palm
    "finger": 0.025,  # length of each finger against the others
    "thumb": 0.04,  # length of the thumb
    "bone": 0.02,  # length of each row of phalanges against the others
    "breadth": 0.045,  # of the palm
    "depth": 0.05,  # of the palm
    "girth": 0.06,  # of all fingers
}


def phenotypes(size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """anny's parameters ``(size,)`` of grown-ups, then of children."""
    children = round(CHILDREN * size)
    age = np.concatenate(
        (rng.uniform(*ADULT_AGE, size - children), rng.uniform(*CHILD_AGE, children))
    )
    values = {name: rng.uniform(0, 1, size) for name in ("gender", "muscle", "weight")}
    # anny's heights go far beyond people's, so that its ends are rare.
    values |= {"age": age, "height": np.clip(rng.normal(0.5, 0.12, size), 0, 1)}
    values |= {"proportions": rng.uniform(0, 1, size)}
    races = rng.dirichlet(np.ones(3), size)
    return values | dict(zip(("african", "asian", "caucasian"), races.T, strict=True))


def vary(hands: Hands, weights: np.ndarray, rng: np.random.Generator) -> Hands:
    """Flat hands with other proportions: each bone scaled along and across, blended like skin."""
    size = len(hands.joints)

    def draw(name: str, count: int = 1) -> np.ndarray:
        return np.exp(SPREAD[name] * rng.normal(size=(size, count)))

    scales = np.tile(np.eye(3), (size, 16, 1, 1))
    girth, rows, fingers = draw("girth")[:, 0], draw("bone", 3), draw("fingers")[:, 0]
    scales[:, 0, 1, 1], scales[:, 0, 2, 2] = draw("depth")[:, 0], draw("breadth")[:, 0]
    wrist = hands.joints[:, :1]
    joints = wrist + np.einsum("nab,njb->nja", scales[:, 0], hands.joints - wrist)
    for finger, chain in zip(FINGERS, MESH_CHAINS, strict=True):
        length = draw("thumb")[:, 0] if finger == "thumb" else fingers * draw("finger")[:, 0]
        for k, joint in enumerate(chain):
            along = np.outer(direction(finger, k), direction(finger, k))
            stretch = (length * rows[:, k])[:, None, None]
            scales[:, joint] = stretch * along + girth[:, None, None] * (np.eye(3) - along)
            if k < 2:
                bone = hands.joints[:, chain[k + 1]] - hands.joints[:, joint]
                ahead = np.einsum("nab,nb->na", scales[:, joint], bone)
                joints[:, chain[k + 1]] = joints[:, joint] + ahead
    moves = joints - np.einsum("njab,njb->nja", scales, hands.joints)
    blended = np.einsum("vj,njab->nvab", weights, scales)
    vertices = np.einsum("nvab,nvb->nva", blended, hands.vertices)
    return Hands(vertices + np.einsum("vj,nja->nva", weights, moves), joints)
