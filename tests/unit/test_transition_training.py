"""Training of the transition model: what is cut, what costs, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from manip_model.transition import TransitionConfig
from manip_model.transition_features import (
    NUM_ANSWERS,
    NUM_GATES,
    NUM_HAND_ANSWERS,
    bounded,
    features,
    guesses,
    waves,
)
from manip_perception.transition import TransitionNetwork, filled_gap
from manip_training import commands
from manip_training.transition.fit import FitConfig, fit, save
from manip_training.transition.gaps import GapConfig, Gaps
from manip_training.transition.objective import transition_losses

SMALL = FitConfig(
    steps=60,
    batch=16,
    gaps=GapConfig(pool=16, frames=48, uses=200, usual=1.0, forecasts=0.1),
    model=TransitionConfig(width=32, layers=2),
)


@pytest.fixture(scope="module")
def gaps():
    return Gaps(SMALL.gaps, SMALL.batch)


def losses(network, cut):
    told, unit = features(cut.gap)
    with torch.no_grad():
        return transition_losses(*network(torch.from_numpy(told)), unit, cut)


def test_batches_are_a_function_of_their_number(gaps):
    first = gaps.batch(7)
    again = Gaps(SMALL.gaps, SMALL.batch)
    again.batch(201)
    second = again.batch(7)
    assert np.array_equal(first.true, second.true)
    assert np.array_equal(first.gap.before, second.gap.before)
    assert not np.array_equal(first.true[0], gaps.batch(8).true[0])


def test_gaps_are_of_all_kinds(gaps):
    drawn = [gaps.batch(n) for n in range(60)]
    lengths = {len(cut.gap.times) for cut in drawn}
    assert min(lengths) <= 3 and max(lengths) >= 16
    without = sum(not len(cut.gap.after_times) for cut in drawn)
    assert 0 < without < 20
    for cut in drawn:
        assert cut.gap.before_times[-1] == 0 and len(cut.gap.before_times) >= 2
        # All is told against the last hand before the gap, as it was seen.
        assert np.abs(cut.gap.before[:, -1, -6:]).max() < 1e-9
        if len(cut.gap.after_times):
            assert cut.gap.times[-1] < cut.gap.length
            assert cut.gap.length == pytest.approx((len(cut.gap.times) + 1) / 30)


def test_who_errs_in_what_is_known_still_has_the_truth_to_find():
    quiet = Gaps(replace(SMALL.gaps, noisy=0.0), SMALL.batch).batch(3)
    noisy = Gaps(replace(SMALL.gaps, noisy=1.0, noise=(0.02, 0.021)), SMALL.batch).batch(3)
    error = (noisy.gap.before - quiet.gap.before)[:, :-1, :-6]
    assert error.std() == pytest.approx(0.0205, rel=0.05)
    assert np.array_equal(noisy.true[..., :-6], quiet.true[..., :-6])


def test_the_truth_costs_least_and_doubt_is_dear_when_it_is_wrong(gaps):
    cut = next(c for c in map(gaps.batch, range(60)) if 6 < len(c.gap.times) < 10 and c.gap.length)
    _, unit = features(cut.gap)
    said = torch.zeros(*unit.shape, NUM_ANSWERS)
    doubt = torch.zeros(len(unit), NUM_HAND_ANSWERS)
    before = transition_losses(said, doubt, unit, cut)
    guessed = guesses(cut.gap)
    missing = (cut.true - guessed[0] - bounded(guessed[2] - guessed[0])).swapaxes(-1, -2)
    waved = missing / unit[..., None] @ np.linalg.pinv(waves(cut.gap)).T
    said[..., NUM_GATES:] = torch.from_numpy(waved).float()
    after = transition_losses(said, doubt, unit, cut)
    for name in ("joints", "place", "angles", "jitter"):
        assert after[name] < 0.02 * before[name] + 1e-3, name
    vague = transition_losses(said, doubt + 2.0, unit, cut)
    assert vague["likelihood"] > after["likelihood"] + 1
    assert vague["joints"] == after["joints"]


def test_training_learns_and_its_file_says_the_same(gaps, tmp_path):
    torch.set_num_threads(1)
    lines = []
    network = fit(SMALL, lines.append, every=20)
    assert len(lines) == 3 and "jitter" in lines[0]
    fresh = fit(replace(SMALL, steps=1), lines.append)
    unseen = [gaps.batch(n) for n in range(150, 170)]
    ours, before = (np.mean([losses(n, c)["total"] for c in unseen]) for n in (network, fresh))
    assert ours < before - 0.02 * abs(before)
    save(network, tmp_path / "transition.npz")
    assert (tmp_path / "transition.npz").stat().st_size < 2e6
    read, cut = TransitionNetwork.read(tmp_path / "transition.npz"), unseen[0]
    values, deviation = filled_gap(read, cut.gap)
    assert values.shape == cut.true.shape and (deviation > 0).all()


def test_the_command_names_its_file(capsys):
    assert commands.main(["transition", "--out", "weights.pt"]) == 2
    assert "must end with .npz" in capsys.readouterr().err
