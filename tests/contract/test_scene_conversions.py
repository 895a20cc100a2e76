"""What is seen beside the keypoints: to messages and back, and refused where it is unsound."""

import numpy as np
import pytest
from manip_msgs.msg import Contact, Contacts, HandMesh, HandObservation, SceneObjects
from rclpy.serialization import deserialize_message, serialize_message

from manip_core.hand import CONTACT_KINDS, LEFT, RIGHT
from manip_core.interfaces import CAMERA_OPTICAL_FRAME
from manip_ros import scene_conversions as conversions
from manip_ros.conversions import to_stamp
from seen_hand import BOX, GRAZE, GRIP, UNSIZED, seen_hand

STAMP = to_stamp(12.000000001)


def sent(msg):
    """The message as it comes out of the wire."""
    assert (msg.header.stamp, msg.header.frame_id) == (STAMP, CAMERA_OPTICAL_FRAME)
    return deserialize_message(serialize_message(msg), type(msg))


@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_a_surface_survives_the_message(side):
    hand = seen_hand(side=side)
    msg = sent(conversions.mesh_to_msg(hand, STAMP))
    assert msg.handedness == (HandMesh.RIGHT if side == RIGHT else HandMesh.LEFT)
    np.testing.assert_allclose(conversions.vertices_from_msg(msg), hand.vertices, atol=1e-7)
    empty = sent(conversions.mesh_to_msg(seen_hand(vertices=None), STAMP))
    assert conversions.vertices_from_msg(empty) is None


def test_objects_survive_the_message():
    msg = sent(conversions.objects_to_msg(seen_hand(), STAMP))
    assert msg.source == SceneObjects.SEEN
    box, spoon = conversions.objects_from_msg(msg)
    assert (box.name, spoon.name, spoon.size) == ("box", "spoon", None)
    np.testing.assert_allclose(box.position, BOX.position)
    np.testing.assert_allclose(box.rotation, BOX.rotation, atol=1e-12)
    np.testing.assert_allclose(box.size, BOX.size)
    assert spoon.confidence == pytest.approx(UNSIZED.confidence)


def test_contacts_survive_the_message():
    msg = sent(conversions.contacts_to_msg(seen_hand(side=LEFT), STAMP))
    assert msg.handedness == Contacts.LEFT
    grip, graze = conversions.contacts_from_msg(msg)
    assert (grip.region, grip.kind, graze.kind) == (GRIP.region, "firm", "light")
    np.testing.assert_allclose(grip.point, GRIP.point)
    np.testing.assert_allclose(grip.force_direction, GRIP.force_direction)
    assert grip.force == pytest.approx(GRIP.force)
    # Nothing is known of this force, and nothing is made up.
    assert np.isnan(graze.force) and not graze.force_direction.any()
    assert graze.probability == pytest.approx(GRAZE.probability)


def test_constants_agree():
    assert [getattr(Contact, kind.upper()) for kind in CONTACT_KINDS] == [0, 1, 2, 3]
    for kind in (HandMesh, Contacts):
        assert (kind.LEFT, kind.RIGHT) == (HandObservation.LEFT, HandObservation.RIGHT)
    # Whoever does not know of sources means objects that are known.
    assert SceneObjects().source == SceneObjects.KNOWN != SceneObjects.SEEN


def test_unsound_messages_are_refused():
    mesh = conversions.mesh_to_msg(seen_hand(), STAMP)
    mesh.vertices[7] = np.nan
    with pytest.raises(ValueError, match="vertices must be finite, got 1"):
        conversions.vertices_from_msg(mesh)
    mesh.vertices = mesh.vertices[:30]
    with pytest.raises(ValueError, match="vertices must be 2334 numbers, got 30"):
        conversions.vertices_from_msg(mesh)
    objects = conversions.objects_to_msg(seen_hand(), STAMP)
    objects.objects[1].pose.orientation.w = 0.0
    with pytest.raises(ValueError, match="object spoon: orientation"):
        conversions.objects_from_msg(objects)
    objects.objects[1].pose.orientation.w, objects.objects[0].pose.position.z = 1.0, np.inf
    with pytest.raises(ValueError, match="object box: position must be finite"):
        conversions.objects_from_msg(objects)
    contacts = conversions.contacts_to_msg(seen_hand(), STAMP)
    contacts.contacts[0].kind = 9
    with pytest.raises(ValueError, match="kind must be below 4, got 9"):
        conversions.contacts_from_msg(contacts)
    contacts.contacts[0].kind, contacts.contacts[1].probability = Contact.FIRM, 1.5
    with pytest.raises(ValueError, match="contact palm: probability"):
        conversions.contacts_from_msg(contacts)
