"""Temporal fusion: a frame at a time in numpy as all at once in torch, and never ahead of time."""

import numpy as np
import pytest
import torch

from manip_model.temporal import TemporalConfig, TemporalFusion, frequencies
from manip_model.temporal_features import (
    FORMAT,
    NUM_ANSWERS,
    Moments,
    answers,
    features,
    foreseen,
    nothing_carried,
)
from manip_perception.temporal import TemporalFilter, TemporalNetwork
from manip_training.synthetic.world import SyntheticWorld, WorldConfig

SIZE, FRAMES, RATE = 3, 40, 30.0
CONFIG = TemporalConfig(window=6, width=32, heads=4, layers=4)


@pytest.fixture(scope="module")
def joints():
    motions = SyntheticWorld(WorldConfig(), size=64).motions
    return motions.draw(SIZE, FRAMES, RATE, torch.Generator().manual_seed(0)).joints.numpy()


@pytest.fixture
def moments(joints):
    """Frames at uneven times, some without a hand."""
    rng = np.random.default_rng(0)
    times = np.arange(FRAMES) / RATE + rng.uniform(0, 0.5 / RATE, (SIZE, FRAMES))
    seen = rng.random((SIZE, FRAMES)) > 0.2
    seen[0, :3] = False
    return Moments(
        times=times,
        seen=seen,
        joints=np.where(seen[..., None, None], joints, np.nan),
        deviation=rng.uniform(0.002, 0.02, (SIZE, FRAMES, 21, 3)),
        confidence=rng.uniform(0.5, 1, (SIZE, FRAMES)),
        contact=rng.random((SIZE, FRAMES, 4)),
        objects=rng.normal(size=(SIZE, FRAMES, 10)),
        regions=rng.random((SIZE, FRAMES, 10)),
    )


def part(moments, row, frames):
    return Moments(**{name: value[row : row + 1, frames] for name, value in vars(moments).items()})


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = TemporalFusion(CONFIG)
    torch.nn.init.normal_(made.answer.weight)
    return made.eval()


def in_numpy(network) -> TemporalNetwork:
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    sizes = {f"config/{name}": value for name, value in network.config.to_dict().items()}
    return TemporalNetwork(weights | sizes | {"frequencies": frequencies(network.config)})


def whole(network, moments):
    told, now = features(moments, nothing_carried(len(moments.times)))
    tensors = {name: torch.from_numpy(value) for name, value in told.items()}
    times = torch.from_numpy(moments.times - moments.times[:, :1])
    with torch.no_grad():
        return network(tensors, times).numpy(), now


def test_features_are_sound_and_no_frame_depends_on_later_ones(moments):
    told, now = features(moments, nothing_carried(SIZE))
    assert all(np.isfinite(value).all() for value in told.values())
    early, _ = features(part(moments, 1, slice(0, 20)), nothing_carried(1))
    assert all(np.array_equal(told[name][1:2, :20], early[name]) for name in told)
    seen = moments.seen
    wrist = moments.joints[:, :, :1]
    np.testing.assert_allclose(now.shape[seen], (moments.joints - wrist)[seen], atol=1e-6)
    # A frame without a hand has that of the last one with a hand.
    for row, before in np.argwhere(~seen[:, 1:]):
        assert np.array_equal(now.shape[row, before + 1], now.shape[row, before])


def test_a_frame_at_a_time_says_what_all_at_once_do(network, moments):
    said, _ = whole(network, moments)
    stream = TemporalFilter(in_numpy(network))
    for row in range(SIZE):
        stream.reset()
        for frame in range(FRAMES):
            found, carried = stream.update(part(moments, row, slice(frame, frame + 1)))
            flat = np.concatenate([value.ravel() for value in found.values()])
            np.testing.assert_allclose(flat, said[row, frame], atol=2e-4)
        assert carried.shape.shape == (1, 1, 21, 3)


def test_nothing_beyond_the_window_is_heard(network, moments):
    said, _ = whole(network, moments)
    # Of four layers each hears five frames back.
    far = 4 * (CONFIG.window - 1) + 1
    changed = part(moments, 1, slice(None))
    changed.confidence = changed.confidence.copy()
    changed.seen = changed.seen.copy()
    changed.seen[0, 0] = True
    changed.joints = np.where(changed.seen[..., None, None], moments.joints[1:2], np.nan)
    changed.joints[0, 0] = changed.joints[0, 5] if moments.seen[1, 5] else 0.3
    changed.confidence[0, 0] = 0.1
    other, _ = whole(network, changed)
    np.testing.assert_allclose(other[0, far + 1 :], said[1, far + 1 :], atol=1e-5)
    assert np.abs(other[0, 1] - said[1, 1]).max() > 1e-3


def test_time_counts_from_any_moment(network, moments):
    said, _ = whole(network, moments)
    told, _ = features(moments, nothing_carried(SIZE))
    tensors = {name: torch.from_numpy(value) for name, value in told.items()}
    with torch.no_grad():
        later = network(tensors, torch.from_numpy(moments.times + 1000.0)).numpy()
    np.testing.assert_allclose(later, said, atol=1e-3)


def test_an_answer_of_zeros_is_the_hand_as_it_was_seen(moments):
    _, now = features(moments, nothing_carried(SIZE))
    said = answers(np.zeros((SIZE, FRAMES, NUM_ANSWERS)))
    found = foreseen(said, now, 0.05)
    np.testing.assert_allclose(found[moments.seen], moments.joints[moments.seen], atol=1e-6)


def test_speed_and_acceleration_carry_it_ahead(moments):
    _, now = features(moments, nothing_carried(SIZE))
    flat = np.zeros((SIZE, FRAMES, NUM_ANSWERS))
    said = answers(flat)
    said["shape_speed"][..., :] = 1.0
    said["shape_acceleration"][..., :] = 2.0
    moved = foreseen(said, now, 0.1) - foreseen(said, now, 0.0)
    np.testing.assert_allclose(moved, 0.01 * (0.1 + 0.01), atol=1e-6)


def test_files_that_hold_no_weights_are_named(tmp_path, network):
    with pytest.raises(FileNotFoundError):
        TemporalNetwork.read(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=FORMAT):
        TemporalNetwork.read(tmp_path / "other.npz")
    (tmp_path / "text.npz").write_text("nothing")
    with pytest.raises(ValueError, match=r"text\.npz"):
        TemporalNetwork.read(tmp_path / "text.npz")


@pytest.mark.parametrize("words", [{"window": 0}, {"width": 20, "heads": 4}])
def test_sizes_that_make_no_sense_are_refused(words):
    with pytest.raises(ValueError, match="must be"):
        TemporalConfig(**words)
