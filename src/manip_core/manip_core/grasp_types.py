"""The ten grasps that the suite tells apart.

Names and numbers are those of Feix et al. 2016, "The GRASP Taxonomy of Human Grasp Types" (IEEE
Transactions on Human-Machine Systems 46:1), which has 33; these ten are the ones that differ most
in what a four-fingered robot hand has to do.
"""

from enum import IntEnum


class GraspType(IntEnum):
    """Rows of everything that is told of each grasp."""

    LARGE_DIAMETER = 0
    SMALL_DIAMETER = 1
    POWER_SPHERE = 2
    POWER_DISK = 3
    PRECISION_SPHERE = 4
    PRECISION_DISK = 5
    PRISMATIC_4_FINGER = 6
    TRIPOD = 7
    PALMAR_PINCH = 8
    LATERAL = 9


NUM_GRASP_TYPES = len(GraspType)
# Of the taxonomy, in the order of the rows.
TAXONOMY_NUMBERS = (1, 2, 11, 10, 13, 12, 6, 14, 9, 16)
GRASP_NAMES = tuple(grasp.name.lower() for grasp in GraspType)


def grasp_type(name: str) -> GraspType:
    """The grasp of a name such as ``"tripod"``.

    Raises:
        ValueError: There is none; lists those that there are.
    """
    if name not in GRASP_NAMES:
        raise ValueError(f"grasp type must be one of {', '.join(GRASP_NAMES)}, got {name!r}")
    return GraspType(GRASP_NAMES.index(name))
