"""Temporal fusion's observer and training: errors of the sizes that are asked for, and less of
them afterwards."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from manip_model.temporal import TemporalConfig, TemporalFusion
from manip_model.temporal_features import (
    ANSWERS,
    NUM_ANSWERS,
    ROWS,
    UNIT_PLACE,
    UNIT_SHAPE,
    answers,
    placed,
)
from manip_perception.temporal import TemporalNetwork
from manip_training.synthetic.world import SyntheticWorld, WorldConfig
from manip_training.temporal.fit import FitConfig, Sequences, fit, load, save, stilled, tensors
from manip_training.temporal.objective import (
    FORESEEN,
    Truth,
    correction_loss,
    temporal_losses,
)
from manip_training.temporal.observer import Observer, ObserverConfig
from manip_training.temporal.watched import Glimpses, Watched

RATE, SIZE, FRAMES = 30.0, 16, 60
SMALL = FitConfig(
    steps=60, batch=8, frames=16, pool=16, uses=4, model=TemporalConfig(width=32, layers=2)
)


@pytest.fixture(scope="module")
def joints():
    motions = SyntheticWorld(WorldConfig(free=0.1), size=64).motions
    drawn = motions.draw(SIZE, FRAMES + max(FORESEEN), RATE, torch.Generator().manual_seed(1))
    return drawn.joints.double().numpy()


def seen_by(config, joints, seed=0):
    return Observer(config).see(joints[:, :FRAMES], RATE, np.random.default_rng(seed))


def error(moments, joints):
    return moments.joints - joints[:, :FRAMES]


QUIET = ObserverConfig(
    **{
        name: (1e-9, 2e-9)
        for name in ("depth", "depth_noise", "line", "line_noise", "turn", "joint", "joint_noise")
    },
    bursts=0.0,
    losses=0.0,
)


def test_who_errs_in_nothing_but_size_sees_the_truth_larger_or_smaller(joints):
    moments = seen_by(QUIET, joints)
    off = error(moments, joints)
    assert np.abs(off[:, :, 0]).max() < 1e-6 and moments.seen.all()
    rooted = moments.joints - moments.joints[:, :, :1]
    true = joints[:, :FRAMES] - joints[:, :FRAMES, :1]
    scale = (rooted * true).sum((2, 3)) / np.square(true).sum((2, 3))
    np.testing.assert_allclose(scale, scale[:, :1].repeat(FRAMES, 1), atol=1e-6)
    assert 0.005 < np.log(scale[:, 0]).std() < 0.1


@pytest.mark.parametrize("name", ["depth", "depth_noise", "line", "turn", "joint", "joint_noise"])
def test_every_kind_of_error_grows_as_it_is_told(name, joints):
    sizes = []
    for size in (0.02, 0.04):
        config = ObserverConfig(**{**vars(QUIET), name: (size, size * 1.0001)})
        off = error(seen_by(config, joints), joints)
        still = error(seen_by(QUIET, joints), joints)
        sizes.append(float((off - still).std()))
    assert sizes[0] > 1e-4
    assert sizes[1] == pytest.approx(2 * sizes[0], rel=0.15)


def test_errors_hang_together_in_time_and_hands_are_lost(joints):
    moments = seen_by(ObserverConfig(), joints)
    rooted = error(moments, joints)[:, :, 12] - error(moments, joints)[:, :, 0]
    step = rooted[:, 1:] - rooted[:, :-1]
    assert step.std() < 0.8 * rooted.std()
    assert 0.005 < 1 - moments.seen.mean() < 0.2
    assert np.array_equal(moments.joints, seen_by(ObserverConfig(), joints).joints)
    assert not np.array_equal(moments.joints, seen_by(ObserverConfig(), joints, seed=1).joints)


def test_the_truth_costs_least(joints):
    moments = seen_by(ObserverConfig(), joints)
    _, seen = tensors(moments)
    truth = Truth.of(torch.from_numpy(joints).float())
    said = torch.zeros(SIZE, FRAMES, NUM_ANSWERS)
    named = answers(said)
    before = temporal_losses(said, seen, truth, 1 / RATE)
    whole = torch.cat((truth.shape / UNIT_SHAPE, truth.place[..., None, :] / UNIT_PLACE), -2)
    named["correction"][:] = whole[:, :FRAMES] - seen.hand
    named["gain"][:] = 20.0
    named["speed"][:] = RATE * (whole[:, 1 : FRAMES + 1] - whole[:, :FRAMES])
    # Nothing is to be known before anything is seen.
    seen.seen[:, 0] = 1.0
    after = temporal_losses(said, seen, truth, 1 / RATE)
    for name in ("shape", "place", "late", "drift", "jitter"):
        assert after[name] < 0.05 * before[name], name
    assert after["total"] < before["total"]
    found = placed(seen.followed(named).numpy())
    np.testing.assert_allclose(found, joints[:, :FRAMES], atol=1e-4)


def followed_losses(hands, joints):
    """Losses of a network that says ``hands (SIZE, FRAMES, 21, 3)`` [m] and believes itself."""
    moments = seen_by(QUIET, joints)
    _, seen = tensors(moments)
    truth = Truth.of(torch.from_numpy(joints).float())
    said = torch.zeros(SIZE, FRAMES, NUM_ANSWERS)
    given = Truth.of(torch.from_numpy(hands).float())
    units = torch.cat((given.shape / UNIT_SHAPE, given.place[..., None, :] / UNIT_PLACE), -2)
    answers(said)["correction"][:] = units - seen.hand
    answers(said)["gain"][:] = 20.0
    return temporal_losses(said, seen, truth, 1 / RATE)


def test_being_late_costs_though_a_lasting_error_hides_it(joints):
    true = joints[:, :FRAMES]
    late = np.concatenate((true[:, :1], true[:, :1], true[:, :1], true[:, :-3]), 1)
    off = np.zeros((21, 3))
    off[1:] = np.random.default_rng(0).normal(scale=0.03, size=(20, 3))
    in_time, behind = followed_losses(true + off, joints), followed_losses(late + off, joints)
    assert behind["shape"] < 1.25 * in_time["shape"]
    assert behind["late"] > 2 * in_time["late"]


def test_unrest_costs_most_at_rest(joints):
    shaken = np.random.default_rng(0).normal(scale=0.002, size=(SIZE, FRAMES, 21, 3))
    still = joints[:, :1].repeat(joints.shape[1], 1)
    resting = followed_losses(still[:, :FRAMES] + shaken, still)
    moving = followed_losses(joints[:, :FRAMES] + shaken, joints)
    for name in ("drift", "jitter"):
        assert resting[name] > 1.5 * moving[name], name
    assert float(resting["late"]) == pytest.approx(float(moving["late"]), rel=0.05)


def test_a_correction_costs_what_is_left_of_the_hands_that_are_seen(joints):
    moments = seen_by(ObserverConfig(losses=2.0), joints)
    _, seen = tensors(moments)
    truth = Truth.of(torch.from_numpy(joints[:, :FRAMES]).float())
    whole = torch.cat((truth.shape / UNIT_SHAPE, truth.place[..., None, :] / UNIT_PLACE), -2)
    right = (whole - seen.hand).flatten(2)
    assert (seen.seen == 0).any()
    wrong = correction_loss(torch.zeros_like(right), seen.hand, seen.seen, truth)
    # What is not seen is nobody's fault.
    right = right * seen.seen[..., None]
    found = correction_loss(right, seen.hand, seen.seen, truth)
    assert found["total"] < 0.01 * wrong["total"]


def test_some_motions_come_to_rest_and_the_others_stay_as_they_are(joints):
    rng = np.random.default_rng(0)
    assert np.allclose(stilled(joints, RATE, 0.0, rng), joints)
    found = stilled(joints, RATE, 1.0, rng)
    moves = np.abs(np.diff(found, axis=1)).max((2, 3))
    assert (moves[:, -5:].max(1) < 1e-9).mean() > 0.6
    assert (moves[:, 0] > 1e-6).any() and np.isfinite(found).all()
    # On the way there it slows down.
    assert moves.max() <= np.abs(np.diff(joints, axis=1)).max() + 1e-9
    some = stilled(joints, RATE, 0.5, rng)
    assert 0 < sum(np.allclose(a, b) for a, b in zip(some, joints, strict=True)) < SIZE


def test_batches_are_a_function_of_their_number():
    first = Sequences(SMALL).batch(5)
    again = Sequences(SMALL)
    again.batch(0)
    second = again.batch(5)
    assert np.array_equal(first[0].joints, second[0].joints) and first[2] == second[2]
    assert first[1].shape == (8, 16 + max(FORESEEN), 21, 3)


def test_training_learns_and_its_file_says_the_same(tmp_path):
    torch.set_num_threads(1)
    moments, true, rate = Sequences(SMALL).batch(10**6)
    told, seen = tensors(moments)
    truth = Truth.of(torch.from_numpy(true).float())

    def total(network) -> float:
        with torch.no_grad():
            return temporal_losses(network(told, seen.times), seen, truth, 1 / rate)["total"].item()

    lines = []
    network = fit(SMALL, lines.append, every=20)
    assert len(lines) == SMALL.steps // 20 and "jitter" in lines[0]
    assert total(network) < 0.9 * total(fit(replace(SMALL, steps=1), lines.append))
    save(network, tmp_path / "temporal.npz")
    read = TemporalNetwork.read(tmp_path / "temporal.npz")
    with torch.no_grad():
        expected = network(told, seen.times)[0].numpy()
    for frame in range(16):
        one = {name: value[0, frame].numpy() for name, value in told.items()}
        said = read.step(one, float(seen.times[0, frame]))
        np.testing.assert_allclose(said, expected[frame], atol=1e-4)


def earlier(path, network):
    """Write ``network`` as files were when a joint had one gain; the one across stands."""
    save(network, path)
    held = dict(np.load(path))
    first, rows = ANSWERS["correction"], np.arange(NUM_ANSWERS)
    gains = rows[first : first + 2 * ROWS].reshape(2, ROWS)
    rows = np.concatenate((rows[:first], gains[0], gains[1, -1:], rows[first + 2 * ROWS :]))
    held |= {name: held[name][rows] for name in ("answer.weight", "answer.bias")}
    np.savez(path, **held | {"format": "manip-temporal-2"})


def test_training_goes_on_from_earlier_files_and_keeps_their_correction(tmp_path):
    torch.set_num_threads(1)
    model = TemporalConfig(width=32, layers=2, direct=16)
    first = TemporalFusion(model)
    gain = slice(ANSWERS["correction"], ANSWERS["correction"] + 2 * ROWS)
    with torch.no_grad():
        # Told alike for joints across and along the line of sight, as it was then.
        first.answer.bias[gain] = torch.arange(2.0 * ROWS)
        first.answer.bias[gain][ROWS:-1] = torch.arange(1.0 * ROWS - 1)
        first.answer.weight[gain][ROWS:-1] = first.answer.weight[gain][: ROWS - 1]
    earlier(tmp_path / "old.npz", first)
    found = load(tmp_path / "old.npz")
    for name, value in first.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
    config = replace(SMALL, model=model, start=str(tmp_path / "old.npz"), steps=2)
    network = fit(config, [].append)
    assert torch.equal(network.direct[0].weight, first.direct[0].weight)
    assert not torch.equal(network.answer.weight, first.answer.weight)
    np.savez(tmp_path / "other.npz", format="something")
    with pytest.raises(ValueError, match="manip-temporal-3"):
        load(tmp_path / "other.npz")


def seen_too_large(joints):
    """All hands a fifth too large."""
    moments = Observer(QUIET).see(joints[:, :FRAMES], RATE, np.random.default_rng(0))
    wrist = moments.joints[:, :, :1]
    moments.joints = wrist + 1.2 * (moments.joints - wrist)
    return moments


def keep(path, moments, row, true, rows=slice(None)):
    """As ``scripts/watch_films.py`` leaves it."""
    fields = {name: value[row][rows] for name, value in vars(moments).items()}
    np.savez(path, true=true[rows], **fields)


@pytest.mark.parametrize("source", ["films", "glimpses"])
def test_what_an_estimator_always_gets_wrong_is_learnt_first_and_kept(tmp_path, joints, source):
    torch.set_num_threads(1)
    moments = seen_too_large(joints)
    for row in range(SIZE):
        path = tmp_path / f"large-{row:05d}.npz"
        if source == "films":
            keep(path, moments, row, joints[row])
        else:
            keep(path, moments, row, joints[row], slice(0, FRAMES, 8))
    config = replace(
        SMALL,
        films=str(tmp_path) if source == "films" else "",
        glimpses=str(tmp_path) if source == "glimpses" else "",
        films_share=1.0,
        steps=1,
        direct_steps=150,
        model=TemporalConfig(width=32, layers=2, direct=64),
    )
    lines = []
    network = fit(config, lines.append, every=50)
    sizes = [float(line.split("shape ")[1].split()[0]) for line in lines[:3]]
    assert sizes[-1] < 0.7 * sizes[0]
    assert not any(p.requires_grad for p in network.direct.parameters()) and not network.training
    told, seen = tensors(moments)
    with torch.no_grad():
        correction = network.corrected(told).unflatten(-1, (-1, 3))
    left = seen.hand[:, :, 1:-1] + correction[:, :, 1:-1]
    grown = seen.hand[:, :, 1:-1].norm(dim=-1) / left.norm(dim=-1)
    assert 1.05 < grown.median() < 1.35


def test_glimpses_are_of_hands_that_are_seen_and_turn_with_their_truth(tmp_path, joints):
    with pytest.raises(FileNotFoundError, match="--glimpses"):
        Glimpses(tmp_path)
    moments = seen_too_large(joints)
    moments.seen[:, 1::2] = False
    for row in range(3):
        keep(tmp_path / f"large-{row:05d}.npz", moments, row, joints[row], slice(6))
    glimpses = Glimpses(tmp_path)
    assert len(glimpses) == 3 * 3
    drawn, true = glimpses.batch(64, np.random.default_rng(0))
    assert drawn.joints.shape == true.shape == (64, 1, 21, 3) and drawn.seen.all()
    shape, expected = (x - x[:, :, :1] for x in (drawn.joints, true))
    off = shape / 1.2 - expected
    # But for the hand's size, in which the observer errs.
    assert np.linalg.norm(off, axis=-1).max() < 0.1 * np.linalg.norm(expected, axis=-1).max()
    # Nine moments, each turned otherwise whenever it is drawn; depths stay.
    assert len(np.unique(true[:, 0, 0, 0].round(9))) == 64
    assert len(np.unique(true[:, 0, 0, 2].round(9))) == 9
    again = glimpses.batch(64, np.random.default_rng(0))
    assert np.array_equal(again[1], true) and np.array_equal(again[0].joints, drawn.joints)


def films(folder, joints, seed, rate=RATE):
    """What a quiet observer saw, as ``scripts/watch_films.py`` leaves it."""
    moments = Observer(QUIET).see(joints[:1], rate, np.random.default_rng(seed))
    fields = {name: value[0] for name, value in vars(moments).items()}
    np.savez(folder / f"quiet-{seed:05d}.npz", true=joints[0], **fields)


def test_watched_films_are_cut_and_turned_together_with_their_truth(tmp_path, joints):
    with pytest.raises(FileNotFoundError, match="watch_films"):
        Watched(tmp_path, 16)
    films(tmp_path, joints, 0)
    films(tmp_path, joints[1:], 1, 60.0)
    watched, rng = Watched(tmp_path, 16), np.random.default_rng(0)
    rates = set()
    for _ in range(12):
        moments, true, rate = watched.batch(4, rng)
        rates.add(rate)
        assert true.shape == (4, 16 + max(FORESEEN), 21, 3) and moments.joints.shape[:2] == (4, 16)
        # The observer errs in the hand's size alone.
        rooted = moments.joints - moments.joints[:, :, :1]
        size = np.linalg.norm(rooted, axis=-1)[..., 1:]
        expected = np.linalg.norm(true - true[:, :, :1], axis=-1)[:, :16, 1:]
        assert np.ptp(size / expected) < 0.3
        assert np.allclose(moments.joints[:, :, 0], true[:, :16, 0], atol=1e-6)
        assert np.allclose(np.diff(moments.times), 1 / rate)
    assert rates == {30.0, 60.0}
    turned = {round(float(one[0, 0, 0]), 6) for one in watched.batch(6, rng)[1]}
    assert len(turned) > 4


def test_films_are_learnt_from(tmp_path, joints):
    films(tmp_path, joints, 0)
    config = replace(SMALL, films=str(tmp_path), films_share=1.0)
    sequences = Sequences(config)
    moments, true, rate = sequences.batch(0)
    assert rate == pytest.approx(RATE) and len(true) == SMALL.batch
    again = Sequences(config).batch(0)
    assert np.array_equal(again[1], true) and np.array_equal(again[0].joints, moments.joints)
