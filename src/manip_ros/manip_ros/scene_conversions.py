"""What is seen beside a hand's keypoints: its surface, objects, contacts; to messages and back.

Whatever comes out of a message is sound; one that is not raises ``ValueError``.
"""

import array

import numpy as np
from builtin_interfaces.msg import Time
from manip_msgs.msg import Contact, Contacts, HandMesh, SceneObject, SceneObjects

from manip_core.hand import CONTACT_KINDS, NUM_VERTICES, RIGHT, Hand, SeenContact, SeenObject
from manip_core.interfaces import CAMERA_OPTICAL_FRAME
from manip_core.primitive import KINDS, KnownObject, Primitive
from manip_core.rotation import matrix_from_quaternion, quaternion_from_matrix


def mesh_to_msg(hand: Hand, stamp: Time) -> HandMesh:
    """HandMesh of a hand; empty where it has no vertices."""
    msg = HandMesh(handedness=_handedness(HandMesh, hand))
    _set_header(msg, stamp)
    if hand.vertices is not None:
        # Bytes are taken as they are; a list would be checked number by number.
        msg.vertices = array.array("f", hand.vertices.astype(np.float32).tobytes())
    return msg


def vertices_from_msg(msg: HandMesh) -> np.ndarray | None:
    """Vertices ``(778, 3)`` in [m], ``camera_optical_frame``; ``None`` for an empty message."""
    if not len(msg.vertices):
        return None
    vertices = np.asarray(msg.vertices, dtype=float)
    if vertices.size != 3 * NUM_VERTICES:
        raise ValueError(f"vertices must be {3 * NUM_VERTICES} numbers, got {vertices.size}")
    if not np.isfinite(vertices).all():
        bad = np.count_nonzero(~np.isfinite(vertices))
        raise ValueError(f"vertices must be finite, got {bad} values that are not")
    return vertices.reshape(NUM_VERTICES, 3)


def objects_to_msg(hand: Hand, stamp: Time) -> SceneObjects:
    """SceneObjects, seen by the camera, of the objects about a hand."""
    msg = SceneObjects(source=SceneObjects.SEEN)
    _set_header(msg, stamp)
    for seen in hand.objects:
        item = SceneObject(name=seen.name, confidence=float(seen.confidence))
        _set_xyz(item.pose.position, seen.position)
        turn = quaternion_from_matrix(seen.rotation)
        _set_xyz(item.pose.orientation, turn[:3])
        item.pose.orientation.w = float(turn[3])
        if seen.size is not None:
            _set_xyz(item.size, seen.size)
        msg.objects.append(item)
    return msg


def objects_from_msg(msg: SceneObjects) -> tuple[SeenObject, ...]:
    """Objects of a SceneObjects, in the message's own frame."""
    objects = []
    for item in msg.objects:
        turn = np.array([*_xyz(item.pose.orientation), item.pose.orientation.w])
        norm = np.linalg.norm(turn)
        if not 0.1 < norm < 10.0:
            raise ValueError(f"object {item.name}: orientation must be a rotation, got {turn}")
        size = _xyz(item.size)
        objects.append(
            SeenObject(
                name=item.name,
                position=_xyz(item.pose.position),
                rotation=matrix_from_quaternion(turn),
                confidence=item.confidence,
                size=size if size.any() else None,
            )
        )
    return _sound(objects)


def known_objects(msg: SceneObjects) -> list[KnownObject]:
    """Those of a SceneObjects whose shape is told, in the message's own frame.

    Raises:
        ValueError: A pose or size that is none.
    """
    shaped = [item for item in msg.objects if item.shape != SceneObject.UNKNOWN]
    for item in shaped:
        if item.shape > len(KINDS):
            raise ValueError(
                f"object {item.name}: shape must be at most {len(KINDS)}, got {item.shape}"
            )
    seen = objects_from_msg(SceneObjects(objects=shaped))
    return [
        KnownObject(
            name=item.name,
            primitive=Primitive(KINDS[item.shape - 1], tuple(_xyz(item.size))),
            place=one.position,
            turn=one.rotation,
        )
        for item, one in zip(shaped, seen, strict=True)
    ]


def contacts_to_msg(hand: Hand, stamp: Time) -> Contacts:
    """Contacts of a hand."""
    msg = Contacts(handedness=_handedness(Contacts, hand))
    _set_header(msg, stamp)
    for seen in hand.contacts:
        item = Contact(
            region=seen.region,
            probability=float(seen.probability),
            kind=CONTACT_KINDS.index(seen.kind),
            force=float(seen.force),
        )
        _set_xyz(item.point, seen.point)
        _set_xyz(item.force_direction, seen.force_direction)
        msg.contacts.append(item)
    return msg


def contacts_from_msg(msg: Contacts) -> tuple[SeenContact, ...]:
    """Contacts of a Contacts message."""
    contacts = []
    for item in msg.contacts:
        if item.kind >= len(CONTACT_KINDS):
            raise ValueError(
                f"contact {item.region}: kind must be below {len(CONTACT_KINDS)}, got {item.kind}"
            )
        contacts.append(
            SeenContact(
                region=item.region,
                point=_xyz(item.point),
                force_direction=_xyz(item.force_direction),
                force=item.force,
                kind=CONTACT_KINDS[item.kind],
                probability=item.probability,
            )
        )
    return _sound(contacts)


def _sound(seen: list) -> tuple:
    for one in seen:
        if problem := one.problem():
            raise ValueError(problem)
    return tuple(seen)


def _handedness(kind: type, hand: Hand) -> int:
    return kind.RIGHT if hand.side == RIGHT else kind.LEFT


def _set_header(msg, stamp: Time) -> None:
    msg.header.stamp = stamp
    msg.header.frame_id = CAMERA_OPTICAL_FRAME


def _set_xyz(field, value: np.ndarray) -> None:
    field.x, field.y, field.z = map(float, value)


def _xyz(field) -> np.ndarray:
    return np.array((field.x, field.y, field.z))
