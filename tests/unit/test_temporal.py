"""Temporal fusion: a frame at a time in numpy as all at once in torch, and never ahead of time."""

import numpy as np
import pytest
import torch

from manip_model.temporal import TemporalConfig, TemporalFusion, frequencies
from manip_model.temporal_features import (
    FORMAT,
    MEANS,
    NUM_ANSWERS,
    ROWS,
    UNIT_SHAPE,
    Moments,
    answers,
    belief,
    features,
    follow,
    foreseen,
    in_units,
    nothing_carried,
    placed,
)
from manip_perception.temporal import TemporalFilter, TemporalNetwork
from manip_training.synthetic.world import SyntheticWorld, WorldConfig
from manip_training.temporal.fit import tensors

SIZE, FRAMES, RATE = 3, 40, 30.0
CONFIG = TemporalConfig(window=6, width=32, heads=4, layers=4, direct=24)


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


def test_means_follow_what_is_seen_and_stand_still_while_nothing_is(moments):
    _, now = features(moments, nothing_carried(SIZE))
    seen, shape = moments.seen[1], now.shape[1].reshape(FRAMES, -1)
    first = int(np.argmax(seen))
    np.testing.assert_allclose(now.means[1, first, :, :63], np.tile(shape[first], (len(MEANS), 1)))
    last = first
    for frame in range(first + 1, FRAMES):
        means = now.means[1, frame, :, :63]
        if not seen[frame]:
            assert np.array_equal(means, now.means[1, frame - 1, :, :63])
            continue
        keep = np.exp(-(moments.times[1, frame] - moments.times[1, last]) / np.array(MEANS))
        before = now.means[1, frame - 1, :, :63]
        expected = keep[:, None] * before + (1 - keep[:, None]) * shape[frame]
        np.testing.assert_allclose(means, expected, atol=1e-12)
        last = frame


def test_a_frame_at_a_time_says_what_all_at_once_do(network, moments):
    said, _ = whole(network, moments)
    _, seen = tensors(moments)
    hands = seen.followed(answers(torch.from_numpy(said))).numpy()
    stream = TemporalFilter(in_numpy(network))
    for row in range(SIZE):
        stream.reset()
        for frame in range(FRAMES):
            found, hand = stream.update(part(moments, row, slice(frame, frame + 1)))
            flat = np.concatenate([value.ravel() for value in found.values()])
            np.testing.assert_allclose(flat, said[row, frame], atol=2e-4)
            np.testing.assert_allclose(hand[0, 0], hands[row, frame], atol=2e-3)


def test_nothing_beyond_the_window_is_heard(network, moments):
    row = int(np.argmax(moments.seen[:, 0]))
    said, _ = whole(network, part(moments, row, slice(None)))
    # Of four layers each hears five frames back.
    far = 4 * (CONFIG.window - 1) + 1
    changed = part(moments, row, slice(None))
    changed.confidence = changed.confidence.copy()
    changed.confidence[0, 0] -= 0.4
    other, _ = whole(network, changed)
    np.testing.assert_allclose(other[0, far + 1 :], said[0, far + 1 :], atol=1e-5)
    assert np.abs(other[0, 1] - said[0, 1]).max() > 1e-3


def test_time_counts_from_any_moment(network, moments):
    said, _ = whole(network, moments)
    told, _ = features(moments, nothing_carried(SIZE))
    tensors = {name: torch.from_numpy(value) for name, value in told.items()}
    with torch.no_grad():
        later = network(tensors, torch.from_numpy(moments.times + 1000.0)).numpy()
    np.testing.assert_allclose(later, said, atol=1e-3)


def test_who_believes_all_and_corrects_nothing_gives_the_hand_as_it_was_seen(moments):
    _, now = features(moments, nothing_carried(SIZE))
    seen = moments.seen.astype(float)
    gain = np.ones((SIZE, FRAMES, 2 * ROWS))
    still = np.zeros((SIZE, FRAMES, ROWS, 3))
    hands = follow(in_units(now), still, belief(gain, seen, seen), seen, still[:, 0], still[:, 0])
    found = placed(np.stack(hands, 1))
    np.testing.assert_allclose(found[moments.seen], moments.joints[moments.seen], atol=1e-6)


def test_the_first_hand_is_taken_as_it_comes_and_what_is_not_seen_moves_nothing():
    gain = np.full((1, 4, 2 * ROWS), 0.25)
    gain[..., ROWS:], gain[..., -1] = 0.125, 0.5
    found = belief(gain, np.array([[0.0, 1, 1, 0]]), np.array([[0.0, 0, 1, 1]]))[0]
    assert (found[0] == 0).all() and (found[1] == 1).all() and (found[3] == 0).all()
    # Across the line of sight, and along it.
    assert (found[2, :-1] == (0.25, 0.25, 0.125)).all()
    assert found[2, -1].tolist() == [0.25, 0.25, 0.5]


def test_a_hand_goes_where_it_is_led_and_on_at_its_speed():
    led, nothing = np.zeros((1, 3, ROWS, 3)), np.zeros((1, ROWS, 3))
    led[:, 0], speed = 4.0, np.full((1, 3, ROWS, 3), 10.0)
    share = np.array([0.5, 0.0, 0.0]).reshape(1, 3, 1, 1) * np.ones((1, 3, ROWS, 3))
    hands = follow(led, speed, share, np.array([[0.0, 0.1, 0.2]]), nothing, nothing)
    assert [float(hand[0, 0, 0]) for hand in hands] == [2.0, 3.0, 5.0]


def test_speed_and_acceleration_carry_it_ahead():
    said = answers(np.zeros((1, 1, NUM_ANSWERS)))
    said["speed"] += 1.0
    said["acceleration"] += 2.0
    hand = np.zeros((1, 1, ROWS, 3))
    assert np.allclose(foreseen(said, hand, 0.1), 0.1 + 0.01)
    moved = placed(foreseen(said, hand, 0.1)) - placed(hand)
    assert np.allclose((moved - moved[..., :1, :])[..., 1:, :], 0.0, atol=1e-12)
    said["speed"][..., 1, 0] = 3.0
    bent = placed(foreseen(said, hand, 0.1)) - placed(hand)
    assert np.isclose(bent[0, 0, 1, 0] - bent[0, 0, 0, 0], 0.2 * UNIT_SHAPE)


def test_what_is_corrected_turns_with_the_hand(network, moments):
    told, _ = features(moments, nothing_carried(SIZE))
    hand = torch.from_numpy(told["hand"][moments.seen])
    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turned = hand.clone()
    turned[:, : 3 * ROWS] = (hand[:, : 3 * ROWS].reshape(-1, ROWS, 3) @ quarter.T).flatten(1)
    with torch.no_grad():
        said = network.corrected({"hand": hand}).reshape(-1, ROWS, 3) @ quarter.T
        found = network.corrected({"hand": turned}).reshape(-1, ROWS, 3)
        alone = network.corrected({"hand": hand}, 1)
    np.testing.assert_allclose(found, said, atol=1e-5)
    assert (alone.reshape(-1, ROWS, 3) - said @ quarter).abs().max() > 1e-3


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
