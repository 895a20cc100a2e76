"""A bag in the camera's place."""

import numpy as np
import pytest

from manip_bringup.bag import BagWriter
from manip_bringup.cdr import compress_image, read_image, restamped, stamp_ns
from manip_bringup.recorder import COMPRESSED_IMAGE
from manip_bringup.replay import Playback, ReplayConfig
from manip_core.interfaces import CAMERA_INFO, IMAGE, OBSERVATION, TARGET, Topic
from unit.test_recorder import STORE, image_message

PICTURE = np.full((24, 32, 3), 90, np.uint8)


def bag_of(folder, messages: list[tuple[Topic, float]]):
    """A bag with messages at the given stamps [s], left as a kill would leave it."""
    bag = BagWriter(folder)
    channels = {}
    for topic, stamp in messages:
        if topic not in channels:
            channels[topic] = bag.add_topic(topic.name, topic.type, topic.qos, "uint8 x\n", "")
        data = image_message(PICTURE, round(stamp * 1e9))
        if topic is COMPRESSED_IMAGE:
            data = compress_image(data, 90)
        bag.write(channels[topic], round((stamp + 0.01) * 1e9), data)
    bag.flush()
    return folder


def test_pictures_and_camera_info_at_their_pace(tmp_path):
    times = [100.0, 100.033, 100.066]
    messages = [(t, s) for s in times for t in (CAMERA_INFO, COMPRESSED_IMAGE, OBSERVATION)]
    items = list(Playback(bag_of(tmp_path / "bag", messages)))
    assert [item.target for item in items] == [CAMERA_INFO.name, IMAGE.name] * 3
    np.testing.assert_allclose(
        [i.offset for i in items], np.repeat([0, 0.033, 0.066], 2), atol=1e-6
    )
    message = items[1].message(500.25)
    picture, encoding, frame = read_image(message)
    assert stamp_ns(message) == 500_250_000_000
    assert (encoding, frame, picture.shape) == ("bgr8", "camera_optical_frame", PICTURE.shape)
    assert np.abs(picture.astype(int) - PICTURE).max() <= 2
    assert STORE.deserialize_cdr(message, IMAGE.type).header.stamp.sec == 500


def test_hands_where_there_are_no_pictures(tmp_path):
    folder = bag_of(tmp_path / "bag", [(OBSERVATION, 1.0), (TARGET, 1.0), (OBSERVATION, 1.5)])
    items = list(Playback(folder))
    assert [(i.topic, round(i.offset, 6)) for i in items] == [
        (OBSERVATION.name, 0.0),
        (OBSERVATION.name, 0.5),
    ]
    assert items[1].message(7.0) == restamped(items[1].data, 7 * 10**9)


def test_gaps_and_stamps_that_jump_back_are_not_waited_for(tmp_path):
    stamps = [10.0, 10.1, 400.0, 5.0, 400.2]
    items = Playback(bag_of(tmp_path / "bag", [(OBSERVATION, s) for s in stamps]))
    offsets = sorted(item.offset for item in items)
    assert offsets[-1] <= 2.5 and offsets[0] == 0.0


def test_says_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="no bag at"):
        Playback(tmp_path / "none")
    with pytest.raises(ValueError, match="/teleop/target"):
        Playback(bag_of(tmp_path / "bag", [(TARGET, 1.0)]))
    (tmp_path / "broken.mcap").write_bytes(b"no bag at all")
    with pytest.raises(ValueError, match="cannot read the bag"):
        Playback(tmp_path / "broken.mcap")
    with pytest.raises(ValueError, match="rate"):
        ReplayConfig(bag="x", rate=0.0)
