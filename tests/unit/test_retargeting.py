"""Laws of the retargeting: what goes in may be anything, what comes out is always safe."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manip_core import robot_model
from manip_core.hand import LEFT, RIGHT, Hand
from manip_core.hand_skeleton import Keypoint
from manip_core.rotation import angle
from manip_retargeting.config import RetargetingConfig
from manip_retargeting.hand_map import HandScale
from manip_retargeting.measures import PostureMeter, bends, contact_from_distance
from manip_retargeting.retargeter import ARM_DOFS, Retargeter, Status

DT = 1 / 30
WRIST = np.array([0.0, 0.0, -0.12])
IDENTITY = HandScale(tips=np.ones(4), wrist=WRIST)
LIMITS = robot_model.limits()
# Camera axes of a hand held up to the camera, palm towards it, fingers up: columns are the palm
# frame's x (towards the camera), y (index side) and z (up) of a right hand.
UPRIGHT = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])
PLACE = np.array([0.05, 0.02, 0.5])


def robot_hand(
    retargeter: Retargeter, q: np.ndarray, rotation=UPRIGHT, wrist=PLACE, **fields
) -> Hand:
    """A hand whose bones are the robot's own at ``q``, held before the camera."""
    retargeter._planner.update(q[retargeter._free])
    frames = retargeter._frames
    frames.update(retargeter._planner.data)
    points = np.zeros((21, 3))
    palm_points = (frames.points - frames.palm) @ frames.rotation - WRIST
    retargeter._planner.update(retargeter.q[retargeter._free])
    points[1:17] = palm_points.reshape(16, 3)
    points[17:] = points[13:17] + np.array([0.0, -0.03, -0.01])
    fields = {"contact": np.zeros(4), "side": retargeter.side} | fields
    return Hand(
        stamp=0.0, keypoints=wrist + points @ rotation.T, confidence=1.0, tracked=True, **fields
    )


def settle(retargeter: Retargeter, hand: Hand, frames: int = 40) -> np.ndarray:
    for _ in range(frames):
        result = retargeter.solve(hand, DT)
        assert result.status is not Status.REJECTED, result.reason
    return result.q


@pytest.fixture(scope="module")
def meter() -> PostureMeter:
    return PostureMeter()


@pytest.fixture(scope="module")
def whole() -> Retargeter:
    return Retargeter(scale=IDENTITY)


@pytest.fixture(scope="module")
def fingers() -> Retargeter:
    return Retargeter(scale=IDENTITY, hand_only=True)


def postures(meter: PostureMeter, count: int, seed: int = 0) -> list[np.ndarray]:
    """Random hand postures, fingers bent as fingers bend, free of contact, the arm at home."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < count:
        q = robot_model.home()
        share = rng.uniform(0.1, 0.7, 16)
        share[[0, 4, 8]] = rng.uniform(0.4, 0.6, 3)
        lower, upper = LIMITS.lower[ARM_DOFS:], LIMITS.upper[ARM_DOFS:]
        q[ARM_DOFS:] = lower + share * (upper - lower)
        posture = meter.measure(q)
        if posture.penetration == 0 and posture.gaps.min() > 0.02:
            found.append(q)
    return found


def test_fk_retarget_fk_closes(fingers, meter):
    for q in postures(meter, 8):
        hand = robot_hand(fingers, q)
        assert fingers.engage(robot_model.home(), hand).status is Status.CONVERGED
        reached = settle(fingers, hand)
        errors = np.linalg.norm(meter.measure(reached).tips - meter.measure(q).tips, axis=1)
        assert errors.max() < 0.002, errors


def test_the_solution_is_stationary(whole, meter):
    q = postures(meter, 1)[0]
    hand = robot_hand(whole, q)
    whole.engage(robot_model.home(), hand)
    reached = settle(whole, hand, 80)
    result = whole.solve(hand, DT)
    assert result.status is Status.CONVERGED
    assert np.abs(result.q - reached).max() < 1e-3


def test_engaging_takes_over_the_measured_posture(whole, meter):
    rng = np.random.default_rng(3)
    for q in postures(meter, 3, seed=3):
        q[:ARM_DOFS] += rng.uniform(-0.1, 0.1, ARM_DOFS)
        hand = robot_hand(whole, robot_model.home())
        assert np.array_equal(whole.engage(q, hand).q, q)
        step = np.abs(whole.solve(hand, DT).q - q)
        assert (step <= LIMITS.velocity * DT + 1e-9).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    spread=st.floats(1e-3, 10.0),
    dt=st.floats(1e-4, 1.0),
    contact=st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4),
    wild=st.booleans(),
)
def test_any_hand_leaves_every_limit_whole(whole, meter, seed, spread, dt, contact, wild):
    rng = np.random.default_rng(seed)
    base = robot_hand(whole, robot_model.home())
    whole.engage(robot_model.home(), base)
    reach = LIMITS.velocity * min(dt, whole.config.max_dt)
    q = whole.q
    for _ in range(6):
        points = rng.normal(0, spread, (21, 3))
        points = points if wild else base.keypoints + 0.05 * points / spread
        hand = replace(base, keypoints=points, contact=np.array(contact))
        result = whole.solve(hand, dt)
        assert (np.abs(result.q - q) <= reach + 1e-9).all()
        q = result.q
        posture = meter.measure(q)
        assert posture.limit_excess == 0.0
        assert posture.penetration == 0.0


def test_human_like_motion_never_penetrates(fingers, meter):
    """Between any two postures, in jumps, with pinches switching on and off at random."""
    rng = np.random.default_rng(1)
    goals = postures(meter, 12, seed=5)
    fingers.engage(robot_model.home(), robot_hand(fingers, robot_model.home()))
    q = fingers.q
    for goal in goals:
        hand = robot_hand(fingers, goal, contact=rng.choice([0.0, 1.0], 4))
        for _ in range(15):
            result = fingers.solve(hand, DT)
            posture = meter.measure(result.q)
            assert posture.penetration == 0.0 and posture.limit_excess == 0.0
            assert (np.abs(result.q - q) <= LIMITS.velocity * DT + 1e-9).all()
            q = result.q


BAD_HANDS = {
    "keypoints must be finite": {"keypoints": np.full((21, 3), np.nan)},
    r"keypoints must be \(21, 3\)": {"keypoints": np.zeros((20, 3))},
    r"contact must be \(4,\)": {"contact": np.zeros(5)},
    "confidence must be": {"confidence": 1.5},
    "one line": {"keypoints": np.zeros((21, 3))},
    "no hand is tracked": {"tracked": False},
    "a left hand cannot drive a right": {"side": LEFT},
}


@pytest.mark.parametrize("reason", BAD_HANDS)
def test_bad_hands_move_nothing(whole, reason):
    good = robot_hand(whole, robot_model.home())
    whole.engage(robot_model.home(), good)
    before = settle(whole, good, 3)
    bad = replace(good, **BAD_HANDS[reason])
    for result in (whole.solve(bad, DT), whole.engage(robot_model.home(), bad)):
        assert result.status is Status.REJECTED
        assert np.array_equal(result.q, before)
        assert re.search(reason, result.reason), result.reason
    assert whole.solve(good, DT).status is not Status.REJECTED


@pytest.mark.parametrize("dt", [0.0, -0.1, np.nan, np.inf])
def test_bad_times_move_nothing(whole, dt):
    hand = robot_hand(whole, robot_model.home())
    whole.engage(robot_model.home(), hand)
    result = whole.solve(hand, dt)
    assert result.status is Status.REJECTED and "dt" in result.reason
    assert np.array_equal(result.q, robot_model.home())


@pytest.mark.parametrize(
    "q, reason",
    [
        (np.zeros(16), r"\(22,\), got \(16,\)"),
        (np.full(22, np.nan), "22 values that are not"),
        (robot_model.home() + 7.0, "outside its limits"),
    ],
)
def test_bad_robot_postures_do_not_engage(q, reason):
    retargeter = Retargeter(scale=IDENTITY)
    hand = robot_hand(retargeter, robot_model.home())
    result = retargeter.engage(q, hand)
    assert result.status is Status.REJECTED and not retargeter.engaged
    assert re.search(reason, result.reason), result.reason
    assert retargeter.solve(hand, DT).reason == "not engaged"


@pytest.mark.parametrize("finger", [0, 1, 2])
def test_a_pinch_closes_when_and_only_when_there_is_contact(fingers, meter, finger):
    """The same keypoints, thumb and finger 30 mm apart, with and without contact."""
    open_hand = robot_hand(fingers, robot_model.home())
    points = open_hand.keypoints.copy()
    thumb, tip = (
        Keypoint.THUMB_TIP,
        [Keypoint.INDEX_TIP, Keypoint.MIDDLE_TIP, Keypoint.RING_TIP][finger],
    )
    middle = (points[thumb] + points[tip]) / 2
    for keypoint in (thumb, tip):
        points[keypoint] = middle + 0.015 * (points[keypoint] - middle) / np.linalg.norm(
            points[keypoint] - middle
        )
    near = replace(open_hand, keypoints=points)
    touching = replace(near, contact=np.eye(4)[finger])
    fingers.engage(robot_model.home(), open_hand)
    for _ in range(3):
        settle(fingers, near, 20)
        assert meter.measure(fingers.q).gaps.min() > 0.012
        gaps = meter.measure(settle(fingers, touching, 20)).gaps
        assert 0.0 < gaps[finger] < 0.003, gaps


def test_moving_the_wrist_moves_the_palm_as_far(meter):
    config = RetargetingConfig(arm_scale=0.8, rest_band=0.0)
    retargeter = Retargeter(config, scale=IDENTITY)
    start = robot_hand(retargeter, robot_model.home())
    # Camera right, down and forward are world left, down and backward to the robot.
    for camera, world in (
        ([0.1, 0, 0], [0, 0.08, 0]),
        ([0, -0.1, 0], [0, 0, 0.08]),
        ([0, 0, -0.1], [0.08, 0, 0]),
    ):
        retargeter.engage(robot_model.home(), start)
        before = palm_pose(retargeter)
        settle(retargeter, replace(start, keypoints=start.keypoints + camera), 60)
        after = palm_pose(retargeter)
        assert np.allclose(after[0] - before[0], world, atol=1e-3)
        assert angle(after[1] @ before[1].T) < 0.01


def palm_pose(retargeter: Retargeter) -> tuple[np.ndarray, np.ndarray]:
    palm = retargeter._planner.data.body(robot_model.PALM_FRAME)
    return palm.xpos.copy(), palm.xmat.reshape(3, 3).copy()


def test_turning_the_hand_turns_the_palm(whole):
    start = robot_hand(whole, robot_model.home())
    whole.engage(robot_model.home(), start)
    before = palm_pose(whole)
    c, s = np.cos(0.3), np.sin(0.3)
    roll = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])  # about the camera's z, world -x
    settle(whole, robot_hand_turned(start, roll), 80)
    after = palm_pose(whole)
    world = np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    assert angle(after[1] @ before[1].T @ world.T) < 0.01
    assert np.allclose(after[0], before[0], atol=2e-3)


def robot_hand_turned(hand: Hand, rotation: np.ndarray) -> Hand:
    wrist = hand.keypoints[0]
    return replace(hand, keypoints=wrist + (hand.keypoints - wrist) @ rotation.T)


def test_the_palm_stays_in_its_workspace(whole):
    start = robot_hand(whole, robot_model.home())
    whole.engage(robot_model.home(), start)
    settle(whole, replace(start, keypoints=start.keypoints + np.array([0, 1.0, 0])), 90)
    assert palm_pose(whole)[0][2] >= whole.config.workspace_min[2] - 2e-3


def mirrored(hand: Hand, side: str) -> Hand:
    return replace(hand, keypoints=hand.keypoints * [-1, 1, 1], side=side)


def test_left_mirrors_right(fingers, meter):
    left = Retargeter(side=LEFT, scale=IDENTITY, hand_only=True)
    for q in postures(meter, 3, seed=8):
        hand = robot_hand(fingers, q)
        fingers.engage(robot_model.home(RIGHT), hand)
        left.engage(robot_model.home(LEFT), mirrored(hand, LEFT))
        right_q = settle(fingers, hand)[ARM_DOFS:]
        left_q = settle(left, mirrored(hand, LEFT))[ARM_DOFS:]
        sign = np.ones(16)
        sign[[0, 4, 8]] = -1.0
        assert np.allclose(left_q * sign, right_q, atol=5e-3)


def test_a_left_hand_drives_a_right_robot_mirrored(whole):
    retargeter = Retargeter(RetargetingConfig(mirror=True), scale=IDENTITY)
    hand = robot_hand(whole, robot_model.home(), side=RIGHT)
    moved = replace(hand, keypoints=hand.keypoints + np.array([0.08, 0.0, -0.05]))
    answers = []
    for robot, view in ((whole, lambda h: h), (retargeter, lambda h: mirrored(h, LEFT))):
        assert robot.engage(robot_model.home(), view(hand)).status is Status.CONVERGED
        answers.append(settle(robot, view(moved), 60))
    assert np.allclose(*answers, atol=5e-3)
    assert retargeter.solve(hand, DT).status is Status.REJECTED


def test_calibration_scales_with_the_hand(whole):
    hand = robot_hand(whole, robot_model.home())
    retargeter = Retargeter()
    own = retargeter.calibrate([hand])
    assert np.allclose(own.tips, 1.0, atol=1e-6) and np.allclose(own.wrist, WRIST, atol=2e-3)
    small = replace(hand, keypoints=hand.keypoints * 0.6)
    assert np.allclose(retargeter.calibrate([small, small]).tips, 1 / 0.6)
    with pytest.raises(ValueError, match="tracked"):
        retargeter.calibrate([replace(hand, tracked=False)])


def test_jacobians_agree_with_finite_differences(whole):
    whole.engage(robot_model.home(), robot_hand(whole, robot_model.home()))
    whole._aim(robot_hand(whole, postures(PostureMeter(), 1)[0], contact=np.ones(4)))
    planner, task, pinch, frames = (
        whole._planner,
        whole._finger_task,
        whole._pinch_task,
        whole._frames,
    )

    def at(q):
        planner.update(q)
        frames.update(planner.data)
        error = task.compute_error().copy()
        others = np.array([1, 2, 3])
        return (
            error,
            task.compute_jacobian().copy(),
            frames.gaps(others)[0],
            frames.pads(others)[0],
        )

    q, h = robot_model.home() + 0.05, 1e-6
    error, jacobian, *_ = at(q)
    pinch.compute_error(planner)
    rows = pinch.compute_jacobian(planner).reshape(3, 2, 3, -1)
    # The pinch rows carry the second derivative too; along the normal they are the gap's slope.
    slopes = np.einsum("ka,kaj->kj", pinch._normals, rows[:, 0])
    curvature = task._tip_curvature(error[:, 0], jacobian[:, 0])
    for finger in range(4):
        for joint in range(4):
            step = np.zeros(22)
            step[frames.dofs[finger, joint]] = h
            ahead, ja, gap_ahead, pad_ahead = at(q + step)
            behind, jb, gap_behind, pad_behind = at(q - step)
            assert np.allclose((ahead - behind)[finger] / (2 * h), jacobian[finger, :, joint])
            numeric = (ja - jb)[finger, 0] @ error[finger, 0] / (2 * h)
            assert np.allclose(curvature[finger, joint], numeric, atol=1e-7)
            slope = slopes[:, frames.dofs[finger, joint]]
            assert np.allclose((gap_ahead - gap_behind) / (2 * h), slope, atol=1e-7)
            slope = rows[:, 1, :, frames.dofs[finger, joint]]
            assert np.allclose((pad_ahead - pad_behind) / (2 * h), slope, atol=1e-7)


def test_distance_rows_agree_with_finite_differences(whole):
    planner, q, h = whole._planner, robot_model.home() + 0.05, 1e-6

    def distances(q):
        planner.update(q)
        contacts = planner.data.contact
        return {tuple(pair): dist for pair, dist in zip(contacts.geom, contacts.dist, strict=True)}

    planner.update(q)
    rows, _ = (array.copy() for array in planner.distance_rows())
    pairs = [tuple(pair) for pair in planner.data.contact.geom]
    assert len(pairs) > 5
    for dof in range(22):
        step = h * np.eye(22)[dof]
        ahead, behind = distances(q + step), distances(q - step)
        for row, pair in enumerate(pairs):
            if pairs.count(pair) == 1:
                assert abs((ahead[pair] - behind[pair]) / (2 * h) - rows[row, dof]) < 1e-6


@pytest.mark.parametrize(
    "fields",
    [
        {"iterations": 0},
        {"tip_cost": -1.0},
        {"contact_low": 0.7},
        {"open_gap": 0.0},
        {"workspace_min": (0.0, 0.0)},
        {"workspace_min": (2.0, 0.0, 0.0)},
        {"velocity_scale": 1.5},
        {"damping": 0.0},
        {"max_dt": np.nan},
    ],
)
def test_config_rejects_nonsense(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        RetargetingConfig(**fields)


def test_measures_tell_a_bent_finger_and_a_contact():
    q, q_open = robot_model.home(), robot_model.home()
    index = [robot_model.JOINT_NAMES.index(name) for name in robot_model.FINGER_JOINTS["index"]]
    q[index[1:]] = LIMITS.upper[index[1:]]
    assert np.allclose(bends(q, q_open), [0, 1, 0, 0])
    points = np.zeros((21, 3))
    points[Keypoint.INDEX_TIP, 0], points[Keypoint.MIDDLE_TIP, 0] = 0.015, 0.04
    contact = contact_from_distance(points)
    assert contact[0] > 0.9 and contact[1] < 0.1


def test_tremor_within_the_rest_band_moves_nothing_and_motion_lags_by_no_more():
    rng = np.random.default_rng(5)
    retargeter = Retargeter(RetargetingConfig(rest_band=0.004), scale=IDENTITY)
    start = robot_hand(retargeter, robot_model.home())
    retargeter.engage(robot_model.home(), start)
    before = palm_pose(retargeter)[0]
    for _ in range(30):
        shaken = rng.normal(size=3)
        shaken *= 0.0019 / np.linalg.norm(shaken)
        retargeter.solve(replace(start, keypoints=start.keypoints + shaken), 1 / 30)
    assert np.allclose(palm_pose(retargeter)[0], before, atol=2e-4)
    settle(retargeter, replace(start, keypoints=start.keypoints + np.array([0.05, 0, 0])), 60)
    moved = palm_pose(retargeter)[0] - before
    assert np.linalg.norm(moved) == pytest.approx(0.046, abs=2e-3)
