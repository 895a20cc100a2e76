"""The rule that says what a hand did: grasps where there are some, none where there are none."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from manip_core.grasp_types import NUM_GRASP_TYPES, GraspType
from manip_core.hand import palm_rotation
from manip_core.hand_skeleton import FINGER_CHAINS
from manip_core.resources import find
from manip_model import grasp_rule
from manip_model.action_features import (
    beside_index,
    gaps,
    grip_axis,
    palm_frames,
    surface_distance,
)
from manip_training.action.grasp_rule import Shape, grasp_types, holding_force
from manip_training.action.labels import find_grasps, first_motion
from manip_training.action.scenes import SHAPES, SceneDraw, stored_types
from manip_training.data.primitives import BOX, CYLINDER, Primitive
from manip_training.synthetic.grasps import BANK, HELD_OUT, TRAINING_BANKS, GraspBank
from synthetic_hand import make_hand

RATE, FRAMES = 30.0, 210


@pytest.fixture(scope="module")
def draw():
    return SceneDraw("train")


@pytest.fixture(scope="module")
def handling(draw):
    generator = torch.Generator().manual_seed(3)
    return draw.handlings.draw(48, FRAMES, RATE, generator, whole=True)


@pytest.fixture(scope="module")
def scenes(draw):
    return draw.handled(48, FRAMES, RATE, 3, whole=True)


def test_what_seems_a_grasp_is_none_and_what_is_one_is_found(scenes, handling):
    found = np.array([len(grasps) for grasps in scenes.grasps])
    real = handling.grasped.numpy()
    assert (found[real] == 1).mean() > 0.9
    assert (found[~real] > 0).mean() < 0.15


def test_the_onset_is_when_the_fingers_have_closed(scenes, handling):
    off = []
    for row in np.flatnonzero(handling.grasped.numpy()):
        if scenes.grasps[row] and handling.held[row].any():
            closed = int(handling.held[row].int().argmax())
            off.append((scenes.grasps[row][0].onset - closed) / RATE)
    off = np.abs(off)
    assert np.median(off) < 0.05 and np.quantile(off, 0.9) < 0.12


def test_the_rule_is_steady_under_noise(scenes):
    rng = np.random.default_rng(0)
    onsets, kinds = [], []
    for row, grasps in enumerate(scenes.grasps):
        if not grasps:
            continue
        noisy = scenes.joints[row] + 0.001 * rng.normal(size=scenes.joints[row].shape)
        shape = Shape(scenes.size[row], True)
        clean = find_grasps(
            scenes.times, scenes.joints[row], scenes.rotation[row], scenes.position[row], shape
        )
        again = find_grasps(scenes.times, noisy, scenes.rotation[row], scenes.position[row], shape)
        if clean and again:
            onsets.append(abs(again[0].onset - clean[0].onset) / RATE)
            kinds.append(again[0].kind == clean[0].kind)
    assert len(onsets) > 20 and np.quantile(onsets, 0.9) <= 0.1 and np.mean(kinds) > 0.85


def test_all_ten_types_are_there_and_drawn_alike(draw):
    kinds, steady = stored_types(draw.handlings)
    assert set(kinds[steady]) == set(range(len(GraspType)))
    generator = torch.Generator().manual_seed(0)
    index = draw.handlings.draw(400, 2, RATE, generator, whole=True).index
    assert len(set(index.tolist())) > 12


def test_held_out_grasps_are_of_the_first_banks_alone():
    for variant, share in (("train", 1 - 1 / HELD_OUT), ("val", 1 / HELD_OUT)):
        count = len(GraspBank(variant, "cpu", (BANK,)))
        every = sum(len(GraspBank(one, "cpu", (BANK,))) for one in ("train", "val"))
        assert count == pytest.approx(share * every, abs=1)
    assert len(GraspBank("val", "cpu", TRAINING_BANKS)) == 0
    with np.load(find(TRAINING_BANKS[0])) as stored:
        assert len(GraspBank("train", "cpu", TRAINING_BANKS[:1])) == len(stored["object"])


def expected(joints, rotation, position, shape):
    """Of hands ``(N, 21, 3)`` and one thing: ``(N, D, 11)``."""
    away = gaps(joints, rotation, position, shape.size, shape.box)
    along = np.abs(np.einsum("ni,nij->nj", grip_axis(joints, away), rotation))
    size = np.broadcast_to(shape.size, (len(joints), 3))
    said = grasp_rule.expected_types(away, beside_index(joints), along, size)
    return said.reshape(len(joints), -1, NUM_GRASP_TYPES + 1)


def of_grasps(scenes):
    """Hands, turn and place of the thing, its shape, and the rule's word, of each sequence."""
    for row, grasps in enumerate(scenes.grasps):
        for grasp in grasps:
            look = slice(grasp.onset - 8, grasp.onset + 6)
            seen = (
                scenes.joints[row][look],
                scenes.rotation[row][look],
                scenes.position[row][look],
            )
            shape = SHAPES[scenes.index[row]].scaled(scenes.scale[row])
            yield (*seen, shape, grasp_types(*seen, shape))


def test_what_is_expected_of_exactly_seen_hands_is_the_rule_itself(scenes, monkeypatch):
    monkeypatch.setattr(grasp_rule, "DEVIATIONS", (1e-9,))
    monkeypatch.setattr(grasp_rule, "NUM_RULED", NUM_GRASP_TYPES + 1)
    monkeypatch.setattr(grasp_rule, "_SIDES", 1e-9)
    kinds = set()
    for *seen, shape, ruled in of_grasps(scenes):
        said = expected(*seen, shape)[:, 0]
        np.testing.assert_allclose(said[:, :-1], np.eye(NUM_GRASP_TYPES)[ruled], atol=1e-6)
        away = gaps(*seen, shape.size, shape.box)
        held = (away[:, 1:5] < grasp_rule.NEAR).any(1)
        held &= (away[:, 0] < grasp_rule.NEAR) | (away[:, 5] < grasp_rule.PALM_NEAR)
        np.testing.assert_allclose(said[:, -1], held, atol=1e-6)
        kinds |= set(ruled.tolist())
    assert len(kinds) >= 8


def test_what_is_expected_is_a_share_and_less_sure_the_worse_is_seen(scenes):
    sure = []
    for *seen, shape, _ in of_grasps(scenes):
        said = expected(*seen, shape)
        np.testing.assert_allclose(said[..., :-1].sum(-1), 1.0, atol=1e-9)
        assert (said >= -1e-12).all() and (said <= 1 + 1e-12).all()
        sure.append(said[..., :-1].max(-1).mean(0))
    sure = np.mean(sure, 0)
    assert (np.diff(sure) < -0.02).all()


def test_things_as_wide_as_deep_are_taken_for_round():
    sizes = np.array(((0.066, 0.066, 0.1), (0.068, 0.065, 0.1), (0.058, 0.095, 0.19), (0, 0, 0)))
    assert grasp_rule.round_sided(sizes).tolist() == [True, True, False, True]


def test_gestures_are_no_grasps(draw):
    assert sum(len(grasps) for grasps in draw.gestures(16, 90, RATE, 0).grasps) <= 1


def test_palms_are_those_of_the_core():
    rng = np.random.default_rng(0)
    hands = np.stack([make_hand() + 0.01 * rng.normal(size=(21, 3)) for _ in range(5)])
    for hand, frame in zip(hands, palm_frames(hands), strict=True):
        np.testing.assert_allclose(frame, palm_rotation(hand), atol=1e-9)
    assert np.isfinite(palm_frames(np.zeros((2, 21, 3)))).all()


@pytest.mark.parametrize("kind", [BOX, CYLINDER])
def test_distances_are_those_of_the_primitives(kind):
    item = Primitive(kind, (0.06, 0.06, 0.2))
    points = np.random.default_rng(0).uniform(-0.15, 0.15, (200, 3))
    found = surface_distance(points, 0.5 * np.array(item.size), kind == BOX)
    np.testing.assert_allclose(found, item.distance(points), atol=1e-12)


def about(hand, position, size, box=True, turn=None):
    turn = np.eye(3) if turn is None else turn
    return grasp_types(hand[None], turn[None], np.asarray(position)[None], Shape(size, box))[0]


def test_an_empty_pinch_is_no_matter_of_the_palm():
    hand = make_hand()
    hand[FINGER_CHAINS[1, 2:]] = hand[4] + np.array(((0, 0.03, 0), (0, 0.008, 0)))
    between = 0.5 * (hand[4] + hand[8])
    assert about(hand, between, np.array((0.01, 0.01, 0.01))) in (
        GraspType.PALMAR_PINCH,
        GraspType.LATERAL,
    )
    far = gaps(hand, np.eye(3), between + 1.0, np.full(3, 0.01), True)
    assert (far > 0.5).all()


def test_heavier_things_are_held_more_firmly_and_none_too_firmly():
    small, large = (Shape(np.full(3, side), True) for side in (0.04, 0.08))
    assert holding_force(large) == pytest.approx(8 * holding_force(small))
    # Of a cube of 4 cm: 32 g, and both fingers bear half of it by friction.
    assert holding_force(small) == pytest.approx(1.4 * 0.032 * 9.81)
    assert holding_force(Shape(np.full(3, 1.0), True)) == 20.0
    assert replace(small, box=False).mass == pytest.approx(np.pi / 4 * small.mass)


def test_first_motion_is_when_a_thing_begins_to_move():
    times = np.arange(60) / RATE
    place = np.zeros((60, 3))
    place[30:, 1] = 0.2 * (times[30:] - times[30])
    assert abs(first_motion(times, place) - 30) <= 2
    assert first_motion(times, np.zeros((60, 3))) is None
