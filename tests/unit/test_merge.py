"""Two demonstrations as one: both are kept whole, and nothing between them is out of bounds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manip_bringup import merge_command, seam
from manip_bringup.bag_arrays import read_bag
from manip_bringup.demonstration import Demonstration, demonstrate
from manip_bringup.episodes import FAILURE, SUCCESS, UNMARKED, Episode
from manip_bringup.merge import cut, merged, trouble
from manip_control.guard import Guard, GuardConfig
from manip_core.hand import RIGHT
from manip_core.robot_model import JOINT_NAMES, NUM_JOINTS, home, limits
from manip_perception.transition import Transition
from recorded_bag import motion, record
from synthetic_hand import OPEN, bent

FPS = 30
LIMITS = limits()


def clip(seconds=2.0, seed=0, hand=True, outcome=SUCCESS, task="lift", size=0.08):
    """A motion of all joints about home, and of a hand."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * FPS)) / FPS
    pace, phase = rng.uniform(0.2, 0.5, NUM_JOINTS), rng.uniform(0, 6, NUM_JOINTS)
    middle = home() + rng.uniform(-0.1, 0.1, NUM_JOINTS)

    def at(t):
        return middle + size * np.sin(2 * np.pi * pace * t[..., None] + phase)

    parts = times[:, None] + (np.arange(4) + 0.5) / 4 / FPS
    closing = [bent(OPEN, 1, (0.4 + 0.3 * np.sin(2 * t + seed),) * 3) for t in times]
    shift = np.stack((0.1 * times, 0 * times, 0 * times), -1)
    return Demonstration(
        episode=Episode(1.0, 1.0 + seconds, outcome, task),
        fps=FPS,
        start=1.0,
        state=at(times - 0.03),
        action=at(parts).mean(1),
        commands=at(parts),
        command_times=np.broadcast_to(np.arange(4) / 4 / FPS, parts.shape).copy(),
        exposure=times,
        picture=np.arange(len(times)),
        keypoints=(np.stack(closing) + shift[:, None]).astype(np.float32),
        keypoints_px=np.ones((len(times), 21, 2), np.float32),
        confidence=np.full(len(times), 0.9, np.float32),
        tracked=np.full(len(times), hand),
        repeated=0,
        longest_gap=0.01,
    )


@pytest.fixture(scope="module")
def transition():
    return Transition.shipped()


@pytest.fixture(scope="module")
def whole(transition):
    return merged(clip(), clip(seed=1, task="pour"), LIMITS, transition)


def test_both_are_kept_whole(whole):
    one, other = clip(), clip(seed=1)
    (first, last), n = whole.seams[0], len(whole)
    assert first == len(one) and n == last + 1 + len(other)
    for name in ("state", "action", "commands", "keypoints", "tracked", "picture"):
        kept = getattr(whole, name)
        assert len(kept) == n
        np.testing.assert_array_equal(kept[:first], getattr(one, name))
        np.testing.assert_array_equal(kept[last + 1 :], getattr(other, name))
    np.testing.assert_allclose(np.diff(whole.exposure), 1 / FPS)
    assert (whole.picture[first : last + 1] == -1).all()
    assert whole.episode.task == "lift, then pour" and whole.episode.outcome == SUCCESS


def test_the_way_between_keeps_the_limits_and_is_no_harder_than_what_it_joins(whole):
    first, last = whole.seams[0]
    ratios = seam.seam_ratios(whole.action, first, last, FPS)
    assert max(ratios.values()) <= 1
    speed = np.abs(np.diff(whole.action, axis=0)) * FPS
    assert (speed[first - 1 : last + 1] <= LIMITS.velocity).all()
    assert ((whole.action >= LIMITS.lower) & (whole.action <= LIMITS.upper)).all()
    # Put together as they are, they jump.
    plain = np.vstack((whole.action[:first], whole.action[last + 1 :]))
    assert max(seam.seam_ratios(plain, first, first - 1, FPS).values()) > 5
    # What was measured goes the same way, and nothing of it jumps.
    jumps = np.abs(np.diff(whole.state, axis=0)).max(1)
    assert jumps[first - 1 : last + 1].max() < 1.5 * speed.max() / FPS


def test_rows_of_the_way_are_means_of_their_commands(whole):
    lasts = np.diff(whole.command_times, axis=1, append=1 / FPS)
    means = np.einsum("nmj,nm->nj", whole.commands, lasts) * FPS
    np.testing.assert_allclose(whole.action, means, atol=1e-9)
    # One command follows the other: none is farther than the fastest joint goes.
    steps = np.abs(np.diff(whole.commands.reshape(-1, NUM_JOINTS), axis=0))
    assert steps.max() < 2.0 / FPS


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 0.09), st.floats(0.01, 0.09))
def test_any_two_motions_are_joined_within_bounds(seed, one, other):
    before = clip(seed=seed, size=one).action
    after = clip(seed=seed + 1, size=other).action
    way = seam.plan(before, after, FPS, LIMITS)
    count = way.count
    rows = way.at(np.arange(count + 2) / FPS)
    np.testing.assert_allclose(rows[[0, -1]], (before[-1], after[0]), atol=1e-9)
    joined = np.vstack((before, rows[1:-1], after))
    ratios = seam.seam_ratios(joined, len(before), len(before) + count - 1, FPS)
    assert max(ratios.values()) <= 1
    assert ((rows >= LIMITS.lower) & (rows <= LIMITS.upper)).all()


def test_a_quintic_has_the_ends_that_it_was_given():
    rng = np.random.default_rng(3)
    first, last = (seam.Moment(*rng.normal(size=(3, NUM_JOINTS))) for _ in range(2))
    way = seam.quintic(first, last, 0.7)
    derivatives = [way]
    for _ in range(2):
        derivatives.append(np.polynomial.polynomial.polyder(derivatives[-1]))
    for moment, time in ((first, 0.0), (last, 0.7)):
        found = [seam.along(d, np.array([time]))[0] for d in derivatives]
        np.testing.assert_allclose(found, list(vars(moment).values()), atol=1e-9)
    back = last.reversed().reversed()
    np.testing.assert_array_equal(back.velocity, last.velocity)


def test_the_operators_hand_goes_over_too(whole):
    first, last = whole.seams[0]
    rows = slice(first, last + 1)
    near = np.minimum(np.arange(1, last - first + 2), np.arange(last - first + 1, 0, -1)) / FPS
    told = near <= 0.5
    np.testing.assert_array_equal(whole.tracked[rows], told)
    assert (whole.confidence[rows][told] < 0.9).all()
    steps = np.linalg.norm(np.diff(whole.keypoints, axis=0), axis=-1).max(1)
    if told.all():
        assert steps[first - 1 : last + 1].max() < 0.05
    bones = np.linalg.norm(np.diff(whole.keypoints[rows][told][:, 5:9], axis=1), axis=-1)
    expected = np.linalg.norm(np.diff(OPEN[5:9], axis=0), axis=-1)
    np.testing.assert_allclose(bones, np.broadcast_to(expected, bones.shape), atol=1e-4)


def test_a_part_is_cut_whole():
    demo = clip()
    part = cut(demo, 10, 40)
    assert len(part) == 30 and part.start == pytest.approx(demo.start + 10 / FPS)
    assert part.exposure[0] == 0 and cut(demo, 0, len(demo)) is demo
    for name in ("state", "action", "commands", "keypoints", "tracked", "picture"):
        np.testing.assert_array_equal(getattr(part, name), getattr(demo, name)[10:40])


def test_what_begins_too_hard_is_shortened_there(transition):
    hard = clip(seed=1)
    jump = np.linspace(1.5, 0, 3)[:, None] * (np.arange(NUM_JOINTS) == 0)
    hard.action[:3] += jump
    hard.commands[:3] += jump[:, None]
    joined = merged(clip(), hard, LIMITS, transition)
    first, last = joined.seams[0]
    assert max(seam.seam_ratios(joined.action, first, last, FPS).values()) <= 1.01
    left_out = 120 - (len(joined) - (last - first + 1))
    assert 0 <= left_out <= 10
    np.testing.assert_array_equal(joined.action[last + 1 :], hard.action[left_out:])


def test_where_no_hand_was_seen_none_is_made_up(transition):
    joined = merged(clip(hand=False), clip(seed=1), LIMITS, transition)
    first, last = joined.seams[0]
    assert not joined.tracked[: last + 1].any() and not joined.keypoints[first : last + 1].any()


def test_three_are_joined_one_by_one(whole, transition):
    three = merged(whole, clip(seed=2, task="pour"), LIMITS, transition)
    assert len(three.seams) == 2 and three.seams[0] == whole.seams[0]
    assert three.episode.task == "lift, then pour, then pour"
    for outcomes, expected in (
        ((SUCCESS, FAILURE), FAILURE),
        ((SUCCESS, UNMARKED), UNMARKED),
    ):
        a, b = (clip(seed=i, outcome=o) for i, o in enumerate(outcomes))
        assert merged(a, b, LIMITS, transition).episode.outcome == expected


def test_a_way_through_the_table_is_told():
    guard = Guard(GuardConfig(), RIGHT)
    demo = replace(clip(size=0.01), seams=((20, 39),))
    assert trouble(demo, guard) == ""
    through = demo.action.copy()
    through[20:40, JOINT_NAMES.index("shoulder_lift_joint")] -= 1.2
    assert "table" in trouble(replace(demo, action=through), guard)


def test_what_cannot_be_joined_is_refused(transition):
    with pytest.raises(ValueError, match="30 and 25 rows a second"):
        merged(clip(), replace(clip(), fps=25), LIMITS, transition)
    with pytest.raises(ValueError, match=r"3 rows or more of 22 joints, got \(2, 22\)"):
        seam.plan(clip().action[:2], clip().action, FPS, LIMITS)
    fast = clip().action
    fast[:, 0] = LIMITS.upper[0] - np.arange(len(fast))[::-1] * LIMITS.velocity[0] / FPS
    with pytest.raises(ValueError, match="keeps the joints' limits"):
        seam.plan(fast, clip().action, FPS, LIMITS)


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags")
    marks = [(0.2, "start lift"), (1.2, "success"), (1.4, "start pour"), (2.4, "success")]
    return [
        str(record(folder / "one", 2.0)),
        str(record(folder / "two", 2.6, marks=marks)),
    ]


def test_the_command_writes_an_episode(bags, tmp_path, capsys):
    out = tmp_path / "both"
    words = [*bags, "--out", str(out), "--episode", "0", "--episode", "1", "--allow-contact"]
    assert merge_command.main(words) == 0
    said = capsys.readouterr().out
    assert "seam in rows 60 to" in said and "rows at 30 a second" in said
    with np.load(out / "episode_000000.npz") as file:
        (first, last), action = file["seams"][0], file["action"]
        assert str(file["task"]) == "pour" and list(file["joints"]) == list(JOINT_NAMES)
    assert first == 60 and len(action) - last - 1 in (30, 31)
    alone = demonstrate(read_bag(bags[0]), Episode(0.0, 100.0, UNMARKED), FPS)
    np.testing.assert_array_equal(action[:60], alone.action)
    assert max(seam.seam_ratios(action, first, last, FPS).values()) <= 1
    assert np.abs(action[-1] - motion([2.4])[0]).max() < 0.05


def test_the_command_says_what_is_missing(bags, tmp_path):
    out = ["--out", str(tmp_path / "x")]
    with pytest.raises(ValueError, match="two bags or more, got 1"):
        merge_command.main([bags[0], *out])
    with pytest.raises(ValueError, match=r"choose an episode of two .* 1: 1.4 to 2.4 s, success"):
        merge_command.main([*bags, *out])
    with pytest.raises(ValueError, match="once for each bag, got 1"):
        merge_command.main([*bags, *out, "--episode", "0"])
    with pytest.raises(ValueError, match="is there already"):
        merge_command.main([*bags, "--out", str(tmp_path.parent)])
