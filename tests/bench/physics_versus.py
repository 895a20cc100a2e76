"""Down the gradient of MJX, or by sampling in plain MuJoCo: the same tasks, the same wall time.

``python physics_versus.py OUT.json [SECONDS [TASK …]]``. Both searches move the same knots from the
same beginning, on one core each, and both results are judged in plain MuJoCo. Compiling MJX's
gradient is not in the time, as it is done once for all tasks of a kind; it is reported.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from manip_physics.model import CARRIAGE
from manip_physics.objective import loss
from manip_physics.plain import PlainRollouts
from manip_physics.precision import set_up
from manip_physics.rollout import Physics
from manip_physics.search import CemConfig, DescentConfig, between, cross_entropy, descend
from manip_physics.tasks import HOLD, KNOTS, ROWS, bar, hand, lift, reach, slope_for

SECONDS = 60.0
# Scene and goal; `lift_far` is the same as `lift` but for how far the fingertips are from the bar.
TASKS = {
    "reach": (hand, lambda physics: reach(physics, hand().posture)),
    "lift": (lambda: bar(0.002), lift),
    "lift_far": (lambda: bar(0.020), lift),
}


def versus(name: str, seconds: float) -> dict[str, float]:
    """Losses in plain MuJoCo of the beginning and of both results, and what they took."""
    make_scene, make_goal = TASKS[name]
    scene = make_scene()
    physics = Physics(scene.config)
    asked, begin = make_goal(physics), physics.start(scene.posture)
    first = np.tile(scene.posture, (KNOTS, 1))
    blend, bounds = between(ROWS, KNOTS), (physics.lower, physics.upper)
    by_controls, plain = slope_for(scene), PlainRollouts(physics)

    def slope(knots: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = by_controls(physics, asked, begin, blend @ knots)
        return value, blend.T @ gradient

    def losses(knots: np.ndarray) -> np.ndarray:
        return loss(asked, plain.motions(begin, blend @ knots, HOLD))

    before = time.perf_counter()
    slope(first)
    compiled = time.perf_counter() - before
    # A tenth of a metre is to the carriage what a radian is to a finger.
    scale = np.where([name == CARRIAGE for name in physics.names], 0.1, 1.0)
    down = descend(slope, first, bounds, seconds, DescentConfig(), scale)
    drawn = cross_entropy(losses, first, bounds, seconds, CemConfig(), scale)
    start, by_gradient, by_cem = losses(np.stack((first, down.knots, drawn.knots)))
    figures = {
        "start": start,
        "gradient": by_gradient,
        "cem": by_cem,
        "gradient_vs_cem": by_gradient / by_cem,
        "gradients": down.tried,
        "gradients_rejected": down.rejected,
        "cem_rollouts": drawn.tried,
        "compile_s": compiled,
    }
    for which, found in (("gradient", down), ("cem", drawn)):
        # When the loss was a tenth of the beginning's; left out where it never was.
        if times := [t for t, value in found.history if value <= 0.1 * start]:
            figures[f"{which}_tenth_s"] = times[0]
    if scene.config.thing:
        made = plain.motions(begin, np.stack((blend @ down.knots, blend @ drawn.knots)), HOLD)
        rest = scene.config.thing.place[2]
        figures["gradient_lift_mm"], figures["cem_lift_mm"] = 1e3 * (made.thing[:, -1, 2] - rest)
    plain.close()
    return {f"physics_{name}_{key}": float(value) for key, value in figures.items()}


def main(out: Path, seconds: float, chosen: list[str]) -> None:
    """Measure, and write a JSON object of figures."""
    set_up()
    figures = {}
    for name in chosen or TASKS:
        figures |= versus(name, seconds)
        out.write_text(json.dumps(figures, indent=1) + "\n")
        for key, value in figures.items():
            if key.startswith(f"physics_{name}_"):
                print(f"{key:<44} {value:.4g}", flush=True)


if __name__ == "__main__":
    words = sys.argv[2:]
    main(Path(sys.argv[1]), float(words[0]) if words else SECONDS, words[1:])
