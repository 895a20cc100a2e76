"""The transformer's estimator follows, loses and finds hands; network and detector made up."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from manip_model.config import PRESETS  # noqa: E402
from manip_model.shards import FORMAT  # noqa: E402
from manip_perception.amt_estimator import AmtConfig, AmtEstimator  # noqa: E402
from manip_perception.estimator import make_estimator  # noqa: E402
from simulated_amt import CAMERA, Scene, SimulatedFinder, SimulatedRuntime, chain_length  # noqa: E402

IMAGE = np.full((480, 640, 3), 127, np.uint8)
FRAME = 1 / 30


@pytest.fixture
def folder(tmp_path):
    limits = {"spread": 0.25, "disagreement": 0.3, "doubt": 0.04}
    config = PRESETS["small"].to_dict()
    index = {"format": FORMAT, "shards": {}, "config": config, "limits": limits}
    (tmp_path / "index.json").write_text(json.dumps(index))
    return str(tmp_path)


@pytest.fixture
def scene():
    return Scene()


@pytest.fixture
def make(folder, scene):
    made = []

    def maker(names=None, **settings):
        estimator = AmtEstimator(
            AmtConfig(model=folder, **settings),
            runtime=SimulatedRuntime(scene),
            finder=SimulatedFinder(scene, names),
        )
        made.append(estimator)
        return estimator

    yield maker
    for estimator in made:
        estimator.close()


def see(estimator, stamp, image=IMAGE, camera=CAMERA):
    return estimator.estimate(image, stamp, camera)


def test_a_hand_is_found_and_placed_where_it_is(make, scene):
    scene.put("one", (0.05, 0.02, 0.6))
    hands = see(make(), 0.0)
    assert len(hands) == 1
    hand = hands[0]
    assert hand.problem() is None
    assert hand.side == "right" and hand.tracked
    truth = scene.hands["one"][1]
    assert np.allclose(hand.keypoints, truth, atol=1e-5)
    assert np.allclose(hand.keypoints_px, CAMERA.project(truth), atol=0.01)
    assert hand.vertices.shape == (778, 3)
    assert hand.confidence > 0.7
    # The distance is the least certain.
    assert (hand.keypoints_std[:, 2] > 0.02).all()
    assert hand.keypoints_std[0, 0] < hand.keypoints_std[0, 2]


def test_a_moving_hand_is_followed_without_the_detector(make, scene):
    estimator = make()
    for frame in range(25):
        scene.put("one", (-0.2 + 0.016 * frame, 0.05, 0.6 - 0.006 * frame))
        hands = see(estimator, frame * FRAME)
        assert len(hands) == 1, estimator.lost
        assert np.allclose(hands[0].keypoints, scene.hands["one"][1], atol=1e-4)
    assert estimator._finder.asked == 1


def test_the_crop_goes_ahead_of_a_hand_in_steady_motion(make, scene):
    estimator = make()
    for frame in range(6):
        scene.put("one", (-0.1 + 0.02 * frame, 0.05, 0.6))
        see(estimator, frame * FRAME)
    _, cameras, _, _ = estimator._runtime.calls[-1]
    fx, _, cx, _ = cameras[0]
    truth = scene.hands["one"][1]
    u = truth[:, 0] / truth[:, 2] * fx + cx
    assert 0.5 * (u.min() + u.max()) == pytest.approx(111.5, abs=3)


def test_a_hand_that_goes_is_lost_at_once_and_found_when_it_is_back(make, scene):
    estimator = make()
    scene.put("one", (0, 0, 0.6))
    assert see(estimator, 0.0)
    gone = scene.hands.pop("one")
    for frame in range(1, 10):
        assert see(estimator, frame * FRAME) == []
    assert "right hand: belief" in estimator.lost
    # Seeking is rationed: not in every picture.
    assert 3 <= estimator._finder.asked <= 6
    scene.hands["one"] = gone
    found = [bool(see(estimator, frame * FRAME)) for frame in range(10, 14)]
    assert any(found[:2]) and all(found[2:])


@pytest.mark.parametrize(
    ("to", "said"), [((0.15, 0.0, 0.6), "jumped"), ((0.02, 0.05, 0.26), "grown")]
)
def test_a_hand_does_not_jump(make, scene, to, said):
    estimator = make()
    scene.put("one", (0, 0, 0.6))
    assert see(estimator, 0.0)
    scene.put("one", to)
    assert see(estimator, FRAME) == []
    assert said in estimator.lost


def test_a_hand_that_leaves_the_picture_is_lost(make, scene):
    estimator = make()
    for frame in range(40):
        scene.put("one", (0.2 + 0.02 * frame, 0, 0.6))
        if not see(estimator, frame * FRAME):
            break
    else:
        pytest.fail("followed out of the picture")
    assert "within the picture" in estimator.lost


def test_two_hands_go_through_the_network_together(make, scene):
    estimator = make(num_hands=2)
    scene.put("one", (0.15, 0.05, 0.6))
    scene.put("two", (-0.15, 0.05, 0.6), side="left")
    hands = see(estimator, 0.0)
    assert {hand.side for hand in hands} == {"left", "right"}
    assert [call[0] for call in estimator._runtime.calls] == [2]
    for hand in hands:
        truth = scene.hands["one" if hand.side == "right" else "two"][1]
        assert np.allclose(hand.keypoints, truth, atol=1e-4)


def test_the_second_hand_is_sought_seldom(make, scene):
    estimator = make(num_hands=2, check_every=100.0)
    scene.put("one", (0.15, 0.05, 0.6))
    for frame in range(31):
        see(estimator, frame * FRAME)
    assert estimator._finder.asked <= 4
    scene.put("two", (-0.15, 0.05, 0.6), side="left")
    counts = [len(see(estimator, frame * FRAME)) for frame in range(31, 50)]
    assert counts[-1] == 2


def test_two_tracks_on_one_hand_become_one(make, scene):
    estimator = make(num_hands=2)
    scene.put("one", (0.06, 0.05, 0.6))
    scene.put("two", (-0.12, 0.05, 0.6), side="left")
    assert len(see(estimator, 0.0)) == 2
    for frame in range(1, 8):
        scene.put("two", (-0.12 + 0.026 * frame, 0.05, 0.6), side="left")
        if len(see(estimator, frame * FRAME)) == 1:
            break
    else:
        pytest.fail("both were followed through each other")
    assert "same hand" in estimator.lost


def test_only_as_many_hands_as_asked_for(make, scene):
    estimator = make(num_hands=1)
    scene.put("one", (0.15, 0.05, 0.6))
    scene.put("two", (-0.15, 0.05, 0.6), side="left")
    assert all(len(see(estimator, frame * FRAME)) == 1 for frame in range(5))


def test_a_left_hand_is_told_as_left(make, scene):
    estimator = make()
    scene.put("one", (0, 0, 0.6), side="left")
    assert [see(estimator, f * FRAME)[0].side for f in range(3)] == ["left"] * 3
    _, _, sides, _ = estimator._runtime.calls[-1]
    assert sides.tolist() == [0]


def test_a_side_that_the_detector_got_wrong_is_set_right_by_the_network(make, scene):
    estimator = make(names={"one": "left"})
    scene.put("one", (0, 0, 0.6))
    sides = [see(estimator, f * FRAME)[0].side for f in range(25)]
    assert sides[-1] == "right"
    # Not to and fro.
    assert sum(a != b for a, b in pairwise(sides)) <= 1


def test_told_the_side_most_of_the_time_and_asked_now_and_then(make, scene):
    estimator = make()
    scene.put("one", (0, 0, 0.6))
    for frame in range(20):
        see(estimator, frame * FRAME)
    hints = [int(call[3][0]) for call in estimator._runtime.calls]
    assert hints[0] == -1
    assert set(hints) == {-1, 1}
    assert hints.count(1) >= 16


def test_where_the_network_must_be_told_the_side_only_the_detector_is_heard(make, scene, folder):
    index = Path(folder) / "index.json"
    held = json.loads(index.read_text())
    held["config"]["mirror_left"] = True
    index.write_text(json.dumps(held))
    names = {"one": "left"}
    estimator = make(names=names)
    scene.put("one", (0, 0, 0.6))
    sides = [see(estimator, f * FRAME)[0].side for f in range(10)]
    # What such a network says of the side is what it was told.
    assert sides == ["left"] * 10
    assert {int(call[3][0]) for call in estimator._runtime.calls} == {0}
    names["one"] = "right"
    later = [see(estimator, f * FRAME)[0].side for f in range(10, 60)]
    assert later[-1] == "right"
    assert sum(a != b for a, b in pairwise(later)) == 1


def test_what_the_detector_never_confirms_is_given_up_unless_believed_in(make, scene):
    scene.put("one", (0, 0, 0.6))
    for belief, stays in ((0.999999, False), (0.5, True)):
        estimator = make()
        estimator.BEYOND_DOUBT = belief
        assert see(estimator, 0.0)
        estimator._finder.blind = True
        seen = [bool(see(estimator, 0.1 * frame)) for frame in range(1, 40)]
        assert all(seen) == stays
    assert all(seen)


def test_bad_pictures_are_refused_and_change_nothing(make, scene):
    estimator = make()
    scene.put("one", (0, 0, 0.6))
    see(estimator, 0.0)
    for image, stamp, said in (
        (np.zeros((480, 640, 3), np.float32), 1.0, "uint8"),
        (np.zeros((240, 320, 3), np.uint8), 1.0, "320x240"),
        (None, 1.0, "NoneType"),
        (IMAGE, float("nan"), "stamp"),
    ):
        with pytest.raises(ValueError, match=said):
            see(estimator, stamp, image=image)
    assert len(see(estimator, FRAME)) == 1
    assert estimator._finder.asked == 1


def test_numbers_that_are_none_lose_the_hand(make, scene):
    estimator = make()
    scene.put("one", (0, 0, 0.6))
    see(estimator, 0.0)
    scene.hands["one"] = ("right", np.full((21, 3), np.nan))
    true = estimator._runtime._see

    def broken(camera, hint):
        return true(camera, hint) | {"joints": np.full((21, 3), np.nan, np.float32)}

    estimator._runtime._see = broken
    assert see(estimator, FRAME) == []
    assert "belief 0.00" in estimator.lost


def test_time_that_jumps_back_or_stands_still_does_no_harm(make, scene):
    estimator = make()
    scene.put("one", (0, 0, 0.6))
    for stamp in (10.0, 10.0, 3.0, 3.01, 1e9, 0.0):
        assert len(see(estimator, stamp)) == 1


def test_another_camera_begins_anew(make, scene):
    estimator = make()
    scene.put("one", (0, 0, 0.6))
    see(estimator, 0.0)
    small = np.full((240, 320, 3), 127, np.uint8)
    see(estimator, 0.1, image=small, camera=CAMERA.scaled(320, 240))
    assert estimator._finder.asked == 2


def test_distortion_is_taken_out_of_pictures_and_put_back_into_pixels(make, scene):
    lens = replace(CAMERA, distortion=(0.1, -0.05, 0.001, 0.001))
    scene.put("one", (0.1, 0.02, 0.6))
    hand = see(make(), 0.0, camera=lens)[0]
    truth = scene.hands["one"][1]
    assert np.allclose(hand.keypoints, truth, atol=1e-4)
    assert np.allclose(hand.keypoints_px, lens.project(truth), atol=0.05)
    assert np.abs(hand.keypoints_px - CAMERA.project(truth)).max() > 1


def test_a_given_hand_length_scales_the_hand_about_the_camera(make, scene):
    scene.put("one", (0.05, 0.02, 0.6), length=0.187)
    estimator = make(hand_length=0.21)
    for frame in range(3):
        hand = see(estimator, frame * FRAME)[0]
    truth = scene.hands["one"][1]
    assert chain_length(hand.keypoints) == pytest.approx(0.21, rel=1e-4)
    assert np.allclose(hand.keypoints, truth * 0.21 / 0.187, atol=1e-4)
    assert np.allclose(hand.keypoints_px, CAMERA.project(truth), atol=0.01)
    assert np.allclose(hand.vertices[0], truth[0] * 0.21 / 0.187, atol=1e-4)


def test_objects_and_contacts_above_their_threshold_are_told(make, scene):
    estimator = make(object_confidence=0.6, hand_length=0.374)
    estimator._runtime.objects = [("025_mug", 2.0), ("024_bowl", 0.1), ("011_banana", 4.0)]
    estimator._runtime.contacts = [(0, "firm"), (9, "light")]
    scene.put("one", (0, 0, 0.6), length=0.187)
    hand = see(estimator, 0.0)[0]
    assert [one.name for one in hand.objects] == ["011_banana", "025_mug"]
    assert hand.objects[0].confidence == pytest.approx(1 / (1 + np.exp(-4)))
    assert [(c.region, c.kind) for c in hand.contacts] == [
        ("thumb_tip", "firm"),
        ("palm", "light"),
    ]
    assert all(one.problem() is None for one in (*hand.objects, *hand.contacts))
    # The force is what the hand bears: against the direction from hand to object.
    assert np.allclose(hand.contacts[0].force_direction, (0, 0, -1))
    # Everything is scaled as the hand is.
    assert np.allclose(hand.objects[0].position, (0, 0, 1.0), atol=1e-4)
    assert np.allclose(hand.contacts[0].point, (0, 0, 1.0), atol=1e-4)


def test_use_after_closing_is_an_error(make, scene):
    estimator = make()
    runtime, finder = estimator._runtime, estimator._finder
    estimator.close()
    estimator.close()
    assert runtime.closed and finder.closed
    with pytest.raises(RuntimeError, match="closed"):
        see(estimator, 0.0)


def test_settings_that_cannot_be_are_refused(folder):
    for settings, said in (
        ({"num_hands": 3}, "num_hands"),
        ({"runtime": "abacus"}, "openvino"),
        ({"min_confidence": 0.0}, "min_confidence"),
        ({"hand_length": 3.0}, "hand_length"),
        ({"threads": -1}, "threads"),
        ({"seek_every": 0.0}, "seek_every"),
    ):
        with pytest.raises(ValueError, match=said):
            AmtConfig(**settings)
    with pytest.raises(ValueError, match="num_hands"):
        make_estimator("amt", hand_size=0.2)
    with pytest.raises(FileNotFoundError, match=r"index\.json"):
        make_estimator("amt", model="/nowhere")
