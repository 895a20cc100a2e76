"""Refinement by diffusion: its steps are the library's, and it begins and ends where it must."""

import numpy as np
import pytest
import torch

from manip_model.transition import TransitionConfig, TransitionNetwork
from manip_model.transition_features import NUM_WAVES, features, guesses
from manip_model.transition_refinement import difference, sampled, waves_of
from manip_perception import transition as runtime
from manip_perception.transition_refinement import Refinement
from manip_training.transition import refine
from manip_training.transition.fit import load, save
from manip_training.transition.gaps import GapConfig, Gaps

KEPT = np.array((1e-6, 0.1, 0.5, 0.9))
TINY = TransitionConfig(width=16, layers=1)
GAPS = GapConfig(pool=8, frames=40, uses=200, usual=1.0)


def test_who_knows_what_is_clean_finds_it_from_any_noise():
    rng = np.random.default_rng(0)
    clean, noise = rng.normal(size=(2, 3, 36, NUM_WAVES))
    found = sampled(lambda x, kept: clean, noise, KEPT)
    np.testing.assert_allclose(found, clean, atol=1e-9)


def test_the_best_denoiser_of_a_gaussian_samples_that_gaussian():
    rng = np.random.default_rng(1)
    kept = np.sin(np.linspace(1e-3, 1.55, 60)) ** 2
    # The mean of x0 of deviation 2 given x: Wiener's filter.
    found = sampled(
        lambda x, k: np.sqrt(k) * 4 / (k * 4 + 1 - k) * x, rng.normal(size=(4000, 1, 1)), kept
    )
    assert found.std() == pytest.approx(2, rel=0.05)


@pytest.fixture(scope="module")
def cut():
    gaps = Gaps(GAPS, 4)
    return next(c for c in map(gaps.batch, range(50)) if c.gap.length and len(c.gap.times) > 5)


@pytest.fixture(scope="module")
def mean(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("mean") / "mean.npz"
    save(TransitionNetwork(TINY), path)
    return path


def refinement(mean, seed=0):
    torch.manual_seed(seed)
    network = TransitionNetwork(TINY, refine.NUM_REFINED, NUM_WAVES)
    torch.nn.init.normal_(network.answer.weight, std=0.05)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    sizes = {f"config/{name}": value for name, value in TINY.to_dict().items()}
    read = runtime.TransitionNetwork.read(mean)
    return Refinement(read, runtime.TransitionNetwork(weights | sizes), KEPT)


def test_what_is_refined_is_another_each_time_and_the_same_by_the_same_numbers(mean, cut):
    refined = refinement(mean)
    one = refined(cut.gap, np.random.default_rng(0))
    assert np.array_equal(one, refined(cut.gap, np.random.default_rng(0)))
    assert np.abs(one - refined(cut.gap, np.random.default_rng(1))).max() > 1e-3
    filled, _ = runtime.filled_gap(runtime.TransitionNetwork.read(mean), cut.gap)
    _, unit = features(cut.gap)
    apart = one - filled
    again = difference(waves_of(apart, unit, cut.gap), unit, cut.gap)
    np.testing.assert_allclose(again, apart, atol=0.05 * np.abs(apart).max())


def test_a_guide_has_the_last_word(mean, cut):
    plain = guesses(cut.gap)[0]
    led = refinement(mean)(cut.gap, np.random.default_rng(0), guide=lambda values: plain)
    np.testing.assert_allclose(led, plain, atol=1e-9)


def test_noise_must_fall(mean):
    with pytest.raises(ValueError, match="numbers that rise"):
        Refinement(None, None, KEPT[::-1])
    with pytest.raises(ValueError, match="not a manip-transition-refinement-1"):
        Refinement.read(None, mean)


def test_training_learns_and_steps_are_those_of_the_library(mean, tmp_path):
    diffusers = pytest.importorskip("diffusers")
    torch.set_num_threads(1)
    lines = []
    config = refine.RefineConfig(steps=40, batch=8, model=TINY, gaps=GAPS)
    network = refine.fit_refinement(config, load(mean), lines.append, every=10)
    losses = [float(line.split("loss ")[1]) for line in lines]
    assert len(losses) == 4 and losses[-1] < losses[0]
    refine.save_refinement(network, config, tmp_path / "refine.npz")
    read = Refinement.read(runtime.TransitionNetwork.read(mean), tmp_path / "refine.npz")
    assert isinstance(read, Refinement)

    scheduler = refine.schedule(config.noise_steps)
    assert isinstance(scheduler, diffusers.DDIMScheduler)
    kept = refine.kept_shares(scheduler, config.taken)
    assert len(kept) == config.taken and (np.diff(kept) > 0).all()

    def denoised(x, _):
        return np.tanh(x) + 0.1

    noise = np.random.default_rng(2).normal(size=(2, 3, 4))
    x = torch.from_numpy(noise)
    for t in scheduler.timesteps:
        x = scheduler.step(torch.from_numpy(denoised(x.numpy(), 0)), t, x).prev_sample
    np.testing.assert_allclose(sampled(denoised, noise, kept), x.numpy(), atol=1e-5)


def test_without_the_library_training_says_what_to_run(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    with pytest.raises(ValueError, match="pip install diffusers"):
        refine.schedule(100)
    with pytest.raises(ValueError, match="must divide noise_steps, got 7 of 100"):
        refine.RefineConfig(taken=7)
