"""Grasps that are varied for training: things stay what they are, hands stay near."""

import numpy as np
import pytest
import torch

from manip_core.grasp_types import NUM_GRASP_TYPES
from manip_model.config import YCB_CLASSES
from manip_training.action.scenes import SHAPES, SceneDraw
from manip_training.data.primitives import BOX, PRIMITIVES
from manip_training.synthetic.draw import Draw
from manip_training.synthetic.variation import itself, vary


def draws(size, seed=0):
    return Draw(size, torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def draw():
    return SceneDraw("train")


def test_things_turn_into_themselves():
    points = np.random.default_rng(0).uniform(-0.15, 0.15, (100, 3))
    for index, name in enumerate(YCB_CLASSES):
        turns = itself(torch.full((12,), index), draws(12)).double().numpy()
        np.testing.assert_allclose(np.linalg.det(turns), 1.0, atol=1e-6)
        expected = PRIMITIVES[name].distance(points)
        for turn in turns:
            np.testing.assert_allclose(
                PRIMITIVES[name].distance(points @ turn), expected, atol=1e-6
            )
        # A box has four such turns, a cylinder any number.
        kinds = len(np.unique(turns.round(3), axis=0))
        assert 1 < kinds <= 4 if PRIMITIVES[name].kind == BOX else kinds == 12


def test_a_varied_grasp_is_near_a_stored_one(draw):
    stored = draw.handlings.bank.rows(torch.arange(400))
    some = torch.arange(400) % 4 > 0
    varied = vary(stored, draws(400), lambda changed: some)
    assert torch.equal(varied.index, stored.index) and torch.equal(varied.opened, stored.opened)
    assert torch.equal(varied.closed[~some], stored.closed[~some])
    assert torch.equal(varied.position[~some], stored.position[~some])
    off = (varied.position - stored.position).norm(dim=-1)[some]
    assert 0.001 < off.median() < 0.005 and off.max() < 0.03
    bent = (varied.closed - stored.closed).abs()[some]
    assert 0.002 < bent.median() < 0.03 and bent.max() < 0.25


def test_scenes_to_learn_from_are_varied_and_those_that_judge_are_not(draw):
    plain, varied = (draw.handled(150, 210, 30.0, 5, True, varied) for varied in (False, True))
    assert (plain.scale == 1).all() and 0.02 < np.log(varied.scale).std() < 0.05
    sides = np.stack([SHAPES[index].size for index in varied.index])
    np.testing.assert_allclose(varied.size, sides * varied.scale[:, None])
    for scenes in (plain, varied):
        found = [bool(grasps) for grasps in scenes.grasps]
        assert np.mean(np.array(found)[~scenes.must_show]) > 0.85
    kinds = [one.kind for grasps in varied.grasps for one in grasps]
    assert len(set(kinds)) == NUM_GRASP_TYPES


def test_some_varied_things_move_before_the_hand_has_closed(draw):
    early = {}
    for varied in (False, True):
        generator = torch.Generator().manual_seed(1)
        same = (lambda rows, changed: rows >= 0) if varied else None
        made = draw.handlings.draw(80, 210, 30.0, generator, True, same)
        closed = made.held.int().argmax(1)
        way = (made.position - made.position[:, :1]).norm(dim=-1)
        rows = made.grasped & made.held.any(1)
        early[varied] = (way.gather(1, closed[:, None])[rows, 0] > 2e-4).float().mean()
    assert early[False] == 0 and 0.1 < early[True] < 0.5
