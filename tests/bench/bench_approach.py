"""A hand that is led onto things, on computers that have other things to do.

``python tests/bench/run.py approach``. An operator with an upright hand comes down on a can, waits,
grasps and lifts. In simulated time the control loop stands still now and then while robot and can
go on, and plans come late: on a calm computer neither; on a busy one some 0.15 s, three times a
second, and 0.3 s; on one that is very busy 0.3 and 0.6 s (the means; twice that at most).

``_scene_``: on a calm computer he goes for each of the simulation's four things, from home, or past
one of the others; the share in which it is lifted, and in which something else is moved.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from guided_rig import BusyRig, Rig, opposition
from manip_control.grasp_guide import HOLDING
from manip_control.mujoco_robot import MujocoRobot, RobotConfig
from manip_core.primitive import Primitive

PLACES = (0.62, -0.10), (0.55, -0.20), (0.66, 0.05)
# Where the middle of the operator's grip ends, against the can's [m].
ENDS = (0.0, 0.04, 0.06), (0.0, 0.04, 0.0), (0.05, -0.02, 0.03)
COMPUTERS = {"calm": (0.0, 0.0), "busy": (0.15, 0.3), "very_busy": (0.3, 0.6)}
_SEEDS = 10
# The can is knocked over, or pushed: leaning by [cos], or away by [m], before he grasps.
_LEANING, _PUSHED = 0.9, 0.03
_LIFTED = 0.1
# The simulation's things as it tells them, and where they stand [m].
SCENE = {
    thing.name: (Primitive(thing.shape, tuple(thing.size)), tuple(thing.position[:2]))
    for thing in MujocoRobot(RobotConfig()).objects()
}
# Of the operator's grip on his way past something, over the table; and its end over what he is
# after, beside its middle [m].
_PAST, _OVER = 0.30, (0.0, 0.03, 0.05)
_MOVED = 0.01
CAN, _ = SCENE["can"]


def measure_approach(seeds: int = _SEEDS) -> dict[str, float]:
    """Shares of approaches in which the can is lifted, and knocked over or pushed."""
    figures = {}
    for name, (stall, late) in COMPUTERS.items():
        # What is calm is always the same.
        found = [
            approach(place, end, seed, stall, late)
            for place in PLACES
            for end in ENDS
            for seed in range(seeds if stall else 1)
        ]
        lifted, knocked = np.mean(found, axis=0)
        figures |= {f"approach_{name}_lifted": lifted, f"approach_{name}_knocked": knocked}
        figures[f"approach_{name}_runs"] = len(found)
        print(
            f"      {name}: lifted {lifted:.3f}, knocked {knocked:.3f} of {len(found)}", flush=True
        )
    ways = [(name, past) for name in SCENE for past in (None, *SCENE) if past != name]
    lifted, moved = np.mean([in_scene(*way) for way in ways], axis=0)
    print(f"      scene: lifted {lifted:.3f}, moved others {moved:.3f} of {len(ways)}", flush=True)
    figures |= {"approach_scene_lifted": lifted, "approach_scene_moved": moved}
    return figures | {"approach_scene_runs": len(ways)}


def approach(place, end, seed: int, stall: float, late: float) -> tuple[bool, bool]:
    """Whether the can was lifted, and whether it was knocked over or pushed before."""
    rig = BusyRig(seed, stall, late, can=CAN, place=place)
    rig.go(rig.over + np.array(end), 3.3)
    rig.wait(1.7)
    there, leaning = rig.data.xpos[rig.body], rig.data.xmat[rig.body, 8]
    knocked = leaning < _LEANING or np.linalg.norm(there[:2] - place) > _PUSHED
    rig.grasping = 1.0
    rig.by(0.0, 0.0, 0.25, seconds=8.0)
    rig.wait(1.0)
    return rig.guide.phase == HOLDING and rig.height > _LIFTED, bool(knocked)


def in_scene(name: str, past: str | None) -> tuple[bool, bool]:
    """Whether one of the scene's things was lifted, and whether another was moved."""
    shape, place = SCENE[name]
    others = {f"the {other}": what for other, what in SCENE.items() if other != name}
    rig = Rig(can=shape, place=place, others=others)
    stood = {other: rig.data.body(other).xpos.copy() for other in others}
    if past:
        over = np.array((*SCENE[past][1], _PAST))
        rig.go(over - rig.rotation @ opposition().centre, 2.0)
    rig.go(rig.over + np.array(_OVER), 2.5)
    rig.wait(2.0)
    rig.grasping = 1.0
    rig.by(0.0, 0.0, 0.25, seconds=6.0)
    rig.wait(1.0)
    off = [np.linalg.norm(rig.data.body(other).xpos - stood[other]) for other in others]
    return rig.height > _LIFTED, max(off) > _MOVED


if __name__ == "__main__":
    measure_approach(int(sys.argv[1]) if len(sys.argv) > 1 else _SEEDS)
