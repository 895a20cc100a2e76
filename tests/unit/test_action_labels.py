"""The rule that says what a hand did: grasps where there are some, none where there are none."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from manip_core.grasp_types import GraspType
from manip_core.hand import palm_rotation
from manip_core.hand_skeleton import FINGER_CHAINS
from manip_model.action_features import gaps, palm_frames, surface_distance
from manip_training.action.grasp_rule import Shape, grasp_types, holding_force
from manip_training.action.labels import find_grasps, first_motion
from manip_training.action.scenes import SceneDraw, stored_types
from manip_training.data.primitives import BOX, CYLINDER, Primitive
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
