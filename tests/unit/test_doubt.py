"""Signs that a crop shows no hand: what they are of hands, and what makes them grow."""

import numpy as np
import pytest

from manip_model.doubt import project, signs
from synthetic_hand import OPEN

SIZE, GRID = 224, 16
CAMERA = np.array([[400.0, 410.0, 111.5, 100.0]])


def fields(*, width=0.5, off=0.0, std=0.005):
    """A hand seen exactly, its keypoints as blobs of a width in patches, off by some pixels."""
    pixels = project(OPEN[None], CAMERA)
    place = (pixels + 0.5) * GRID / SIZE - 0.5
    power = -((place[..., None] - np.arange(GRID)) ** 2) / (2 * width**2)
    logits = (power[..., 1, :, None] + power[..., 0, None, :]).reshape(1, 21, -1)
    variance = np.full((1, 21, 3), 2 * np.log(std))
    return OPEN[None], variance, pixels + np.array((off, 0.0)), logits, CAMERA


def test_projection_is_that_of_a_pinhole():
    found = project(np.array([[[0.1, -0.2, 0.5]]]), CAMERA)
    assert found[0, 0] == pytest.approx((400 * 0.2 + 111.5, -410 * 0.4 + 100))


def test_an_exact_hand_shows_none():
    found = signs(*fields())
    assert found.disagreement[0] == pytest.approx(0, abs=1e-9)
    assert found.doubt[0] == pytest.approx(0.005)
    # A blob's own deviation in both directions.
    assert found.spread[0] == pytest.approx(0.5 * 2**0.5 / GRID, rel=0.1)


@pytest.mark.parametrize(
    ("name", "change"),
    [("spread", {"width": 4.0}), ("disagreement", {"off": 40.0}), ("doubt", {"std": 0.06})],
)
def test_each_sign_grows_with_its_cause_alone(name, change):
    before, after = signs(*fields()), signs(*fields(**change))
    for other in ("spread", "disagreement", "doubt"):
        ratio = (getattr(after, other)[0] + 1e-6) / (getattr(before, other)[0] + 1e-6)
        assert ratio > 3 if other == name else ratio == pytest.approx(1)


def test_disagreement_is_a_share_of_the_hand_whatever_its_size_in_the_picture():
    near, far = fields(off=20.0), fields(off=10.0)
    zoomed = CAMERA * (2, 2, 1, 1)
    joints, variance, _, logits, _ = near
    large = signs(joints, variance, project(joints, zoomed) + np.array((20.0, 0.0)), logits, zoomed)
    assert large.disagreement[0] == pytest.approx(signs(*far).disagreement[0])


def test_limits_lie_beyond_most_hands():
    many = [signs(*fields(std=s)) for s in np.linspace(0.001, 0.01, 50)]
    joined = {n: np.concatenate([getattr(one, n) for one in many]) for n in vars(many[0])}
    limits = type(many[0])(**joined).limits()
    assert (joined["doubt"] < limits["doubt"]).all()
    assert limits["doubt"] < 0.02
