"""What an estimator sees beside the keypoints, from the hand pose node to the topics."""

import socket
import threading
import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import rclpy
from harness import Probe
from manip_msgs.msg import SceneObject, SceneObjects
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from visualization_msgs.msg import Marker

from manip_bringup.rviz_node import RvizNode
from manip_bringup.viewer import Viewer
from manip_bringup.viewer_node import ViewerNode
from manip_core.camera import CameraIntrinsics
from manip_core.hand import LEFT
from manip_core.interfaces import (
    CAMERA_INFO,
    DIAGNOSTICS,
    HAND_MARKERS,
    HAND_MESH,
    IMAGE,
    OBSERVATION,
    SCENE_CONTACTS,
    SCENE_OBJECTS,
)
from manip_perception import estimator, hand_pose_node
from manip_perception.estimator import HandEstimator
from manip_ros import scene_conversions, topics
from manip_ros.conversions import camera_info_to_msg, image_to_msg, to_seconds, to_stamp
from seen_hand import BOX, GRIP, seen_hand

CAMERA = CameraIntrinsics.from_fov(64, 48, 60.0)
# What the estimator below answers to pictures of this brightness.
NOTHING, BOTH_HANDS, NAN, NO_PALM = 0, 50, 100, 150


class Seeing(HandEstimator):
    """Answers by the brightness of the picture."""

    description = "made up 1 ms, made down 2 ms: made up chosen"

    def __init__(self, **config):
        self.config = config

    def estimate(self, image, stamp, camera):
        hand = seen_hand(stamp)
        keypoints = {NAN: hand.keypoints * np.nan, NO_PALM: hand.keypoints * 0.0}
        level = int(image[0, 0, 0])
        if level == NOTHING:
            return []
        if level in keypoints:
            return [seen_hand(stamp, keypoints=keypoints[level])]
        return [seen_hand(stamp, LEFT, confidence=0.95, objects=(), contacts=()), hand]


@contextmanager
def spinning(make_node, *parameters):
    """A node in this process, spun in a thread of its own."""
    rclpy.init(args=["--ros-args", *(w for p in parameters for w in ("-p", p))])
    node = make_node()
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin():
        with suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown()
        thread.join(timeout=5)
        node.close()
        node.destroy_node()
        rclpy.try_shutdown()


@pytest.fixture
def seeing(monkeypatch):
    """Runs the hand pose node with the estimator above."""
    monkeypatch.setitem(estimator._MAKERS, "seeing", Seeing)

    def run(*parameters):
        return spinning(hand_pose_node.HandPoseNode, "estimator:=seeing", *parameters)

    return run


class Camera:
    """Publishes pictures of one brightness and waits for the observation of each."""

    def __init__(self, node, listener: Probe):
        self.listener = listener
        for made in node.publishers:
            if made.topic_name in listener.received:
                listener.wait(made.get_subscription_count, what=f"listener of {made.topic_name}")
        self._info, self._images = listener.publisher(CAMERA_INFO), listener.publisher(IMAGE)

    def show(self, level: int):
        stamp = to_stamp(time.time())
        picture = image_to_msg(np.full((48, 64, 3), level, np.uint8), stamp)

        def answer():
            heard = self.listener.received[OBSERVATION.name]
            return next((m for m in heard if m.header.stamp == stamp), None)

        # Pictures go best effort, and the first ones may find nobody yet: what is lost comes again.
        for _ in range(5):
            self._info.publish(camera_info_to_msg(CAMERA, stamp))
            time.sleep(0.05)
            self._images.publish(picture)
            until = time.monotonic() + 3.0
            while time.monotonic() < until:
                if found := answer():
                    return found
                time.sleep(0.02)
        raise AssertionError("no observation of five pictures")


def test_the_followed_hand_and_all_about_it_go_out(seeing, probe):
    listener = probe(OBSERVATION, HAND_MESH, SCENE_OBJECTS, SCENE_CONTACTS, DIAGNOSTICS)
    with seeing() as node:
        camera = Camera(node, listener)
        seen = camera.show(BOTH_HANDS)
        # The left hand is the surer one, and the right one is followed.
        assert seen.tracked and seen.handedness == seen.RIGHT
        about = (HAND_MESH, SCENE_OBJECTS, SCENE_CONTACTS)
        listener.wait(lambda: all(listener.count(topic) == 1 for topic in about), 10, "messages")
        assert all(listener.last(t).header.stamp == seen.header.stamp for t in about)
        objects = listener.last(SCENE_OBJECTS)
        assert objects.source == SceneObjects.SEEN
        assert objects.header.frame_id == "camera_optical_frame"
        assert [o.name for o in scene_conversions.objects_from_msg(objects)] == ["box", "spoon"]
        contacts = scene_conversions.contacts_from_msg(listener.last(SCENE_CONTACTS))
        assert (contacts[0].region, contacts[0].kind) == (GRIP.region, GRIP.kind)
        vertices = scene_conversions.vertices_from_msg(listener.last(HAND_MESH))
        np.testing.assert_allclose(vertices, seen_hand().vertices, atol=1e-6)
        # What is gone is said once.
        for _ in range(3):
            assert not camera.show(NOTHING).tracked
        time.sleep(0.3)
        assert [listener.count(topic) for topic in about] == [2, 2, 2]
        assert scene_conversions.vertices_from_msg(listener.last(HAND_MESH)) is None
        assert not listener.last(SCENE_OBJECTS).objects
        assert not listener.last(SCENE_CONTACTS).contacts

        def told():
            status = [s for m in listener.received[DIAGNOSTICS.name] for s in m.status]
            values = {v.key: v.value for s in status for v in s.values}
            return values if values.get("frames") == "4" else None

        values = listener.wait(told, 10, "diagnostics")
        assert values["estimator"] == Seeing.description and values["tracked"] == "1"
        assert float(values["estimator [ms]"]) > 0


def test_a_surface_is_made_only_for_a_listener(seeing, probe, monkeypatch):
    made = []
    convert = hand_pose_node.mesh_to_msg
    monkeypatch.setattr(hand_pose_node, "mesh_to_msg", lambda *a: made.append(1) or convert(*a))
    listener = probe(OBSERVATION)
    with seeing() as node:
        camera = Camera(node, listener)
        for _ in range(3):
            assert camera.show(BOTH_HANDS).tracked
        assert not made
        second = probe(HAND_MESH)
        second.wait(lambda: camera.show(BOTH_HANDS) and second.count(HAND_MESH), 20, "a surface")
        assert made


def test_a_hand_that_is_none_is_rejected_and_the_node_goes_on(seeing, probe):
    listener = probe(OBSERVATION, DIAGNOSTICS)
    with seeing() as node:
        camera = Camera(node, listener)
        assert not camera.show(NAN).tracked
        assert not camera.show(NO_PALM).tracked
        assert camera.show(BOTH_HANDS).tracked

        def rejected():
            status = [s for m in listener.received[DIAGNOSTICS.name] for s in m.status]
            return any(
                v.key == "rejected: hand" and v.value == "2" for s in status for v in s.values
            )

        listener.wait(rejected, 10, "the count of rejected hands")


def test_parameters_that_are_set_reach_the_estimator_s_config(seeing):
    with seeing("threads:=2", "runtime:=openvino", "model:=some/folder", "num_hands:=2") as node:
        assert node._estimator.config == {
            "threads": 2,
            "runtime": "openvino",
            "model": "some/folder",
            "num_hands": 2,
        }
    with seeing() as node:
        assert node._estimator.config == {}


def test_an_estimator_whose_package_is_missing_says_what_to_run(seeing, monkeypatch):
    def maker(**config):
        raise ModuleNotFoundError("No module named 'openvino'", name="openvino")

    monkeypatch.setitem(estimator._MAKERS, "seeing", maker)
    said = "estimator seeing needs openvino, which is not installed: run scripts/setup.sh seeing"
    try:
        with pytest.raises(ValueError, match=said), seeing():
            pass
    finally:
        rclpy.try_shutdown()


def test_rviz_shows_surface_objects_and_contacts(probe):
    listener = probe(HAND_MARKERS)
    hand = seen_hand()
    with spinning(RvizNode, "start_rviz:=false"):
        stamp = to_stamp(time.time())
        for topic, msg in (
            (HAND_MESH, scene_conversions.mesh_to_msg(hand, stamp)),
            (SCENE_OBJECTS, scene_conversions.objects_to_msg(hand, stamp)),
            (SCENE_CONTACTS, scene_conversions.contacts_to_msg(hand, stamp)),
        ):
            publisher = topics.publisher(listener.node, topic)
            listener.wait(lambda p=publisher: p.get_subscription_count(), what="rviz_node")
            heard = listener.count(HAND_MARKERS)

            def shown(publisher=publisher, msg=msg, heard=heard):
                publisher.publish(msg)
                time.sleep(0.1)
                return listener.count(HAND_MARKERS) > heard

            listener.wait(shown, what=f"markers of {topic.name}")
        markers = [m for a in listener.received[HAND_MARKERS.name] for m in a.markers]
    spaces = {m.ns for m in markers}
    assert spaces == {"surface", "seen_objects", "contacts"}
    assert {m.header.frame_id for m in markers} == {"camera_optical_frame"}
    assert to_seconds(markers[0].header.stamp) == to_seconds(stamp)
    (surface, *_) = (m for m in markers if m.ns == "surface")
    assert surface.type == Marker.TRIANGLE_LIST and len(surface.points) == 3 * 1538
    assert 0 < surface.color.a < 1
    (box, *_) = (m for m in markers if m.type == Marker.CUBE)
    assert (box.scale.x, box.scale.y, box.scale.z) == tuple(BOX.size)
    assert {m.text for m in markers if m.type == Marker.TEXT_VIEW_FACING} == {"box", "spoon"}
    (forces, *_) = (m for m in markers if m.ns == "contacts" and m.type == Marker.LINE_LIST)
    start, end = ((p.x, p.y, p.z) for p in forces.points)
    along = np.subtract(end, start)
    np.testing.assert_allclose(along / np.linalg.norm(along), GRIP.force_direction, atol=1e-6)


@pytest.fixture
def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_page_listens_only_while_it_is_watched(probe, unused_port, monkeypatch):
    watched = False
    monkeypatch.setattr(Viewer, "watched", property(lambda self: watched))
    talker = probe()
    stamp = to_stamp(time.time())
    mesh = topics.publisher(talker.node, HAND_MESH)
    objects = topics.publisher(talker.node, SCENE_OBJECTS)
    contacts = topics.publisher(talker.node, SCENE_CONTACTS)
    with spinning(ViewerNode, f"port:={unused_port}") as node:
        time.sleep(1.5)
        assert mesh.get_subscription_count() == 0
        watched = True
        for publisher in (mesh, objects, contacts):
            talker.wait(publisher.get_subscription_count, what=publisher.topic_name)
        hand, seen = seen_hand(), node.viewer.seen
        broken = scene_conversions.mesh_to_msg(hand, stamp)
        broken.vertices[0] = np.nan
        mesh.publish(broken)
        known = SceneObjects(objects=[SceneObject(name="known")])
        known.objects[0].pose.orientation.w = 1.0
        objects.publish(known)

        def shown():
            mesh.publish(scene_conversions.mesh_to_msg(hand, stamp))
            objects.publish(scene_conversions.objects_to_msg(hand, stamp))
            contacts.publish(scene_conversions.contacts_to_msg(hand, stamp))
            time.sleep(0.1)
            return seen._mesh is not None and seen._dots is not None and seen._things

        talker.wait(shown, what="everything on the page")
        # What is known and what is seen are kept apart.
        assert set(seen._things) == {"box", "spoon"} and "known" in node.viewer._things
        assert node._diagnostics.counters["rejected: mesh"] == 1
        watched = False
        talker.wait(lambda: not mesh.get_subscription_count(), what="the page not listening")
