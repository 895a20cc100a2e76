"""What the camera sees, as it is drawn: triangles, contacts, and the page's scene."""

from dataclasses import replace

import numpy as np
import pytest
import viser

from manip_bringup.contact_drawing import CONTACT_COLOURS, drawn_contacts
from manip_bringup.hand_mesh import hand_faces
from manip_bringup.viewer_seen import SeenScene
from manip_core.hand import CONTACT_KINDS
from manip_core.robot_model import camera_mount
from seen_hand import BOX, GRAZE, GRIP, UNSIZED, open_surface, seen_hand


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Signed volume [m^3] of a mesh: positive where its triangles look outwards."""
    a, b, c = (vertices[faces[:, i]] - vertices.mean(axis=0) for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


@pytest.mark.parametrize("side", ["right", "left"])
def test_triangles_of_either_hand_look_outwards(side):
    # A grown-up's hand without the forearm: some 0.3 to 0.5 litres.
    assert 2e-4 < volume(open_surface(side), hand_faces(side)) < 6e-4


def test_there_is_no_third_hand():
    with pytest.raises(ValueError, match="side must be one of left, right, got 'both'"):
        hand_faces("both")


def test_contacts_more_likely_than_not_are_drawn():
    none = replace(GRIP, kind="none")
    points, ends, colours = drawn_contacts((GRAZE, GRIP, none))
    np.testing.assert_array_equal(points, [GRIP.point])
    along = ends[0] - points[0]
    np.testing.assert_allclose(along / np.linalg.norm(along), GRIP.force_direction, atol=1e-12)
    assert tuple(colours[0]) == CONTACT_COLOURS["firm"]
    assert set(CONTACT_COLOURS) == set(CONTACT_KINDS) - {"none"}
    assert [array.shape for array in drawn_contacts(())] == [(0, 3)] * 3


def test_arrows_grow_with_the_force_within_bounds():
    def length(**changes):
        points, ends, _ = drawn_contacts((replace(GRIP, **changes),))
        return np.linalg.norm(ends - points)

    lengths = [length(force=force) for force in (0.0, 2.0, 4.0, 1000.0)]
    assert lengths == sorted(lengths) and 0.0 < lengths[0] < lengths[-1] < 0.1
    assert lengths[0] < length(force=float("nan")) < lengths[-1]
    assert length(force_direction=np.zeros(3)) == 0.0


@pytest.fixture
def scene():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = viser.ViserServer(host="127.0.0.1", port=port, verbose=False)
    yield SeenScene(server.scene, "right")
    server.stop()


def test_the_page_shows_what_is_seen_and_forgets_it(scene):
    _, position = camera_mount("right")
    assert np.linalg.norm(scene._root.position - position) < 0.5
    scene.refresh(0.0)
    assert scene._mesh is None and scene._dots is None
    hand = seen_hand()
    scene.set_surface(hand.vertices, "right", 1.0)
    scene.set_objects(hand.objects, 1.0)
    scene.set_contacts(hand.contacts, 1.0)
    scene.refresh(1.0)
    np.testing.assert_allclose(scene._mesh.vertices, hand.vertices, atol=1e-6)
    assert set(scene._things) == {"box", "spoon"}
    np.testing.assert_allclose(scene._things["box"].position, BOX.position)
    assert len(scene._dots.points) == len(scene._arrows.points) == 1

    moved = replace(BOX, name="a/b", position=np.array((0.0, 0.1, 0.4)))
    scene.set_objects((moved, UNSIZED), 1.5)
    scene.set_surface(open_surface("left"), "left", 1.5)
    scene.set_contacts((GRIP, replace(GRIP, force_direction=np.zeros(3))), 1.5)
    scene.refresh(1.5)
    assert set(scene._things) == {"a_b", "spoon"}
    np.testing.assert_array_equal(scene._mesh.faces, hand_faces("left"))
    assert len(scene._dots.points) == 2 and len(scene._arrows.points) == 1

    # Silence is no sight: what nobody confirms goes.
    scene.refresh(3.0)
    assert not scene._mesh.visible and not scene._things
    assert not scene._dots.visible and not scene._arrows.visible
    scene.set_surface(hand.vertices, "right", 4.0)
    scene.refresh(4.0)
    assert scene._mesh.visible
    scene.set_surface(None, "right", 4.1)
    scene.refresh(4.1)
    assert not scene._mesh.visible


def test_what_is_switched_off_is_not_sent(scene):
    scene.visible = False
    scene.set_surface(open_surface(), "right", 1.0)
    scene.refresh(1.0)
    assert scene._mesh is None
    scene.visible = True
    scene.refresh(1.1)
    assert scene._mesh is not None
