"""An episode on the camera's clock: what is kept, and that nothing moves in time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recorded_bag
from manip_bringup import demonstration
from manip_bringup.action_replay import ActionReplay, evenly, finer, rows
from manip_bringup.bag_arrays import Series, our_joint, pictures, read_bag
from manip_bringup.demonstration import (
    camera_rate,
    demonstrate,
    held,
    held_means,
    row_times,
)
from manip_bringup.episodes import UNMARKED, Episode
from manip_core.robot_model import JOINT_NAMES, NUM_JOINTS
from recorded_bag import EPOCH, motion, record

WHOLE = Episode(0.0, 100.0, UNMARKED)


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return read_bag(record(tmp_path_factory.mktemp("bag") / "bag"))


def test_the_bag_holds_what_was_recorded(bag):
    assert bag.origin == EPOCH and not bag.problems
    assert camera_rate(bag.exposures) == 30
    for joint, name in enumerate(JOINT_NAMES):
        series = bag.states[name]
        np.testing.assert_allclose(series.values, motion(series.times)[:, joint], atol=1e-9)
    last = np.isfinite(bag.commands.values).all(axis=1)
    assert last[1:].all()
    np.testing.assert_allclose(bag.commands.values[-1], motion([bag.end])[0], atol=5e-3)


def test_rows_are_the_pictures_with_their_hands_and_joints(bag):
    demo = demonstrate(bag, WHOLE, 30)
    assert len(demo) == 90 and demo.repeated == 0
    assert demo.picture.tolist() == list(range(90))
    np.testing.assert_allclose(demo.exposure, demo.timestamp, atol=1e-6)
    # Measured 125 times a second, straight lines between: the motion bends by less than this.
    np.testing.assert_allclose(demo.state, motion(demo.timestamp), atol=2e-4)
    numbers = np.arange(90)
    assert demo.tracked.tolist() == (numbers % 10 != 9).tolist()
    wanted = np.where(demo.tracked, numbers, 0)
    np.testing.assert_array_equal(
        demo.keypoints, np.broadcast_to(wanted[:, None, None], (90, 21, 3))
    )
    np.testing.assert_array_equal(demo.keypoints_px[:, 0, 0], 2 * wanted)


def test_an_action_is_the_mean_of_its_commands_and_follows_the_motion(bag):
    demo = demonstrate(bag, WHOLE, 30)
    held_for = np.diff(demo.command_times, axis=1, append=1 / 30)
    assert (held_for > -1e-12).all() and (demo.command_times[:, 0] == 0).all()
    means = np.einsum("nmj,nm->nj", demo.commands, held_for) * 30
    np.testing.assert_allclose(demo.action, means, atol=1e-9)
    # Steps of 8 ms trail the motion by 4 ms on average; a row's middle is 1/60 s on.
    middle = motion(demo.timestamp[:-1] + 1 / 60 - 4e-3)
    np.testing.assert_allclose(demo.action[:-1], middle, atol=2e-3)


def test_rows_one_after_the_other_are_the_recorded_commands(bag):
    demo = demonstrate(bag, WHOLE, 30)
    again = rows(demo.commands, demo.command_times, 30)
    when = np.random.default_rng(1).uniform(0.01, 2.9, 2000)

    def at(series, t):
        return series.values[np.searchsorted(series.times, t, side="right") - 1]

    np.testing.assert_array_equal(at(again, when), at(bag.commands, when + demo.start))


def test_a_row_with_more_commands_than_are_kept_has_means(bag, monkeypatch):
    whole = demonstrate(bag, WHOLE, 30)
    monkeypatch.setattr(demonstration, "MOST_COMMANDS", 4)
    few = demonstrate(bag, WHOLE, 30)
    assert few.commands.shape == (90, 4, NUM_JOINTS)
    np.testing.assert_allclose(few.command_times[5], np.arange(4) / 120, atol=1e-9)
    np.testing.assert_allclose(few.commands.mean(axis=1)[5], whole.action[5], atol=1e-9)


def test_a_lost_picture_is_stood_in_for_by_the_one_before(tmp_path):
    bag = read_bag(record(tmp_path / "bag", 2.0, missing=(20, 21), jitter=0.002))
    demo = demonstrate(bag, WHOLE, 30)
    assert demo.repeated == 2 and len(demo) == 60
    assert np.abs(demo.exposure - demo.timestamp)[[19, 20, 21, 22]] == pytest.approx(
        [0.0, 1 / 30, 2 / 30, 0.0], abs=0.01
    )
    # The joints go on meanwhile.
    np.testing.assert_allclose(demo.state, motion(demo.start + demo.timestamp), atol=2e-3)
    shown = [exposure for exposure, _ in pictures(bag, demo.start - 1.0, 100.0)]
    assert sorted(set(demo.picture.tolist())) == list(range(len(shown))) == list(range(58))


def test_rows_lie_in_the_middle_of_what_the_camera_scatters():
    rng = np.random.default_rng(3)
    exposures = 5.0 + np.arange(300) / 30 + rng.normal(0.0, 0.003, 300)
    rows = row_times(np.sort(exposures), 30)
    assert abs(len(rows) - 300) <= 1
    np.testing.assert_allclose(np.diff(rows), 1 / 30)
    assert abs(np.median(rows[:299] - np.sort(exposures)[:299])) < 1e-3


def test_another_rate_repeats_or_leaves_out_pictures(bag):
    assert len(demonstrate(bag, WHOLE, 15)) == 45
    double = demonstrate(bag, WHOLE, 60)
    assert abs(len(double) - 179) <= 1
    np.testing.assert_allclose(double.state, motion(double.timestamp), atol=2e-4)


def test_says_why_an_episode_is_none(bag):
    with pytest.raises(ValueError, match="0 pictures"):
        demonstrate(bag, Episode(50.0, 60.0, UNMARKED), 30)


steps = st.lists(st.tuples(st.floats(0.001, 0.3), st.floats(-3.0, 3.0)), min_size=1, max_size=30)


@given(steps, st.integers(1, 20))
def test_means_keep_the_area_under_the_commands(given_steps, spans):
    times = np.cumsum([gap for gap, _ in given_steps])
    values = np.array([[value] for _, value in given_steps])
    edges = np.linspace(0.0, times[-1] + 0.5, spans + 1)
    means = held_means(held(Series(times, values), np.array([1.0]), since=0.0), edges)
    fine = np.linspace(0.0, edges[-1], 200_001)[:-1]
    at = np.searchsorted(times, fine, side="right") - 1
    area = np.where(at < 0, 1.0, values[np.maximum(at, 0), 0]).mean() * edges[-1]
    assert (means[:, 0] * np.diff(edges)).sum() == pytest.approx(area, abs=1e-3)
    assert means.min() >= min(1.0, values.min()) - 1e-9
    assert means.max() <= max(1.0, values.max()) + 1e-9


def test_joints_that_nobody_has_told_anything_stay():
    commands = Series(np.array([1.0]), np.array([[np.nan, 5.0]]))
    steps = held(commands, np.array([7.0, 3.0]), since=0.0)
    means = held_means(steps, np.array([0.0, 0.5, 1.5, 2.0]))
    np.testing.assert_allclose(means, [[7.0, 3.0], [7.0, 4.0], [7.0, 5.0]])


@given(st.integers(1, 9), st.integers(5, 20))
def test_finer_actions_keep_the_mean_and_follow_parabolas(parts, count):
    edges = np.linspace(-1.0, 1.0, count * parts + 1)
    area = edges**3 + 0.3 * edges**2 - edges
    means = np.diff(area) / np.diff(edges)
    coarse = means.reshape(count, parts).mean(axis=1)
    fine = finer(coarse[:, None], parts)
    np.testing.assert_allclose(fine.reshape(count, parts).mean(axis=1), coarse, atol=1e-12)
    inner = slice(2 * parts, (count - 2) * parts)
    np.testing.assert_allclose(fine[inner, 0], means[inner], atol=1e-9)


def test_exported_commands_move_the_robot_as_the_recorded_ones_did(bag):
    demo, replay = demonstrate(bag, WHOLE, 30), ActionReplay()
    ends, start = np.arange(1, len(demo) + 1) / 30, demo.state[0]
    recorded = Series(bag.commands.times - demo.start, bag.commands.values)
    own = replay.play(recorded, ends, start)
    assert np.abs(own - own[0]).max() > 0.1
    exported = demo.commands.astype(np.float32), demo.command_times.astype(np.float32)
    moved = replay.play(rows(*exported, 30), ends, start)
    assert np.abs(moved - own).max() < 1e-5
    # One action a row is enough for a motion as gentle as this one.
    actions = finer(demo.action.astype(np.float32), 17)
    assert np.abs(replay.play(evenly(actions, 30 * 17), ends, start) - own)[:-2].max() < 1e-3


def test_arm_and_hand_may_tell_their_joints_apart(bag, monkeypatch, tmp_path):
    """The drivers of a real arm and hand, each with names of its own."""
    monkeypatch.setattr(recorded_bag, "APART", True)
    apart = read_bag(record(tmp_path / "bag"))
    for name in JOINT_NAMES:
        np.testing.assert_array_equal(apart.states[name].values, bag.states[name].values)


def test_every_drivers_joint_names_are_known():
    assert our_joint("ffj1") == our_joint("joint_1_0") == our_joint("joint_1.0") == "ffj1"
    assert our_joint("ah_joint00") == "thj0"
    assert our_joint("left_ur_elbow_joint") == "elbow_joint"
    assert our_joint("gripper") is None
