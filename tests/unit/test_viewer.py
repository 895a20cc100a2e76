"""The operator page's parts: meshes, drawing, words, and a page that is really served."""

import urllib.request

import mujoco
import numpy as np
import pytest

from manip_bringup.body_meshes import body_meshes
from manip_bringup.hand_drawing import downscaled, draw_hand
from manip_bringup.viewer import Thing, Viewer, ViewerConfig
from manip_bringup.viewer_status import (
    LATENCY_WINDOW_S,
    Monitor,
    Teleop,
    details_html,
    headline_html,
)
from manip_core.hand import Hand
from manip_core.hand_skeleton import FINGER_CHAINS, FINGERS, TIPS, Keypoint
from manip_core.robot_model import JOINT_NAMES, TIP_FRAMES, build_model, home
from manip_core.scene import COLLISION_GROUP


def open_hand(side: str = "right", **changes) -> Hand:
    """An open hand, its palm to the camera, fingers up."""
    keypoints = np.zeros((21, 3))
    for finger, angle in enumerate(np.radians([55, 15, 2, -10, -24])):
        direction = np.array([-np.sin(angle), -np.cos(angle), 0.0])
        keypoints[FINGER_CHAINS[finger]] = np.outer([0.06, 0.09, 0.115, 0.14], direction)
    if side == "left":
        keypoints[:, 0] *= -1
    keypoints += [0.0, 0.05, 0.5]
    pixels = 320 + 600 * keypoints[:, :2] / keypoints[:, 2:]
    fields = {"keypoints": keypoints, "keypoints_px": pixels, "confidence": 0.9, "tracked": True}
    return Hand(stamp=0.0, side=side, **fields | changes)


def following(**changes) -> Teleop:
    fields = {"engaged": True, "holding": False, "reason": "", "latency": 0.03, "received": 10.0}
    return Teleop(**fields | changes)


def test_meshes_cover_what_the_model_shows():
    model = build_model("right")
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    meshes = body_meshes(model)
    assert len({(m.body, m.colour) for m in meshes}) == len(meshes)
    for name in TIP_FRAMES.values():
        assert any(mesh.body == name for mesh in meshes)
    for mesh in meshes:
        assert mesh.faces.max() < len(mesh.vertices) and np.isfinite(mesh.vertices).all()
    # Each visible geom's bounding box lies within that of its body's meshes.
    for geom in range(model.ngeom):
        kind = model.geom_type[geom]
        if model.geom_group[geom] == COLLISION_GROUP or kind == mujoco.mjtGeom.mjGEOM_PLANE:
            continue
        body = model.body(model.geom_bodyid[geom]).name
        vertices = np.concatenate([m.vertices for m in meshes if m.body == body])
        centre = model.geom_pos[geom]
        assert (vertices.min(0) <= centre + 1e-6).all() and (centre - 1e-6 <= vertices.max(0)).all()
        radius = np.linalg.norm(vertices - centre, axis=1).max()
        assert radius >= 0.95 * model.geom_rbound[geom]


def test_box_mesh_has_the_box_s_corners():
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><body name="b"><geom type="box" size=".1 .2 .3" pos="1 0 0" '
        'rgba="1 0.5 0 1"/></body></worldbody></mujoco>'
    )
    (mesh,) = body_meshes(model)
    assert mesh.body == "b" and mesh.colour == (255, 128, 0)
    np.testing.assert_allclose(mesh.vertices.min(0), [0.9, -0.2, -0.3], atol=1e-6)
    np.testing.assert_allclose(mesh.vertices.max(0), [1.1, 0.2, 0.3], atol=1e-6)
    # Corners are not shared between faces, so that edges stay sharp.
    assert len(mesh.vertices) == 24


@pytest.mark.parametrize("shape, expected", [((720, 1280), (270, 480)), ((480, 300), (480, 300))])
def test_pictures_are_scaled_down_only(shape, expected):
    picture = np.full((*shape, 3), 77, np.uint8)
    small = downscaled(picture, 480)
    assert small.shape == (*expected, 3) and (small == 77).all()
    small[:] = 0
    assert (picture == 77).all()


def test_hand_is_drawn_where_it_is():
    picture = np.zeros((480, 640, 3), np.uint8)
    hand = open_hand()
    draw_hand(picture, hand, 0.5)
    for x, y in hand.keypoints_px * 0.5:
        assert picture[round(y), round(x)].any()
    drawn = np.argwhere(picture.any(axis=2))[:, ::-1]
    low, high = hand.keypoints_px.min(0) * 0.5 - 15, hand.keypoints_px.max(0) * 0.5 + 15
    assert (drawn >= low).all() and (drawn <= high).all()


def test_contact_is_marked():
    without, with_contact = (np.zeros((640, 640, 3), np.uint8) for _ in range(2))
    draw_hand(without, open_hand())
    draw_hand(with_contact, open_hand(contact=np.array([0.9, 0.0, 0.0, 0.0])))
    changed = np.argwhere((without != with_contact).any(axis=2))[:, ::-1]
    ends = open_hand().keypoints_px[[Keypoint.THUMB_TIP, Keypoint.INDEX_TIP]]
    distance = np.linalg.norm(changed[:, None] - ends, axis=2)
    assert distance.min(axis=0).max() < 15 and distance.min(axis=1).max() < 15


@pytest.mark.parametrize("far", [np.nan, 1e12])
def test_drawing_bears_any_pixels(far):
    picture = np.zeros((48, 64, 3), np.uint8)
    draw_hand(picture, open_hand(keypoints_px=np.full((21, 2), far)))
    draw_hand(picture, open_hand(tracked=False))


@pytest.mark.parametrize(
    "teleop, robot, now, word",
    [
        (None, 10.0, 10.0, "NO CONTROL"),
        (following(), 10.0, 10.1, "FOLLOWING"),
        (following(holding=True, reason="no fresh target"), 10.0, 10.1, "WAITING"),
        (following(engaged=False), 10.0, 10.1, "HOLD"),
        (following(), 10.0, 12.0, "ROBOT LOST"),
        (following(), 19.9, 20.0, "CONTROL LOST"),
    ],
)
def test_headline(teleop, robot, now, word):
    monitor = Monitor()
    if teleop:
        monitor.on_teleop(teleop)
    monitor.on_robot(robot)
    assert monitor.headline(now)[0] == word
    assert word in headline_html(monitor, now)


def test_reasons_are_shown_as_text():
    monitor = Monitor()
    monitor.on_robot(10.0)
    monitor.on_teleop(following(holding=True, reason="limit <b>hit</b>"))
    assert "Limit &lt;b&gt;hit&lt;/b&gt;." in headline_html(monitor, 10.0)


def test_latency_forgets_and_skips_what_is_no_figure():
    monitor = Monitor()
    assert monitor.latency_ms(0.0) is None
    for i in range(100):
        monitor.on_teleop(following(latency=0.001 * (i + 1), received=float(i) / 10))
    monitor.on_teleop(following(latency=float("nan"), received=9.0))
    monitor.on_teleop(following(latency=5.0, holding=True, received=9.0))
    p50, p95 = monitor.latency_ms(10.0)
    assert p50 == pytest.approx(50.5) and p95 == pytest.approx(95.05)
    assert monitor.latency_ms(10.0 + LATENCY_WINDOW_S) is None


def test_tracking_words():
    monitor = Monitor()
    assert monitor.tracking(0.0)[0] == "no pictures"
    monitor.on_hand(open_hand(), 1.0)
    assert monitor.tracking(1.1)[0] == "right hand"
    monitor.on_hand(open_hand(bridged=True), 1.0)
    assert "bridging" in monitor.tracking(1.1)[0]
    monitor.on_hand(open_hand(tracked=False), 1.0)
    assert monitor.tracking(1.1)[0] == "no hand in view"
    assert monitor.tracking(9.0)[0] == "no pictures"
    assert "90" in details_html(_with(open_hand()), 1.0)


def _with(hand: Hand) -> Monitor:
    monitor = Monitor()
    monitor.on_hand(hand, 1.0)
    return monitor


@pytest.mark.parametrize("wrong", [{"hand": "both"}, {"port": 0}, {"rate": 0.0}])
def test_config_checks_itself(wrong):
    with pytest.raises(ValueError):
        ViewerConfig(**wrong)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_page_is_served_and_takes_any_data(side, unused_port, monkeypatch):
    viewer = Viewer(ViewerConfig(hand=side, port=unused_port), {})
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{unused_port}", timeout=5) as answer:
            assert answer.status == 200
        assert not viewer.watched
        # As if a browser were there: everything that is sent must be sendable.
        monkeypatch.setattr(Viewer, "watched", True)
        positions = home(side)
        viewer.set_joints(JOINT_NAMES, positions, 1.0)
        viewer.set_joints(["no_such_joint", JOINT_NAMES[0]], [1.0, float("nan")], 1.0)
        cube = Thing("cube", np.array([0.4, 0.1, 0.2]), np.array([0, 0, 0, 2.0]), np.full(3, 0.05))
        cup = Thing("cup", np.zeros(3), np.array([0, 0, 0, 1.0]), np.full(3, 0.1))
        lost = Thing("ball", np.full(3, np.nan), np.zeros(4), np.full(3, 0.1))
        viewer.set_things([cube, cup, lost])
        viewer.set_hand(open_hand(side), 1.0)
        viewer.set_picture(np.zeros((480, 640, 3), np.uint8), open_hand(side))
        viewer.refresh(1.0)
        viewer.refresh(1.05)
        body = mujoco.mj_name2id(viewer._model, mujoco.mjtObj.mjOBJ_BODY, "cube")
        np.testing.assert_allclose(viewer._frames[body].position, [0.4, 0.1, 0.2], atol=2e-4)
        assert list(viewer._boxes) == ["cup"]
        assert viewer._ghost.visible and np.isfinite(viewer._ghost.points).all()
        # The ghost's middle finger points where the robot's does: along the palm's z axis.
        tips = viewer._human_tips.points
        assert tips[FINGERS.index("middle"), 2] > 0.1
        # Index side is +y of the palm on a right hand, -y on a left one.
        across = tips[FINGERS.index("index"), 1] - tips[FINGERS.index("ring"), 1]
        assert across * (1 if side == "right" else -1) > 0.02
        assert len(TIPS) == len(tips)
    finally:
        viewer.close()


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_error_to_the_truth_is_shown_where_it_is_known():
    monitor = Monitor()
    assert "truth" not in details_html(_with(open_hand()), 1.0)
    seen = open_hand()
    true = open_hand(keypoints=seen.keypoints + np.array([0.0, 0.0, 0.012]))
    monitor.on_truth(true)
    monitor.on_hand(seen, 1.0)
    error, shape = monitor.error_mm(1.1)
    assert error == pytest.approx(12.0) and shape == pytest.approx(0.0, abs=1e-6)
    assert "12&thinsp;mm" in details_html(monitor, 1.1)
    assert monitor.error_mm(20.0) is None
