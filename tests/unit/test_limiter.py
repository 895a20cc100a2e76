"""No limiter output ever breaks a limit, for any input; and it gets where it is sent."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manip_control.limiter import Limiter
from manip_core.robot_model import Limits

LIMITS = Limits(
    lower=np.array([-1.0, -0.2, 0.3]),
    upper=np.array([1.0, 2.0, 1.4]),
    velocity=np.array([3.0, 6.0, 1.0]),
    acceleration=np.array([10.0, 100.0, 5.0]),
    effort=np.ones(3),
)
FINITE = st.floats(-1e6, 1e6, allow_nan=False)


@settings(max_examples=200, deadline=None)
@given(
    start=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    steps=st.lists(
        st.tuples(
            st.one_of(st.none(), st.lists(FINITE, min_size=3, max_size=3)),
            st.floats(1e-4, 0.05),
            st.lists(FINITE, min_size=3, max_size=3),
        ),
        min_size=1,
        max_size=60,
    ),
)
def test_no_input_breaks_a_limit(start, steps):
    limiter = Limiter(LIMITS)
    limiter.reset(LIMITS.lower + np.array(start) * (LIMITS.upper - LIMITS.lower))
    for target, dt, feed_forward in steps:
        before, velocity = limiter.position.copy(), limiter.velocity.copy()
        after = limiter.step(None if target is None else np.array(target), dt, feed_forward)
        moved = (after - before) / dt
        assert (after >= LIMITS.lower - 1e-9).all() and (after <= LIMITS.upper + 1e-9).all()
        assert (np.abs(moved) <= LIMITS.velocity + 1e-6).all()
        assert (np.abs(moved - velocity) <= LIMITS.acceleration * dt + 1e-6).all()


def test_reaches_the_target_and_stays():
    limiter = Limiter(LIMITS)
    limiter.reset([0.0, 0.0, 0.5])
    target = np.array([0.9, 1.9, 1.3])
    for _ in range(500):
        limiter.step(target, 0.008)
    np.testing.assert_allclose(limiter.position, target, atol=1e-4)


def test_never_overshoots_a_standing_target():
    limiter = Limiter(LIMITS, gain=200.0)
    limiter.reset([0.0, 0.0, 0.5])
    target = np.array([0.5, 1.0, 0.9])
    for _ in range(1000):
        assert (limiter.step(target, 0.008) <= target + 1e-3).all()


def test_braking_takes_no_longer_than_the_acceleration_limit_asks():
    limiter = Limiter(LIMITS)
    limiter.reset([-0.9, 0.0, 0.5])
    for _ in range(60):
        limiter.step(np.array([1.0, 1.9, 1.3]), 0.008)
    needed = np.max(np.abs(limiter.velocity) / LIMITS.acceleration)
    assert needed > 0.01
    for _ in range(int(needed / 0.008) + 1):
        limiter.step(None, 0.008)
    assert limiter.at_rest


def test_a_robot_outside_its_limits_moves_inwards_only():
    limiter = Limiter(LIMITS)
    limiter.reset([1.2, 0.0, 0.5])
    positions = [limiter.step(np.array([5.0, 0.0, 0.5]), 0.008)[0] for _ in range(200)]
    assert np.all(np.diff(positions) <= 1e-12)
    assert positions[-1] == pytest.approx(1.0, abs=1e-3)


def test_reset_refuses_what_is_not_a_position():
    with pytest.raises(ValueError, match=r"\(3,\)"):
        Limiter(LIMITS).reset([0.0, np.nan, 0.0])
