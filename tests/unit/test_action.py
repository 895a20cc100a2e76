"""The action decoder: a frame at a time as all at once, in the mirror, and from any camera."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from manip_core.grasp_types import GRASP_NAMES
from manip_core.hand import LEFT, RIGHT, Hand, SeenObject, palm_rotation
from manip_model.action import ActionNetwork
from manip_model.action_features import (
    ACTION_TOLD,
    MEMORIES,
    NUM_ACTION_ANSWERS,
    RULED,
    Sights,
    action_answers,
    features,
    gaps,
    nothing_before,
)
from manip_model.grasp_rule import DEVIATIONS
from manip_model.temporal import TemporalConfig
from manip_perception.action import ActionConfig, ActionDecoder, read
from manip_training.action.fit import ActionFitConfig, ActionSequences, fit, load, save, told
from manip_training.action.objective import Foretold, action_losses
from synthetic_hand import make_hand

FRAME, FRAMES = 1 / 30, 20
MIRROR = np.array((-1.0, 1.0, 1.0))
SMALL = ActionFitConfig(steps=60, batch=8, frames=16, pool=16, uses=40)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = ActionNetwork(TemporalConfig(window=6, width=32, heads=4, layers=2))
    torch.nn.init.normal_(made.answer.weight, std=0.05)
    return made.eval()


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("action") / "weights.npz"
    save(network, path)
    return path


def decoder(weights):
    return ActionDecoder(read(weights))


def hand(frame, side=RIGHT, turn=None, shift=(0.0, 0.0, 0.0)):
    rng = np.random.default_rng(frame)
    points = make_hand((0.05 + 0.004 * frame, 0.05, 0.6)) + 0.002 * rng.normal(size=(21, 3))
    if turn is not None:
        points = points @ turn.T
    points = points + np.asarray(shift)
    return Hand(
        stamp=frame * FRAME,
        side=side,
        tracked=True,
        keypoints=points if side == RIGHT else points * MIRROR,
        confidence=0.9,
        contact=np.array((0.1, 0.2, 0.3, 0.4)),
    )


def thing(side=RIGHT, turn=None, shift=(0.0, 0.0, 0.0), size=(0.05, 0.06, 0.1)):
    place = np.array((0.2, 0.0, 0.6))
    own = Rotation.from_rotvec((0.3, -0.2, 0.5)).as_matrix()
    if turn is not None:
        place, own = turn @ place, turn @ own
    place = place + np.asarray(shift)
    if side == LEFT:
        place, own = place * MIRROR, MIRROR[:, None] * own * MIRROR
    return SeenObject(
        name="box",
        position=place,
        rotation=own,
        confidence=0.8,
        size=None if size is None else np.array(size),
    )


def run(decoder, **how):
    return [decoder.update(hand(f, **how), f * FRAME, (thing(**how),)) for f in range(FRAMES)]


def test_an_answer_is_sound_and_says_what_it_must(weights):
    for said in run(decoder(weights)):
        assert said.problem() is None
        assert said.grasp_type in GRASP_NAMES and 0 < said.confidence < 1
        assert said.grasp_types.sum() == pytest.approx(1)
        eye = said.rotation @ said.rotation.swapaxes(1, 2)
        np.testing.assert_allclose(eye, np.tile(np.eye(3), (10, 1, 1)), atol=1e-6)
        # It foretells from where the hand is.
        assert np.linalg.norm(said.position[0] - hand(0).keypoints[0]) < 0.3
        assert np.linalg.norm(said.approach) == pytest.approx(1) or not said.approach.any()


def test_a_frame_at_a_time_says_what_all_at_once_do(network, weights):
    rng = np.random.default_rng(0)
    frames = [hand(f) for f in range(FRAMES)]
    item = thing()
    seen = rng.random((1, FRAMES)) > 0.2
    sights = Sights(
        times=np.arange(FRAMES)[None] * FRAME,
        seen=seen,
        joints=np.stack([one.keypoints for one in frames])[None],
        confidence=np.full((1, FRAMES), 0.9),
        contact=np.stack([one.contact for one in frames])[None],
        object_confidence=np.where(rng.random((1, FRAMES)) > 0.3, 0.8, 0.0),
        object_rotation=np.tile(item.rotation, (1, FRAMES, 1, 1)),
        object_position=np.tile(item.position, (1, FRAMES, 1)),
        object_size=np.tile(item.size, (1, FRAMES, 1)),
    )
    named, times = told(sights)
    with torch.no_grad():
        expected = network(named, times)[0].numpy()
    stream, before = read(weights), nothing_before(1)
    for frame in range(FRAMES):
        one = {name: value[:, frame : frame + 1] for name, value in vars(sights).items()}
        given, before = features(Sights(**one), before)
        assert {name: value.shape[-1] for name, value in given.items()} == ACTION_TOLD
        said = stream.step(
            {name: value[0, 0] for name, value in given.items()}, float(sights.times[0, frame])
        )
        np.testing.assert_allclose(said, expected[frame], atol=2e-4)


def test_a_left_hand_is_a_right_one_in_the_mirror(weights):
    right, left = run(decoder(weights)), run(decoder(weights), side=LEFT)
    for a, b in zip(right, left, strict=True):
        np.testing.assert_allclose(a.position, b.position * MIRROR, atol=1e-6)
        np.testing.assert_allclose(a.approach, b.approach * MIRROR, atol=1e-6)
        np.testing.assert_allclose(a.grasping, b.grasping, atol=1e-6)
        assert b.side == LEFT
    # A network that foretells no turn leaves the palm as it is.
    own = hand(FRAMES - 1, side=LEFT)
    still = decoder(weights)
    still._network._w["answer.weight"] = 0 * still._network._w["answer.weight"]
    still._network._w["answer.bias"] = 0 * still._network._w["answer.bias"]
    said = still.update(own, 0.0)
    np.testing.assert_allclose(said.rotation[0], palm_rotation(own.keypoints, LEFT), atol=1e-6)
    np.testing.assert_allclose(said.position[0], own.keypoints[0], atol=1e-9)


def test_where_the_camera_stands_does_not_matter(weights):
    turn = Rotation.from_rotvec((0.4, -0.8, 0.3)).as_matrix()
    shift = np.array((0.3, -0.1, 0.5))
    plain, turned = run(decoder(weights)), run(decoder(weights), turn=turn, shift=shift)
    for a, b in zip(plain, turned, strict=True):
        np.testing.assert_allclose(a.position @ turn.T + shift, b.position, atol=1e-5)
        np.testing.assert_allclose(turn @ a.rotation, b.rotation, atol=1e-5)
        np.testing.assert_allclose(a.grasp_types, b.grasp_types, atol=1e-5)


def test_without_a_hand_nothing_is_sure_and_after_a_while_all_is_forgotten(weights):
    fresh, used = decoder(weights), decoder(weights)
    assert fresh.update(None, 0.0).confidence == 0.0
    run(used)
    lost = [used.update(None, (FRAMES + n) * FRAME) for n in range(20)]
    assert all(one.confidence == 0.0 and one.problem() is None for one in lost)
    again = used.update(hand(50), 50 * FRAME)
    alone = decoder(weights).update(hand(50), 50 * FRAME)
    np.testing.assert_allclose(again.grasping, alone.grasping, atol=1e-7)
    back = used.update(hand(3), 3 * FRAME)
    np.testing.assert_allclose(
        back.grasping, decoder(weights).update(hand(3), 3 * FRAME).grasping, atol=1e-7
    )


def test_an_unsound_hand_is_none_and_far_objects_do_not_count(weights):
    bad = hand(0)
    bad.keypoints = np.full((21, 3), np.nan)
    assert decoder(weights).update(bad, 0.0).confidence == 0.0
    far = thing(shift=(2.0, 0.0, 0.0))
    with_far = decoder(weights).update(hand(0), 0.0, (far,))
    without = decoder(weights).update(hand(0), 0.0)
    np.testing.assert_array_equal(with_far.grasping, without.grasping)
    near = decoder(weights).update(hand(0), 0.0, (far, thing(size=None)))
    assert not np.allclose(near.grasping, without.grasping)
    with pytest.raises(ValueError, match="least must be below 1"):
        ActionConfig(least=1.0)
    with pytest.raises(ValueError, match="reach must be finite"):
        ActionConfig(reach=-1.0)


def sights_of(frames, things, rate=1 / FRAME):
    """Hands and things seen without a miss."""
    count = len(frames)
    return Sights(
        times=np.arange(count)[None] / rate,
        seen=np.ones((1, count), dtype=bool),
        joints=np.stack([one.keypoints for one in frames])[None],
        confidence=np.full((1, count), 0.9),
        contact=np.zeros((1, count, 4)),
        object_confidence=np.full((1, count), 0.8),
        object_rotation=np.stack([one.rotation for one in things])[None],
        object_position=np.stack([one.position for one in things])[None],
        object_size=np.stack([one.size for one in things])[None],
    )


# Where in the objects' vector gaps to a cylinder are, proportions, and speeds against the mean.
ROUND, RATIOS, LAGS = slice(23, 29), slice(41, 49), slice(49, 79)


def test_gaps_to_a_cylinder_and_the_sides_are_told():
    item = thing(size=(0.08, 0.04, 0.12))
    given, _ = features(sights_of([hand(0)], [item]), nothing_before(1))
    told_of = given["objects"][0, 0]
    away = gaps(hand(0).keypoints, item.rotation, item.position, item.size, False)
    np.testing.assert_allclose(told_of[ROUND], np.clip(away / 0.04, -4, 3), atol=1e-5)
    expected = np.log((0.08 / 0.04, 0.12 / 0.08, 0.12 / 0.04, np.sqrt(0.04 * 0.08) / 0.1, 0.5))
    np.testing.assert_allclose(told_of[RATIOS][:5], expected, atol=1e-5)
    # Which of its axes is which does not matter to the sides, from the shortest on.
    order = np.array(((0, 1, 0), (0, 0, 1), (1, 0, 0)), dtype=float)
    other = thing(size=(0.12, 0.08, 0.04))
    other.rotation[:] = item.rotation @ order
    other.size[:] = item.size @ order
    again, _ = features(sights_of([hand(0)], [other]), nothing_before(1))
    np.testing.assert_allclose(again["objects"][0, 0][RATIOS][:4], expected[:4], atol=1e-5)
    np.testing.assert_allclose(again["objects"][0, 0][RATIOS][5:], told_of[RATIOS][5:], atol=1e-5)


def test_what_the_rule_would_say_is_told_where_a_size_is_known():
    given, _ = features(sights_of([hand(0)], [thing()]), nothing_before(1))
    ruled = given["objects"][0, 0, RULED].reshape(len(DEVIATIONS), -1)
    np.testing.assert_allclose(ruled[:, :-1].sum(-1), 1.0, atol=1e-5)
    bare = thing()
    bare.size[:] = 0.0
    given, _ = features(sights_of([hand(0)], [bare]), nothing_before(1))
    assert not given["objects"][0, 0, RULED].any()


def test_what_the_rule_would_say_reaches_the_answer_directly():
    network = ActionNetwork().eval()
    torch.nn.init.zeros_(network.answer.weight)
    given, times = told(sights_of([hand(f) for f in range(8)], [thing()] * 8))
    rng = np.random.default_rng(0)
    for kind in range(len(GRASP_NAMES)):
        ruled = rng.dirichlet(np.ones(len(GRASP_NAMES)) / 3, 8).astype(np.float32)
        ruled[:, kind] = ruled.max(1) + 0.1
        given["objects"][0, :, RULED][:, : len(GRASP_NAMES)] = torch.from_numpy(ruled)
        with torch.no_grad():
            named = action_answers(network(given, times))
        assert (named["type"].argmax(-1) == kind).all()
        assert not any(value.any() for name, value in named.items() if name != "type")


def test_what_rests_has_no_speed_and_what_leaves_its_mean_has():
    still, item = [hand(0)] * 30, thing()
    given, _ = features(sights_of(still, [item] * 30), nothing_before(1))
    np.testing.assert_allclose(given["objects"][0, :, LAGS], 0.0, atol=1e-6)
    # The thing goes along the palm's x axis at an even speed [m/s].
    speed, rate = 0.1, 200.0
    way = palm_rotation(still[0].keypoints)[:, 0] * speed / rate
    things = [thing(shift=way * frame) for frame in range(400)]
    given, _ = features(sights_of([hand(0)] * 400, things, rate), nothing_before(1))
    quick, slow = given["objects"][0, -1, LAGS].reshape(len(MEMORIES), -1)
    for lag in (quick, slow):
        np.testing.assert_allclose(0.3 * lag[:3], (speed, 0.0, 0.0), atol=0.01)


def test_training_goes_on_from_a_network_that_was_told_less(network, tmp_path, sequences):
    save(network, tmp_path / "now.npz")
    with np.load(tmp_path / "now.npz") as file:
        held = dict(file)
    expected = load(tmp_path / "now.npz")
    for name, less in (("hand", 140), ("objects", 23)):
        key = f"embed.{name}.0.weight"
        held[key] = held[key][:, :less]
        getattr(expected.embed, name)[0].weight.data[:, less:] = 0.0
    del held["rule.weight"]
    np.savez(tmp_path / "earlier.npz", **held | {"format": "manip-action-1"})
    given = told(sequences.batch(0)[0])
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "earlier.npz")(*given), expected(*given))
    with pytest.raises(ValueError, match="manip-action-4"):
        read(tmp_path / "earlier.npz")


def test_some_of_the_start_is_kept(network, weights):
    how = SMALL.__dict__ | {"steps": 3, "start": str(weights)}
    ends, blend = fit(ActionFitConfig(**how)), fit(ActionFitConfig(**how | {"keep": 0.25}))
    begins, ends, blend = (one.state_dict() for one in (network, ends, blend))
    for name, value in blend.items():
        assert torch.allclose(value, 0.25 * begins[name] + 0.75 * ends[name], atol=1e-6)
    assert not torch.equal(begins["answer.weight"], ends["answer.weight"])
    with pytest.raises(ValueError, match="keep must be"):
        ActionFitConfig(keep=0.5)


@pytest.fixture(scope="module")
def sequences():
    return ActionSequences(SMALL)


def test_batches_are_a_function_of_their_number(sequences):
    first = sequences.batch(5)
    sequences.batch(500)
    second = sequences.batch(5)
    assert np.array_equal(first[0].joints, second[0].joints)
    assert torch.equal(first[1].grasping, second[1].grasping)
    assert first[0].joints.shape == (8, 16, 21, 3)


def test_the_truth_costs_least(sequences):
    _, truth = sequences.batch(0)
    said = torch.zeros(8, 16, NUM_ACTION_ANSWERS)
    before = action_losses(said, truth)
    named = action_answers(said)
    named["position"][:] = truth.position.flatten(-2)
    named["turn"][:] = truth.turn.flatten(-2)
    named["aperture"][:] = truth.aperture
    named["grasping"][:] = 40 * truth.grasping - 20
    named["force"][:] = truth.force[..., None]
    named["approach"][:] = truth.approach
    named["confidence"][:] = 20.0
    known = truth.kind >= 0
    named["type"][known] = 20 * torch.nn.functional.one_hot(truth.kind[known], 10).float()
    after = action_losses(said, truth)
    for name, value in after.items():
        assert value < 0.05 * before[name] + 0.01, name


def test_what_is_foretold_is_where_the_hand_will_be(sequences):
    scenes = sequences.draw.handled(6, 60, 20.0, 1)
    truth = Foretold.of(scenes, 20)
    # At 20 frames a second a step is a frame.
    palm = np.stack([palm_rotation(one) for one in scenes.joints[2, :20]])
    later = np.stack([palm_rotation(one) for one in scenes.joints[2, 4:24]])
    way = 0.1 * truth.position[2, :, 3]
    found = scenes.joints[2, :20, 0] + (palm @ way[..., None])[..., 0]
    np.testing.assert_allclose(found, scenes.joints[2, 4:24, 0], atol=1e-9)
    turned = palm @ Rotation.from_rotvec(truth.turn[2, :, 3]).as_matrix()
    np.testing.assert_allclose(turned, later, atol=1e-6)
    with pytest.raises(ValueError, match="more than"):
        Foretold.of(scenes, 55)


def test_training_learns_and_its_file_is_read(tmp_path, sequences):
    torch.set_num_threads(1)
    # Other errors than in training, of the same hands.
    sights, truth = sequences.batch(SMALL.steps + 1)

    def total(network) -> float:
        with torch.no_grad():
            return action_losses(network(*told(sights)), truth)["total"].item()

    lines = []
    network = fit(SMALL, lines.append, every=20)
    assert len(lines) == 3 and "grasping" in lines[0]
    torch.manual_seed(0)
    assert total(network) < 0.9 * total(ActionNetwork().eval())
    save(network, tmp_path / "weights.npz")
    assert decoder(tmp_path / "weights.npz").update(hand(0), 0.0).problem() is None
    with pytest.raises(ValueError, match="manip-action-4"):
        np.savez(tmp_path / "other.npz", format="something")
        read(tmp_path / "other.npz")
