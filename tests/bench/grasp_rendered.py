"""Grasp motion of the synthetic world for the grasp benchmark, upright and about an object.

The world's hands take things that lie anyhow in space; a trial wants a thing that stands on a
table. So of the sequences those are kept in which a face of the thing can lie on a table with all
of the hand above it and the thing is lifted away from it; up to there they are shown. Things are
the world's own primitives, with the masses of the benchmark's.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from grasp_objects import OBJECTS, Shape
from grasp_sequences import RATE, Grasp, Sequence, stand_up

from manip_core.primitive import BOX
from manip_model.config import YCB_CLASSES
from manip_training.action.scenes import SceneDraw
from manip_training.data.primitives import PRIMITIVES

# So many are drawn at once, for so long [s].
_BATCH, _LASTS = 32, 6.0
# The hand is at most so deep below the table before it lifts [m], for the thickness of skin.
_BELOW = 0.005
# The thing is lifted by this at least [m].
_LIFTED = 0.06


def rendered_grasps(variant: str, seed: int) -> Iterator[Grasp]:
    """Grasps without end, other ones for each ``seed``.

    Args:
        variant: Of the world: ``"train"`` or ``"val"``, with other people and grasps.
        seed: Of the drawing.
    """
    scenes = SceneDraw(variant)
    number = 0
    while True:
        drawn = scenes.handled(_BATCH, round(_LASTS * RATE), RATE, 1000 * seed + number, whole=True)
        for row in np.flatnonzero([len(grasps) > 0 for grasps in drawn.grasps]):
            thing = YCB_CLASSES[drawn.index[row]]
            shape = Shape(PRIMITIVES[thing].kind, PRIMITIVES[thing].size, OBJECTS[thing].mass)
            sequence = Sequence(
                name=f"{variant}-{seed}-{number}-{row}",
                subject=variant,
                thing=thing,
                times=drawn.times,
                keypoints=drawn.joints[row],
                rotation=drawn.rotation[row],
                position=drawn.position[row],
                rest=(drawn.rotation[row, 0], drawn.position[row, 0]),
            )
            grasp = _on_table(sequence, shape)
            if grasp is not None:
                yield grasp
        number += 1


def _on_table(sequence: Sequence, shape: Shape) -> Grasp | None:
    """With the face down from which it is lifted highest; None where there is no such face."""
    turn, place = sequence.rest
    best = None
    # What is round does not stay where it lies.
    faces = np.eye(3) if shape.kind == BOX else np.eye(3)[2:]
    for axis in np.concatenate((faces, -faces)):
        up = turn @ axis
        lift = (sequence.position - place) @ up
        end = int(lift.argmax()) + 1
        height = shape.height(np.stack((axis,) * 3))
        moves = int(np.argmax(lift > 0.01))
        over = ((sequence.keypoints[: moves + 1] - place) @ up).min() + height
        if lift.max() > _LIFTED and over > -_BELOW and (best is None or lift.max() > best[0]):
            best = lift.max(), up, end
    if best is None:
        return None
    _, up, end = best
    shown = ("times", "keypoints", "rotation", "position")
    lifted = replace(sequence, **{name: getattr(sequence, name)[:end] for name in shown})
    return stand_up(lifted, shape, up, (np.eye(3), np.zeros(3)))
