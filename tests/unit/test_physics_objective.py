"""What a motion is worth, and searches for better ones; all without JAX."""

import mujoco
import numpy as np
import pytest

from manip_core.robot_model import TIP_RADIUS
from manip_physics.gradient_check import (
    directions,
    relative_error,
    slopes,
)
from manip_physics.health import NotFinite, check_gradient, check_motion
from manip_physics.model import KINDS, Thing
from manip_physics.motion import Motion
from manip_physics.objective import Goal, Weights, counted, distance, loss, terms
from manip_physics.search import CemConfig, DescentConfig, between, cross_entropy, descend

SIZES = {"sphere": (0.03,), "capsule": (0.02, 0.05), "box": (0.02, 0.03, 0.05)}
NAMES = ("ffj0", "ffj1")


def motion(rows: int = 3) -> Motion:
    zeros = np.zeros((rows, 2))
    thing = np.tile([0.0, 0.0, 0.1, 1.0, 0.0, 0.0, 0.0], (rows, 1))
    tips = np.tile([0.0, 0.0, 0.1 + 0.03 + TIP_RADIUS], (rows, 4, 1))
    return Motion(zeros, zeros, zeros, tips, thing)


def goal(**weights) -> Goal:
    return Goal(
        weights=Weights(**weights),
        lower=np.full(2, -1.0),
        upper=np.full(2, 1.0),
        effort=np.array([0.5, 2.0]),
        thing=Thing(kind="sphere", size=(0.03,)),
        height=0.15,
        recorded=np.zeros((3, 2)),
        targets=np.zeros((3, 2)),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_distances_are_those_of_mujoco(kind):
    spec = mujoco.MjSpec()
    body = spec.worldbody.add_body(name="thing")
    body.add_freejoint()
    body.add_geom(name="thing", type=KINDS[kind], size=[*SIZES[kind], 0, 0][:3], mass=1)
    probe = spec.worldbody.add_body(name="probe", mocap=True)
    probe.add_geom(name="probe", type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.001, 0, 0])
    model = spec.compile()
    data = mujoco.MjData(model)
    rng = np.random.default_rng(1)
    thing = Thing(kind=kind, size=SIZES[kind])
    for _ in range(50):
        turn = rng.normal(size=4)
        pose = np.concatenate((rng.normal(0, 0.1, 3), turn / np.linalg.norm(turn)))
        # Outside, where MuJoCo's distance to a box is exact.
        point = pose[:3] + rng.normal(size=3) * 0.2
        data.qpos[:], data.mocap_pos[0] = pose, point
        mujoco.mj_forward(model, data)
        ids = (model.geom("thing").id, model.geom("probe").id)
        theirs = mujoco.mj_geomDistance(model, data, *ids, 10.0, None) + 0.001
        if theirs > 0.002:
            assert distance(thing, pose, point[None])[0] == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_inside_is_negative_and_a_batch_is_its_parts(kind):
    thing = Thing(kind=kind, size=SIZES[kind])
    rng = np.random.default_rng(2)
    turn = rng.normal(size=(5, 4))
    poses = np.concatenate(
        (rng.normal(size=(5, 3)), turn / np.linalg.norm(turn, axis=1, keepdims=True)), axis=1
    )
    assert (distance(thing, poses, poses[:, None, :3]) < -0.9 * min(SIZES[kind])).all()
    points = poses[:, None, :3] + rng.normal(0, 0.05, (5, 4, 3))
    together = distance(thing, poses, points)
    apart = [distance(thing, pose, own) for pose, own in zip(poses, points, strict=True)]
    np.testing.assert_allclose(together, apart, rtol=1e-12)


def test_a_perfect_motion_costs_nothing_and_each_fault_its_own_term():
    still = motion()
    every = goal(touch=1, penetration=1, limits=1, torque=1, follow=1, change=1)
    assert loss(every, still) == pytest.approx(0.0, abs=1e-9)
    up = np.array([0.0, 0.0, 1.0])
    faults = {
        "touch": {"tips": still.tips + 0.01 * up},
        "penetration": {"tips": still.tips - 0.011 * up},
        "limits": {"positions": still.positions + 1.5},
        "torque": {"forces": still.forces + 0.5},
        "change": {"controls": still.controls + 0.1},
    }
    sizes = {"touch": 1.0, "penetration": 1.0, "limits": 0.5, "torque": 1.0625, "change": 0.02}
    for name, change in faults.items():
        found = terms(every, still._replace(**change), counted(every.weights))
        assert found[name] == pytest.approx(sizes[name], rel=1e-3)
        # Joints beyond their limits are not where they were to be either.
        also = {name, "follow"} if name == "limits" else {name}
        assert all(abs(value) < 1e-6 for key, value in found.items() if key not in also)
    thing = still.thing.copy()
    thing[:, 2] += 0.05
    lifted = still._replace(thing=thing)
    assert loss(goal(lift=1), still) == pytest.approx(25.0)
    assert loss(goal(lift=1), lifted) == pytest.approx(0.0)


def test_a_goal_without_its_measure_is_refused():
    with pytest.raises(ValueError, match="lacks what lift, touch"):
        Goal(
            weights=Weights(lift=1, touch=1),
            lower=np.zeros(2),
            upper=np.ones(2),
            effort=np.ones(2),
        )
    with pytest.raises(ValueError, match="torque must be at least 0"):
        Weights(torque=-1)


def test_what_is_not_finite_is_named():
    check_motion(motion(), NAMES)
    broken = motion()
    forces, tips = broken.forces.copy(), broken.tips.copy()
    forces[1:, 1], tips[1:, 3] = np.nan, np.inf
    with pytest.raises(NotFinite, match="servo force of ffj1 is nan at control 1") as caught:
        check_motion(broken._replace(forces=forces, tips=tips), NAMES)
    assert caught.value.step == 1
    with pytest.raises(NotFinite, match="thumb fingertip is inf at control 1"):
        check_motion(broken._replace(tips=tips), NAMES)
    gradient = np.zeros((4, 2))
    check_gradient(gradient, NAMES)
    gradient[:3, 0] = np.nan
    with pytest.raises(NotFinite, match="gradient by the control of ffj0 is nan at control 2"):
        check_gradient(gradient, NAMES)


def test_central_differences_of_a_known_function():
    at = np.array([[0.3, -0.2], [1.0, 2.0]])
    truth = np.sin(at).prod() / np.tan(at)
    along = directions(at.shape, 5)
    np.testing.assert_allclose((along**2).sum((1, 2)), 1.0)
    found = slopes(lambda x: float(np.sin(x).prod()), at, along, 1e-5)
    assert relative_error(found, (along * truth).sum((1, 2))) < 1e-9
    assert relative_error(np.full(2, np.nan), np.ones(2)) == np.inf


def test_knots_are_joined_by_straight_lines():
    weights = between(11, 3)
    np.testing.assert_allclose(weights.sum(1), 1.0)
    np.testing.assert_allclose(
        weights @ [0.0, 1.0, -1.0], [*np.arange(0, 1, 0.2), *np.arange(1, -1.01, -0.4)]
    )


def test_both_searches_find_the_least_within_bounds():
    target = np.array([[0.2, 3.0], [-0.4, 0.1]])
    bounds = np.array([-1.0, -1.0]), np.array([1.0, 1.0])
    best = np.clip(target, *bounds)

    def slope(x):
        return float(((x - target) ** 2).sum()), 2.0 * (x - target)

    down = descend(slope, np.zeros((2, 2)), bounds, np.inf, DescentConfig(rate=0.05, steps=300))
    np.testing.assert_allclose(down.knots, best, atol=5e-3)
    assert down.tried == 300 and down.rejected == 0
    drawn = cross_entropy(
        lambda x: ((x - target) ** 2).sum((1, 2)), np.zeros((2, 2)), bounds, 0.2, CemConfig()
    )
    np.testing.assert_allclose(drawn.knots, best, atol=0.03)
    losses = [value for _, value in drawn.history]
    assert losses == sorted(losses, reverse=True) and drawn.loss == losses[-1]


def test_a_scale_moves_servos_in_their_own_unit():
    """The first step of Adam is its rate; the first generation spreads as far as it is told."""
    scale, bounds = np.array([1.0, 0.1]), (np.full(2, -9.0), np.full(2, 9.0))
    seen = []

    def slope(x):
        seen.append(x)
        return float(x.sum()), np.ones((1, 2))

    descend(slope, np.zeros((1, 2)), bounds, np.inf, DescentConfig(rate=0.2, steps=2), scale)
    np.testing.assert_allclose(seen[1], [[-0.2, -0.02]], rtol=1e-6)
    drawn = []

    def losses(x):
        drawn.append(x)
        return x.sum((1, 2))

    cross_entropy(losses, np.zeros((1, 2)), bounds, 0.0, CemConfig(samples=500), scale)
    np.testing.assert_allclose(drawn[0].std((0, 1)), [0.15, 0.015], rtol=0.1)


def test_searches_get_over_what_is_not_finite():
    """A cliff at 0.5 behind which nothing is defined, with the least just before it."""

    def slope(x):
        if x[0, 0] > 0.5:
            raise NotFinite(0, "position of ffj0", np.nan)
        return float((x[0, 0] - 0.49) ** 2), 2.0 * (x - 0.49)

    bounds = np.array([-1.0]), np.array([1.0])
    down = descend(slope, np.zeros((1, 1)), bounds, np.inf, DescentConfig(rate=0.2, steps=200))
    assert down.rejected > 0 and down.knots[0, 0] == pytest.approx(0.49, abs=0.05)
    values = lambda x: np.where(x[:, 0, 0] > 0.5, np.nan, (x[:, 0, 0] - 0.49) ** 2)  # noqa: E731
    drawn = cross_entropy(values, np.zeros((1, 1)), bounds, 0.1)
    assert drawn.rejected > 0 and drawn.knots[0, 0] == pytest.approx(0.49, abs=0.02)


def test_a_wrong_search_is_refused():
    with pytest.raises(ValueError, match="elite"):
        CemConfig(elite=64)
    with pytest.raises(ValueError, match="rate"):
        DescentConfig(rate=0)
    with pytest.raises(ValueError, match="at least 2"):
        between(5, 1)
