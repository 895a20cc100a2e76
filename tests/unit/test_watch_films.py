"""What ``scripts/watch_films.py`` keeps of what an estimator said."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from manip_core.hand import LEFT, RIGHT, Hand
from manip_perception.estimator import HandEstimator, register
from manip_training.synthetic.world import Film

SCRIPT = Path(__file__).parents[2] / "scripts/watch_films.py"


class Counting(HandEstimator):
    """Tells in the confidence the how many-th image it is that it sees, and sees no first one."""

    made = 0

    def __init__(self):
        Counting.made += 1
        self.stamps = []

    def estimate(self, image, stamp, camera):
        self.stamps.append(stamp)
        assert self.stamps == sorted(set(self.stamps))
        count = len(self.stamps)
        points = np.full((21, 3), float(image[0, 0, 0]))
        other = Hand(stamp=stamp, side=LEFT, tracked=True, confidence=1.0)
        own = Hand(stamp=stamp, side=RIGHT, tracked=True, keypoints=points, confidence=count / 100)
        return [other] if count == 1 else [other, own]


@pytest.fixture(scope="module")
def script():
    register("counting", Counting)
    spec = importlib.util.spec_from_file_location("watch_films", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def film(script, first, frames=2):
    size = script.SIZE
    image = torch.zeros(frames, 3, size, size, dtype=torch.uint8)
    image += (first + torch.arange(frames, dtype=torch.uint8))[:, None, None, None]
    camera = torch.tensor((size, size, 0.5 * size, 0.5 * size))
    times = torch.arange(frames) / script.APART
    return Film(times, image, torch.zeros(frames, 21, 3), camera, torch.zeros(frames))


def test_of_a_film_every_frame_is_seen_once_and_right_hands_alone(script):
    seen = script.seen_in(film(script, 5, 3), "counting")
    assert seen["seen"].tolist() == [False, True, True]
    assert seen["confidence"][1:].tolist() == [0.02, 0.03]
    assert seen["joints"][1:, 0, 0].tolist() == [6.0, 7.0]


def test_a_glimpse_is_the_last_word_about_each_moment_by_an_estimator_that_knows_no_other(script):
    before = Counting.made
    seen = script.glimpsed([film(script, 5), film(script, 9)], "counting")
    assert Counting.made == before + 2
    assert seen["seen"].all() and seen["joints"][:, 0, 0].tolist() == [5.0, 6.0, 9.0, 10.0]
    shown = script.SHOWN
    assert seen["confidence"].tolist() == [shown / 100, 2 * shown / 100] * 2
    assert np.allclose(seen["times"], [0, 1 / script.APART] * 2)
