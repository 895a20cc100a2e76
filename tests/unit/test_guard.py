"""The guard's proof: its law of distances, and that what it calls free is free."""

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manip_control.control_config import ControlConfig
from manip_control.guard import Guard, GuardConfig, Path
from manip_control.limiter import Limiter
from manip_control.singularity import Singularity
from manip_core.robot_model import HAND_JOINTS, JOINT_NAMES, build_model, home, limits

LIMITS = limits("right")
HOME = home("right")
JERK = LIMITS.acceleration / 0.01
GUARD = Guard(GuardConfig())
DT = 0.008
SPREAD = np.array([0.8] * 6 + [0.8] * 16)

# The robot on its real table, as everyone else sees it.
MODEL = build_model("right", with_scene=False)
DATA = mujoco.MjData(MODEL)


def penetration(q) -> float:
    DATA.qpos[:] = q
    mujoco.mj_kinematics(MODEL, DATA)
    mujoco.mj_collision(MODEL, DATA)
    return max(0.0, -DATA.contact.dist.min()) if DATA.ncon else 0.0


def palm(q) -> np.ndarray:
    DATA.qpos[:] = q
    mujoco.mj_kinematics(MODEL, DATA)
    return DATA.site("allegro_palm").xpos.copy()


def posture(rng, spread=1.0) -> np.ndarray:
    return np.clip(HOME + spread * SPREAD * rng.normal(size=22), LIMITS.lower, LIMITS.upper)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-4, 1e-3, 1e-2, 0.05]))
def test_no_distance_changes_faster_than_its_reach(seed, size):
    rng = np.random.default_rng(seed)
    before = posture(rng)
    after = before + rng.normal(size=22) * size * (rng.random(22) < 0.5)
    # What penetrates has no distance; and MuJoCo reports none beyond its margins.
    d0, d1 = (np.clip(GUARD.distances(q), 0, GUARD.far) for q in (before, after))
    assert (np.abs(d1 - d0) <= GUARD.reach @ np.abs(after - before) + 1e-9).all()


def test_all_that_mujoco_finds_touching_the_guard_finds_touching():
    touching = 0
    for seed in range(300):
        q = posture(np.random.default_rng(seed))
        if penetration(q) > 1e-6:
            touching += 1
            assert GUARD.distances(q).min() < 0
    assert touching > 30


def straight(start, end) -> Path:
    return Path(lambda t: start + t * (end - start), (0.0, 1.0), np.zeros((1, 22)), np.zeros(22))


def is_free(start, end) -> bool:
    seen = GUARD.distances(start)
    floor = np.minimum(GUARD.clearance, seen)
    return not GUARD.trouble(straight(start, end), floor, np.zeros(len(seen)), seen)[0].any()


def test_what_is_called_free_is_free_all_along():
    rng = np.random.default_rng(0)
    verdicts = []
    while len(verdicts) < 120:
        start, end = posture(rng, 0.6), posture(rng, 0.6)
        end = start + rng.uniform(0.02, 0.7) * (end - start)
        if penetration(start):
            continue
        verdicts.append(is_free(start, end))
        if verdicts[-1]:
            path = [start + t * (end - start) for t in np.linspace(0, 1, 60)]
            assert max(map(penetration, path)) == 0.0
    assert 0.2 < np.mean(verdicts) < 0.95


def test_paths_through_obstacles_are_refused_though_both_ends_are_free():
    rng = np.random.default_rng(1)
    crossed = 0
    for _ in range(300):
        start, end = posture(rng, 0.7), posture(rng, 0.7)
        end[6:], start[6:] = (HOME[6:], HOME[6:]) if crossed % 2 else (end[6:], start[6:])
        if penetration(start) or penetration(end):
            continue
        path = [start + t * (end - start) for t in np.linspace(0, 1, 40)]
        if max(map(penetration, path)) > 0:
            crossed += 1
            assert not is_free(start, end)
    assert crossed > 5


def fly(limiter, targets, *, every=20):
    """Positions of a flight to each of ``targets`` for ``every`` steps."""
    flown = [limiter.position.copy()]
    for target in targets:
        for _ in range(every):
            flown.append(limiter.step(target, DT).copy())
    return np.array(flown)


@pytest.mark.parametrize("seed", range(3))
def test_no_target_leads_into_a_collision_nor_over_a_limit(seed):
    rng = np.random.default_rng(seed)
    limiter = Limiter(LIMITS, JERK, GUARD)
    limiter.reset(HOME)
    flown = fly(limiter, [posture(rng) for _ in range(40)])
    assert max(map(penetration, flown)) == 0.0
    # Between commands as well.
    between = 0.5 * (flown[1:] + flown[:-1])
    assert max(map(penetration, between)) == 0.0
    moved = flown
    for limit in (LIMITS.velocity, LIMITS.acceleration, JERK):
        moved = np.diff(moved, axis=0) / DT
        assert (np.abs(moved[3:]) <= limit * (1 + 1e-6) + 1e-6).all()
    # It was no walk in the park, and it did walk.
    assert np.ptp(flown, axis=0)[:6].max() > 0.5


def test_from_every_moment_it_can_stop_without_touching():
    rng = np.random.default_rng(3)
    for _ in range(25):
        limiter = Limiter(LIMITS, JERK, GUARD)
        limiter.reset(HOME)
        fly(limiter, [posture(rng)], every=int(rng.integers(5, 80)))
        for _ in range(100):
            assert penetration(limiter.step(None, DT)) == 0.0
            assert limiter.blocked == ""
        assert limiter.at_rest


def test_reaches_a_free_target_past_obstacles_in_sight():
    rng = np.random.default_rng(4)
    reached = 0
    for _ in range(12):
        limiter = Limiter(LIMITS, JERK, GUARD)
        limiter.reset(HOME)
        target = posture(rng, 0.25)
        if is_free(HOME, target) and (GUARD.distances(target) > 2 * GUARD.clearance).all():
            fly(limiter, [target], every=250)
            np.testing.assert_allclose(limiter.position, target, atol=1e-3)
            reached += 1
    assert reached >= 3


def test_a_blocked_finger_does_not_stop_the_arm():
    limiter = Limiter(LIMITS, JERK, GUARD)
    limiter.reset(HOME)
    target = HOME.copy()
    target[0] += 0.3
    for name in HAND_JOINTS:
        # Into the palm and each other as far as they go.
        target[JOINT_NAMES.index(name)] = LIMITS.upper[JOINT_NAMES.index(name)]
    flown = fly(limiter, [target], every=200)
    assert flown[-1][0] == pytest.approx(target[0], abs=1e-3)
    assert max(map(penetration, flown)) == 0.0


def test_the_palm_stays_in_its_box_and_out_of_the_others():
    start = palm(HOME)
    box = (start - [0.3, 0.10, 0.15], np.add(start, [0.3, 0.10, 0.10]))
    keep_out = (start[0] - 0.05, start[1] - 0.12, start[2] - 0.12)
    keep_out += (start[0] + 0.05, start[1] + 0.12, start[2] - 0.05)
    config = GuardConfig(
        workspace_min=tuple(box[0]),
        workspace_max=tuple(box[1]),
        keep_out=" ".join(map(str, keep_out)),
    )
    limiter = Limiter(LIMITS, JERK, Guard(config))
    limiter.reset(HOME)
    rng = np.random.default_rng(5)
    said = set()
    for _ in range(30):
        target = posture(rng, 0.5)
        for _ in range(25):
            p = palm(limiter.step(target, DT))
            said.add(limiter.blocked)
            assert (p > box[0]).all() and (p < box[1]).all()
            assert not ((p > keep_out[:3]) & (p < keep_out[3:])).all()
    assert any("workspace" in word for word in said)
    assert any("keep-out" in word for word in said)


def test_a_robot_that_starts_in_contact_gets_out_and_no_deeper():
    rng = np.random.default_rng(6)
    depth = 0.0
    while not 5e-4 < depth < 4e-3:
        start = HOME.copy()
        start[6:] = posture(rng)[6:]
        depth = penetration(start)
    limiter = Limiter(LIMITS, JERK, GUARD)
    limiter.reset(start)
    flown = fly(limiter, [HOME], every=150)
    assert max(map(penetration, flown)) <= depth + 5e-4
    np.testing.assert_allclose(flown[-1], HOME, atol=1e-3)


def test_the_arm_slows_down_in_its_singularities():
    config = ControlConfig()
    singularity = Singularity(GUARD.model, config)
    assert singularity.speed_share(HOME) == 1.0
    for joint in ("elbow_joint", "wrist_2_joint"):
        q = HOME.copy()
        q[JOINT_NAMES.index(joint)] = 0.0
        assert singularity.smallest_singular_value(q) < 1e-9
        assert singularity.speed_share(q) == config.singular_speed
        shares = []
        for angle in np.linspace(0, HOME[JOINT_NAMES.index(joint)], 50):
            q[JOINT_NAMES.index(joint)] = angle
            shares.append(singularity.speed_share(q))
        assert (np.diff(shares) >= -1e-9).all() and shares[-1] == 1.0


@pytest.mark.parametrize(
    "change",
    [
        {"workspace_min": (0.0, 0.0, 2.0)},
        {"keep_out": "0 0 0 1 1"},
        {"keep_out": "0 0 0 1 1 -1"},
        {"keep_out": "0 0 0 1 1 nan"},
        {"arm_clearance": 0.0},
        {"samples": 1},
    ],
)
def test_config_checks_itself(change):
    with pytest.raises(ValueError):
        GuardConfig(**change)


def test_keep_out_boxes_are_read():
    boxes = GuardConfig(keep_out="0 0 0 1 1 1; -1,-1,-1,0,0,0;").keep_out_boxes()
    assert boxes.shape == (2, 2, 3) and boxes[1, 0, 0] == -1.0
