"""No limiter output ever breaks a limit, for any input; and it gets where it is sent."""

import numpy as np
import pytest
import ruckig
from hypothesis import given, settings
from hypothesis import strategies as st

from manip_control.jerk_limits import stopping_speed, stopping_time, way_to_turn
from manip_control.limiter import Limiter
from manip_core.robot_model import Limits

LIMITS = Limits(
    lower=np.array([-1.0, -0.2, 0.3]),
    upper=np.array([1.0, 2.0, 1.4]),
    velocity=np.array([3.0, 6.0, 1.0]),
    acceleration=np.array([10.0, 100.0, 5.0]),
    effort=np.ones(3),
)
JERK = np.array([1000.0, 10000.0, 400.0])
DT = 0.008
ANY = st.floats(allow_nan=True, allow_infinity=True)
THREE = st.lists(st.one_of(st.floats(-3.0, 3.0), ANY), min_size=3, max_size=3).map(np.array)


def limiter_at(position) -> Limiter:
    limiter = Limiter(LIMITS, JERK)
    limiter.reset(position)
    return limiter


def state(limiter: Limiter) -> np.ndarray:
    return np.array([limiter.position, limiter.velocity, limiter.acceleration])


def assert_lawful(before: np.ndarray, after: np.ndarray, dt: float) -> None:
    """Within all limits, and one motion with limited jerk leads from one to the other."""
    (p0, v0, a0), (p1, v1, a1) = before, after
    assert np.isfinite(after).all()
    assert (p1 >= LIMITS.lower - 1e-8).all() and (p1 <= LIMITS.upper + 1e-8).all()
    assert (np.abs(v1) <= LIMITS.velocity + 1e-8).all()
    assert (np.abs(a1) <= LIMITS.acceleration + 1e-6).all()
    assert (np.abs(a1 - a0) <= JERK * dt + 1e-6).all()
    assert (np.abs(v1 - v0 - a0 * dt) <= JERK * dt**2 / 2 + 1e-8).all()
    assert (np.abs(p1 - p0 - v0 * dt - a0 * dt**2 / 2) <= JERK * dt**3 / 6 + 1e-8).all()


@settings(max_examples=150, deadline=None)
@given(
    start=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    steps=st.lists(
        st.tuples(
            st.one_of(st.none(), THREE),
            st.one_of(st.just(DT), st.floats(1e-4, 0.05)),
            st.one_of(st.just(0.0), THREE),
            st.one_of(st.floats(0, 1), st.lists(ANY, min_size=3, max_size=3).map(np.array)),
            st.integers(1, 20),
        ),
        min_size=1,
        max_size=12,
    ),
)
def test_no_input_breaks_a_limit(start, steps):
    limiter = limiter_at(LIMITS.lower + np.array(start) * (LIMITS.upper - LIMITS.lower))
    for target, dt, velocity, speed, times in steps:
        for _ in range(times):
            before = state(limiter)
            limiter.step(target, dt, velocity=velocity, speed=speed)
            assert_lawful(before, state(limiter), dt)


@pytest.mark.parametrize("seed", range(4))
def test_a_stream_s_differences_obey_the_limits(seed):
    rng = np.random.default_rng(seed)
    limiter = limiter_at([0.0, 0.0, 0.5])
    positions = [limiter.position] * 4
    for i in range(1500):
        if i % 4 == 0:
            target = rng.uniform(-3, 3, 3)
            velocity = rng.normal(size=3) * 3 if i % 8 else 0.0
        positions.append(limiter.step(target, DT, velocity=velocity))
    moved = np.array(positions)
    for limit in (LIMITS.velocity, LIMITS.acceleration, JERK):
        moved = np.diff(moved, axis=0) / DT
        assert (np.abs(moved) <= limit * (1 + 1e-6)).all()
    # And uses them: the last one is the jerk.
    assert (np.abs(moved).max(axis=0) > 0.95 * JERK).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_reaches_any_target_soon_and_stays(numbers):
    start, target = LIMITS.lower + np.array(numbers).reshape(2, 3) * (LIMITS.upper - LIMITS.lower)
    limiter = limiter_at(start)
    distance = np.abs(target - start)
    # With but one limit the least time is known. The acceleration is used to 0.7 at braking, and
    # the last of the way is closed at 20 to the second.
    cruise, rush = distance / LIMITS.velocity, 2 * np.sqrt(distance / LIMITS.acceleration)
    least = np.maximum(np.maximum(cruise, rush), 2 * np.cbrt(4 * distance / JERK))
    most = cruise + rush + LIMITS.acceleration / JERK + np.log(1e4) / 20.0
    arrived = np.full(3, np.inf)
    for i in range(int(most.max() / DT) + 2):
        limiter.step(target, DT)
        there = np.abs(limiter.position - target) < 1e-4
        arrived = np.where(there, np.minimum(arrived, (i + 1) * DT), np.inf)
    assert (arrived <= most + 2 * DT).all()
    assert (arrived >= least - 2 * DT)[distance > 1e-2].all()
    for _ in range(20):
        limiter.step(target, DT)
    np.testing.assert_allclose(limiter.position, target, atol=1e-4)
    assert np.abs(limiter.velocity).max() < 3e-3


def test_never_overshoots_a_standing_target():
    limiter = limiter_at([0.0, 0.0, 0.5])
    target = np.array([0.5, 1.0, 0.9])
    for _ in range(400):
        assert (limiter.step(target, DT) <= target + 1e-4).all()


def test_follows_a_steady_motion_without_lag():
    limiter = limiter_at([-0.9, 0.0, 0.5])
    velocity = np.array([0.5, 0.8, 0.2])
    for i in range(200):
        target = np.array([-0.9, 0.0, 0.5]) + velocity * i * DT
        limiter.step(target, DT, velocity=velocity)
    np.testing.assert_allclose(limiter.position, target + velocity * DT, atol=1e-6)
    np.testing.assert_allclose(limiter.velocity, velocity, atol=1e-6)


def test_a_lower_speed_is_obeyed_as_soon_as_the_limits_allow():
    limiter = limiter_at([-0.9, 0.0, 0.5])
    target = np.array([1.0, 1.9, 1.3])
    share = np.array([0.3, 0.1, 1.0])
    for _ in range(40):
        limiter.step(target, DT)
    excess = np.maximum(limiter.velocity - share * LIMITS.velocity, 0.0)
    for _ in range(int((excess / LIMITS.acceleration + 2 * LIMITS.acceleration / JERK).max() / DT)):
        limiter.step(target, DT, speed=share)
    for _ in range(5):
        limiter.step(target, DT, speed=share)
        assert (limiter.velocity <= share * LIMITS.velocity + 1e-8).all()


def test_no_speed_is_a_stop_for_that_joint_alone():
    limiter = limiter_at([0.0, 0.0, 0.5])
    for _ in range(100):
        limiter.step(np.array([0.5, 1.0, 0.9]), DT, speed=np.array([1.0, 0.0, 1.0]))
    np.testing.assert_allclose(limiter.position, [0.5, 0.0, 0.9], atol=1e-4)


def test_braking_takes_no_longer_than_the_limits_ask():
    limiter = limiter_at([-0.9, 0.0, 0.5])
    for _ in range(45):
        limiter.step(np.array([1.0, 1.9, 1.3]), DT)
    needed = stopping_time(limiter.velocity, limiter.acceleration, LIMITS.acceleration, JERK).max()
    assert needed > 0.05
    for _ in range(int(needed / DT) + 1):
        assert not limiter.at_rest
        limiter.step(None, DT)
    assert limiter.at_rest


def test_a_robot_outside_its_limits_moves_inwards_only():
    limiter = limiter_at([1.2, 0.0, 0.5])
    positions = [limiter.step(np.array([5.0, 0.0, 0.5]), DT)[0] for _ in range(200)]
    assert np.all(np.diff(positions) <= 1e-12)
    assert positions[-1] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("bad", [[0.0, np.nan, 0.0], [0.0, 0.0]])
def test_reset_refuses_what_is_not_a_position(bad):
    with pytest.raises(ValueError, match=r"\(3,\)"):
        limiter_at(bad)


def test_jerk_must_be_positive():
    with pytest.raises(ValueError, match="jerk"):
        Limiter(LIMITS, np.array([1.0, 0.0, 1.0]))


@settings(max_examples=300, deadline=None)
@given(st.floats(-3, 3), st.floats(-10, 10))
def test_time_and_turn_of_a_stop_agree_with_ruckig_s(velocity, acceleration):
    given_, stop = ruckig.InputParameter(1), ruckig.Trajectory(1)
    given_.control_interface = ruckig.ControlInterface.Velocity
    given_.current_velocity, given_.current_acceleration = [velocity], [acceleration]
    given_.max_velocity, given_.max_acceleration, given_.max_jerk = [9.0], [10.0], [200.0]
    ruckig.Ruckig(1).calculate(given_, stop)
    numbers = [np.array([x]) for x in (velocity, acceleration, 10.0, 200.0)]
    assert stopping_time(*numbers)[0] == pytest.approx(stop.duration, abs=1e-9)
    path = [stop.at_time(t)[0][0] for t in np.linspace(0, stop.duration, 300)]
    turned = way_to_turn(numbers[0], numbers[1], numbers[3])[0]
    assert max(path) <= max(0.0, path[-1], turned) + 1e-9
    assert min(path) >= min(0.0, path[-1], turned) - 1e-9
    assert np.min(np.abs(np.array(path) - turned)) < 1e-2


def test_stopping_speed_is_what_the_way_allows():
    acceleration, jerk = np.array([10.0]), np.array([200.0])
    for distance in (1e-6, 1e-3, 0.025, 0.1, 1.0):
        speed = stopping_speed(np.array([distance]), acceleration, jerk)
        time = stopping_time(speed, np.zeros(1), acceleration, jerk)
        assert speed[0] * time[0] / 2 == pytest.approx(distance, rel=1e-9)
