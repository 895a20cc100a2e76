"""Gradients of MJX against central differences, case by case. Needs JAX.

``python physics_cases.py OUT.json [CASE …]``: in float64, and once more in float32 against the
float64 differences. A case is a scene, how its fingers are driven, and what is asked of it.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manip_physics.gradient_check import directions, relative_error, slopes
from manip_physics.objective import Weights
from manip_physics.plain import PlainRollouts
from manip_physics.precision import set_up
from manip_physics.rollout import Physics
from manip_physics.scenes import Scene
from manip_physics.tasks import ROWS, bar, goal, hand, slope_for

# Half the distance of a central difference: where rounding and curvature both are small, and at the
# size of the steps that an optimiser takes [rad].
FINE, COARSE = 1e-5, 3e-3
# Random directions in which derivatives are compared.
COUNT = 8
# MuJoCo's own onset of contacts.
_STIFF = {"contact_onset": 0.9, "contact_width": 0.001}


@dataclass(frozen=True)
class Case:
    """A scene, and what is added to its posture, linearly over the roll-out [rad]."""

    scene: Scene
    drive: np.ndarray


def closing(share: float) -> np.ndarray:
    """All four fingers flex, the thumb's base but little."""
    finger, thumb = [0.0, 0.10, 0.10, 0.05], [0.0, 0.02, 0.05, 0.05]
    return share * np.array(3 * finger + thumb)


def beyond() -> Scene:
    """A hand whose proximal joints are a hundredth of a radian beyond their limit."""
    scene = hand()
    posture = scene.posture.copy()
    posture[[1, 5, 9]] = -0.206
    return Scene(scene.config, posture)


def rising(share: float) -> np.ndarray:
    """Fingers close and the carriage goes up by 2 cm."""
    return np.append(closing(share), 0.02)


def cases() -> dict[str, Case]:
    """By name; ``free`` and ``contact`` are the two that must hold."""
    return {
        "free": Case(hand(), closing(2.0)),
        # The fingers begin beyond a limit, and are led back.
        "limit": Case(beyond(), closing(2.0)),
        # Targets so far that the servos give all they have.
        "saturated": Case(hand(), closing(20.0)),
        # The bar is held from the beginning on, pressed more, and lifted.
        "contact": Case(bar(-0.002), rising(1.0)),
        # Fingers come from 3 mm away.
        "contact_made": Case(bar(0.003), rising(2.0)),
        "contact_stiff": Case(bar(-0.002, **_STIFF), rising(1.0)),
        "contact_made_stiff": Case(bar(0.003, **_STIFF), rising(2.0)),
        # A bar with edges and corners.
        "edges": Case(bar(-0.002, kind="box"), rising(1.0)),
    }


class Runner:
    """Loss and gradient of cases; those with the same parts share what is compiled."""

    def __init__(self):
        self._slopes = {}

    def function(self, case: Case):
        """Loss and gradient of controls as one function, and the controls ``(ROWS, n)``."""
        physics = Physics(case.scene.config)
        posture, begin = case.scene.posture, physics.start(case.scene.posture)
        thing = case.scene.config.thing
        ramp = np.linspace(0.0, 1.0, ROWS)[:, None]
        controls = (posture + ramp * case.drive).clip(physics.lower, physics.upper)
        plain = PlainRollouts(physics)
        seen = plain.motions(begin, np.tile(posture, (1, 1, 1))).tips[0, 0]
        plain.close()
        # Fingertips are asked to be a centimetre to the side of where they begin.
        tips = np.tile(seen + np.array([0.0, 0.01, 0.01]), (ROWS, 1, 1))
        weights = Weights(reach=1.0, torque=1.0, lift=1.0 if thing else 0.0)
        asked = goal(physics, weights, tips, 0.03)
        slope = self._slopes.setdefault(thing and thing.kind, slope_for(case.scene))
        return lambda x: slope(physics, asked, begin, x), controls


def main(out: Path, chosen: list[str], precisions=(True, False)) -> None:
    """Measure, and write a JSON object of figures."""
    figures, truth = {}, {}
    for double in precisions:
        set_up(double=double)
        runner = Runner()
        for name, case in cases().items():
            if chosen and name not in chosen:
                continue
            began = time.perf_counter()
            both, controls = runner.function(case)
            along = directions(controls.shape, COUNT)
            found = (along * both(controls)[1]).sum((1, 2))
            key = f"mjx_grad_rel_error_{name}"
            if double:
                truth[name] = slopes(lambda x, f=both: f(x)[0], controls, along, FINE)
                coarse = slopes(lambda x, f=both: f(x)[0], controls, along, COARSE)
                figures[key] = relative_error(found, truth[name])
                figures[f"{key}_coarse"] = relative_error(found, coarse)
            else:
                figures[f"{key}_float32"] = relative_error(found, truth[name])
            spent = time.perf_counter() - began
            print(f"{name} {'float64' if double else 'float32'}: {spent:.0f} s", flush=True)
            out.write_text(json.dumps(figures, indent=1) + "\n")
    for name, value in figures.items():
        print(f"{name:<50} {value:.3g}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
