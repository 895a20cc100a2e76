"""Messages to arrays and back; parameters to configs."""

import numpy as np
import pytest
import rclpy
from sensor_msgs.msg import Image

from manip_control.controller import ControlConfig
from manip_core.camera import CameraIntrinsics
from manip_core.hand import LEFT, Hand, palm_rotation
from manip_core.rotation import matrix_from_quaternion
from manip_perception.camera import CameraConfig
from manip_ros import conversions
from manip_ros.parameters import declare_config


def some_hand() -> Hand:
    rng = np.random.default_rng(0)
    return Hand(
        stamp=12.5,
        side=LEFT,
        keypoints=rng.normal(size=(21, 3)),
        keypoints_std=rng.uniform(size=(21, 3)),
        keypoints_px=rng.uniform(0, 640, size=(21, 2)),
        contact=rng.uniform(size=4),
        confidence=0.75,
        tracked=True,
        bridged=True,
    )


def test_a_hand_survives_the_message():
    hand = some_hand()
    msg = conversions.hand_to_msg(hand, conversions.to_stamp(hand.stamp))
    back = conversions.hand_from_msg(msg)
    for name in ("keypoints", "keypoints_std", "keypoints_px", "contact"):
        np.testing.assert_allclose(getattr(back, name), getattr(hand, name), rtol=1e-6)
    assert (back.side, back.stamp, back.tracked, back.bridged) == (LEFT, 12.5, True, True)
    q = msg.wrist.orientation
    np.testing.assert_allclose(
        matrix_from_quaternion(np.array([q.x, q.y, q.z, q.w])),
        palm_rotation(hand.keypoints, LEFT),
        atol=1e-9,
    )


def test_nan_keypoints_are_refused():
    msg = conversions.hand_to_msg(some_hand(), conversions.to_stamp(1.0))
    msg.keypoints[5] = np.nan
    with pytest.raises(ValueError, match="keypoints must be finite"):
        conversions.hand_from_msg(msg)
    msg.tracked = False
    assert not conversions.hand_from_msg(msg).tracked


def test_stamps_keep_their_nanoseconds():
    assert conversions.to_seconds(conversions.to_stamp(1.999999999)) == pytest.approx(1.999999999)
    for bad in (-1.0, float("nan"), 1e12):
        with pytest.raises(ValueError, match="stamp"):
            conversions.to_stamp(bad)


def image(encoding, channels, *, height=5, width=7, padding=0) -> tuple[Image, np.ndarray]:
    pixels = np.random.default_rng(1).integers(0, 255, (height, width, channels), dtype=np.uint8)
    rows = pixels.reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)))
    msg = Image(height=height, width=width, encoding=encoding, step=rows.shape[1])
    msg.data = rows.tobytes()
    return msg, pixels


@pytest.mark.parametrize("padding", [0, 3])
def test_images_of_every_encoding_become_bgr(padding):
    for encoding, channels in (("bgr8", 3), ("rgb8", 3), ("mono8", 1), ("bgra8", 4), ("rgba8", 4)):
        msg, pixels = image(encoding, channels, padding=padding)
        got = conversions.image_from_msg(msg)
        assert got.shape == (5, 7, 3) and got.dtype == np.uint8
        want = pixels[:, :, [2, 1, 0]] if encoding.startswith("rgb") else pixels[:, :, :3]
        np.testing.assert_array_equal(got, np.broadcast_to(want, got.shape))


def test_images_that_are_not_what_they_say_are_refused():
    msg, _ = image("bgr8", 3)
    msg.encoding = "yuv422"
    with pytest.raises(ValueError, match="encoding"):
        conversions.image_from_msg(msg)
    for change in ({"height": 6}, {"width": 70}, {"step": 3}, {"height": 0}):
        msg, _ = image("bgr8", 3)
        for name, value in change.items():
            setattr(msg, name, value)
        with pytest.raises(ValueError, match="needs"):
            conversions.image_from_msg(msg)


def test_an_image_survives_the_message():
    pixels = np.random.default_rng(2).integers(0, 255, (9, 4, 3), dtype=np.uint8)
    msg = conversions.image_to_msg(pixels, conversions.to_stamp(3.0))
    np.testing.assert_array_equal(conversions.image_from_msg(msg), pixels)


def test_intrinsics_survive_the_message():
    camera = CameraIntrinsics.from_fov(640, 480, 60.0)
    back = conversions.camera_from_msg(
        conversions.camera_info_to_msg(camera, conversions.to_stamp(1.0))
    )
    assert (back.width, back.fx, back.cy) == (640, camera.fx, camera.cy)


@pytest.fixture
def node():
    """Makes nodes with parameters given as a command line would."""
    context = rclpy.Context()
    made = []

    def make(*words):
        if not context.ok():
            rclpy.init(context=context)
        arguments = ["--ros-args", *(w for word in words for w in ("-p", word))]
        made.append(rclpy.create_node("n", context=context, cli_args=arguments))
        return made[-1]

    yield make
    for one in made:
        one.destroy_node()
    rclpy.shutdown(context=context)


def test_parameters_become_the_config(node):
    assert declare_config(node(), CameraConfig) == CameraConfig()
    config = declare_config(node("rate:=30", "source:=0", "loop:=false"), CameraConfig)
    assert (config.rate, config.source, config.loop) == (30.0, "0", False)


@pytest.mark.parametrize("word", ["rate:=fast", "rate:=true", "auto_engage:=maybe"])
def test_parameters_of_the_wrong_type_are_named(node, word):
    with pytest.raises(ValueError, match=f"parameter {word.split(':')[0]} must be"):
        declare_config(node(word), ControlConfig)


def test_parameters_that_the_config_refuses(node):
    with pytest.raises(ValueError, match="rate must be within"):
        declare_config(node("rate:=5000"), ControlConfig)
