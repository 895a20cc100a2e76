"""Near things: distances to first order, motion that slides along them, and parts again."""

import numpy as np
import pytest

from manip_control.guard import Guard, GuardConfig, Path
from manip_control.limiter import Limiter
from manip_control.velocity_damper import VelocityDamper
from manip_core.robot_model import JOINT_NAMES, home, limits

LIMITS = limits("right")
HOME = home("right")
GUARD = Guard(GuardConfig())
DT = 0.008


def joint(name: str) -> int:
    return JOINT_NAMES.index(name)


def beside() -> np.ndarray:
    """Index and middle half bent and turned to each other, nearly touching."""
    q = HOME.copy()
    for finger in ("ffj", "mfj"):
        q[joint(finger + "1")] = q[joint(finger + "2")] = 0.8
    turn = 0.0
    for turn in np.arange(0.0, 0.45, 0.001):
        q[joint("ffj0")], q[joint("mfj0")] = -turn, turn
        if GUARD.distances(q).min() < 0.001:
            return q
        q[joint("ffj0")], q[joint("mfj0")] = turn, -turn
        if GUARD.distances(q).min() < 0.001:
            return q
    raise AssertionError("the fingers do not meet")


@pytest.mark.parametrize("seed", range(8))
def test_the_rows_are_the_distances_derivatives(seed):
    rng = np.random.default_rng(seed)
    q = np.clip(HOME + 0.3 * rng.normal(size=22), LIMITS.lower, LIMITS.upper)
    step = 1e-5 * rng.normal(size=22)
    jacobian, distance, rows = GUARD.near_rows(q, 0.02)
    _, after, rows_after = GUARD.near_rows(q + step, 0.02)
    if np.array_equal(rows, rows_after):
        # MuJoCo adds a second, farther contact of a box and a capsule, which moves along them.
        least = [distance[rows == row].min() == d for d, row in zip(distance, rows, strict=True)]
        change, told = (after - distance)[least], (jacobian @ step)[least]
        np.testing.assert_allclose(change, told, atol=2e-8)
        assert np.count_nonzero(least) > 3
    nearest = GUARD.distances(q) - GUARD.clearance
    assert {int(row) for row in rows} >= set(np.flatnonzero(nearest < 0.02))


def test_walls_are_rows_too():
    jacobian, distance, rows = Guard(GuardConfig(keep_out="-0.2 -0.9 0.1 0.2 0.9 0.2")).near_rows(
        HOME, 2.0
    )
    names = GUARD.names
    assert names.index("the workspace") in rows and len(names) in rows
    assert jacobian.shape == (len(distance), 22)


def test_nothing_near_changes_nothing():
    wanted = np.zeros(22)
    wanted[joint("ffj1")] = 1.0
    damper = VelocityDamper(GUARD)
    np.testing.assert_array_equal(damper.slide(HOME, wanted, LIMITS.velocity), wanted)
    assert damper.met == ""


def test_fingers_that_are_pressed_together_still_bend():
    q = beside()
    towards = np.sign(q[joint("mfj0")])
    wanted = np.zeros(22)
    wanted[joint("ffj0")], wanted[joint("mfj0")] = -3.0 * towards, 3.0 * towards
    wanted[joint("ffj1")] = wanted[joint("mfj1")] = 1.0
    damper = VelocityDamper(GUARD)
    got = damper.slide(q, wanted, LIMITS.velocity)
    jacobian, distance, _ = GUARD.near_rows(q, 0.02)
    assert (jacobian @ wanted).min() < -0.1
    assert (jacobian @ got >= -20.0 * distance - 1e-6).all()
    assert got[joint("ffj1")] > 0.5 and got[joint("mfj1")] > 0.5
    assert (np.abs(got) <= LIMITS.velocity + 1e-9).all()
    assert "ff" in damper.met and "mf" in damper.met


def test_what_nearly_touches_parts_as_fast_as_it_may():
    q = beside()
    limiter = Limiter(LIMITS, LIMITS.acceleration / 0.01, GUARD)
    limiter.reset(q)
    target = HOME.copy()
    for _ in range(25):
        limiter.step(target, DT)
    # Free fingers need 0.17 s to close all but a twentieth of the way.
    assert np.abs(limiter.position - target)[6:].max() < 0.2


@pytest.mark.parametrize("seed", range(6))
def test_a_curved_path_that_is_called_free_is_free_all_along(seed):
    """Joints that brake at their limits, near each other: the second law's own case."""
    rng = np.random.default_rng(seed)
    start = beside()
    verdicts = []
    for _ in range(60):
        acceleration = rng.uniform(-1, 1, 22) * LIMITS.acceleration
        velocity = rng.uniform(-1, 1, 22) * 0.3 * LIMITS.velocity
        acceleration[:6] = velocity[:6] = 0.0

        def at(t, velocity=velocity, acceleration=acceleration):
            return start + velocity * t + 0.5 * acceleration * t**2

        ends = at(0.0), at(0.03)
        turned = np.clip(-velocity / np.where(acceleration == 0, 1, acceleration), 0, 0.03)
        way = np.abs(at(turned) - ends[0]) + np.abs(ends[1] - at(turned))
        turns = (way - np.abs(ends[1] - ends[0]))[None]
        path = Path(at, (0.0, 0.03), turns, LIMITS.acceleration)
        seen = GUARD.distances(start)
        floor = np.minimum(GUARD.clearance, seen)
        free = not GUARD.trouble(path, floor, np.zeros(len(seen)), seen)[0].any()
        verdicts.append(free)
        if free:
            assert min(GUARD.distances(at(t)).min() for t in np.linspace(0, 0.03, 40)) > 0
    assert any(verdicts) and not all(verdicts)
