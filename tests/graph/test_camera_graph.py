"""The camera node: files at their own pace, missing cameras, files that are none."""

import subprocess
import time

import cv2
import numpy as np
import pytest
from harness import Probe, running
from manip_msgs.msg import HandObservation

from manip_bringup.graph import NodeSpec
from manip_bringup.supervisor import command_line
from manip_core.interfaces import CAMERA_INFO, DIAGNOSTICS, IMAGE, OBSERVATION
from manip_ros.conversions import image_from_msg, to_seconds


def camera(**parameters) -> list[NodeSpec]:
    return [NodeSpec("manip_perception", "camera_node", parameters)]


@pytest.fixture
def video(tmp_path):
    """20 frames of 64x48 at 20 fps, each brighter than the last."""
    path = tmp_path / "short.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (64, 48))
    for level in range(20):
        writer.write(np.full((48, 64, 3), 10 * level, np.uint8))
    writer.release()
    return path


def exit_of(**parameters) -> tuple[int, str]:
    ended = subprocess.run(
        command_line(camera(**parameters)[0]), capture_output=True, text=True, timeout=60
    )
    return ended.returncode, ended.stderr


def test_a_video_comes_whole_in_order_at_its_own_pace(probe, video):
    listener = probe(IMAGE, CAMERA_INFO)
    with running(camera(source=str(video), loop=False)):
        listener.wait(lambda: listener.count(CAMERA_INFO) == 20, what="20 frames")
        time.sleep(0.3)
    levels = [image_from_msg(m).mean() for m in listener.received[IMAGE.name]]
    assert len(levels) == 20 and (np.diff(levels) > 5).all()
    stamps = [to_seconds(m.header.stamp) for m in listener.received[IMAGE.name]]
    assert np.mean(np.diff(stamps)) == pytest.approx(0.05, abs=0.01)
    info = listener.last(CAMERA_INFO)
    # 60 degrees across 64 px.
    assert info.k[0] == pytest.approx(32 / np.tan(np.radians(30)))
    assert info.header.frame_id == "camera_optical_frame"


def test_rate_zero_waits_for_the_graph_and_drops_nothing(probe, video):
    listener: Probe = probe(IMAGE, CAMERA_INFO)
    with running(camera(source=str(video), loop=False, rate=0)):
        answers = listener.publisher(OBSERVATION)
        answered = 0
        until = time.monotonic() + 30
        while listener.count(CAMERA_INFO) < 20 and time.monotonic() < until:
            if listener.count(IMAGE) > answered:
                time.sleep(0.03)
                assert listener.count(IMAGE) == answered + 1, "it did not wait"
                answer = HandObservation()
                answer.header = listener.received[IMAGE.name][answered].header
                answered += 1
                answers.publish(answer)
            time.sleep(0.002)
        listener.wait(lambda: listener.count(IMAGE) == 20, 5, "20 frames")


def test_a_folder_of_images_in_order(probe, tmp_path):
    for i in range(5):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((11, 13, 3), 40 * i, np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "2b.png").write_bytes(b"not an image either")
    listener = probe(IMAGE)
    with running(camera(source=str(tmp_path), loop=False, rate=20)):
        listener.wait(lambda: listener.count(IMAGE) == 5, what="5 images")
    assert image_from_msg(listener.last(IMAGE)).shape == (11, 13, 3)
    assert np.diff([image_from_msg(m).mean() for m in listener.received[IMAGE.name]]).min() > 30


def test_a_missing_webcam_is_reported_and_retried(probe):
    listener = probe(DIAGNOSTICS)
    with running(camera(source="97")) as supervisor:
        listener.wait(
            lambda: any(
                "camera 97 cannot be opened" in s.message
                for m in listener.received[DIAGNOSTICS.name]
                for s in m.status
            ),
            what="a report",
        )
        time.sleep(1.5)
        assert "camera_node" in supervisor.pids()
        assert not supervisor.log.has("died")


def test_no_such_file_is_a_clear_error():
    status, said = exit_of(source="/no/such/file.mp4")
    assert status == 2 and "/no/such/file.mp4" in said and "Traceback" not in said


def test_a_file_that_is_no_video_is_a_clear_error(tmp_path):
    fake = tmp_path / "fake.mp4"
    fake.write_bytes(b"\x00\x01garbage" * 1000)
    status, said = exit_of(source=str(fake))
    assert status == 2 and "is not a video" in said and "Traceback" not in said


def test_a_folder_without_images_is_a_clear_error(tmp_path):
    status, said = exit_of(source=str(tmp_path))
    assert status == 2 and "no image" in said


def test_a_wrong_calibration_is_a_clear_error(tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("camera_matrix: {data: [1, 2]}")
    status, said = exit_of(source="demo", calibration=str(wrong))
    assert status == 2 and "wrong.yaml" in said and "Traceback" not in said
    assert exit_of(source="demo", rate="fast")[0] == 2


def test_a_wrong_source_ends_the_whole_graph():
    with running(camera(source="/no/such/file.mp4")) as supervisor:
        until = time.monotonic() + 30
        while not supervisor.status and time.monotonic() < until:
            time.sleep(0.05)
        assert supervisor.status == 2 and supervisor.log.has("/no/such/file.mp4")
