"""Recorded actions refined by gradient; where JAX is installed."""

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("mujoco.mjx")

from manip_core.robot_model import home, limits
from manip_physics.precision import set_up
from manip_physics.refine import RefineConfig, refine, wanted

set_up()


@pytest.mark.timeout(900)
def test_joints_come_to_where_they_were_asked():
    """Servos trail what they are told; refined actions lead them there in time, within limits."""
    times = np.arange(9)[:, None] / 30.0
    actions = home() + 0.1 * np.sin(2 * np.pi * times + np.arange(22))
    actions -= actions[0] - home()
    config = RefineConfig(window=4, keep=3, steps=6, timestep=0.006)
    found = refine(actions, home(), 30.0, config)
    before, after = (found.figures[f"{when}_follow_rad_rms"] for when in ("before", "after"))
    assert after < 0.6 * before and found.rejected == 0
    bounds = limits()
    assert ((found.actions >= bounds.lower) & (found.actions <= bounds.upper)).all()


def test_a_row_asks_for_what_lies_half_way_to_the_next():
    means = np.arange(4.0)[:, None]
    np.testing.assert_allclose(wanted(means)[:, 0], [0.5, 1.5, 2.5, 3.0])


@pytest.mark.parametrize(
    "actions, state, said",
    [
        (np.zeros((3, 16)), np.zeros(22), r"must be \(T, 22\)"),
        (np.zeros((3, 22)), np.zeros((3, 22)), r"state \(22,\)"),
        (np.full((3, 22), np.nan), np.zeros(22), "finite"),
    ],
)
def test_what_is_no_recording_is_refused(actions, state, said):
    with pytest.raises(ValueError, match=said):
        refine(actions, state, 30.0, RefineConfig())


def test_lifting_nothing_is_refused():
    with pytest.raises(ValueError, match="no object to lift"):
        RefineConfig(lift=0.1)
    with pytest.raises(ValueError, match="keep must be within"):
        RefineConfig(keep=9)
