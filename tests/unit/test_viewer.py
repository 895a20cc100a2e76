"""The operator page's parts: meshes, drawing, words, and a page that is really served."""

import urllib.request

import mujoco
import numpy as np
import pytest

from manip_bringup.bench_state import bench_state, for_page
from manip_bringup.body_meshes import body_meshes
from manip_bringup.hand_drawing import downscaled, draw_hand
from manip_bringup.operator_desk import OperatorDesk
from manip_bringup.robot_frames import pose_in_parent
from manip_bringup.viewer import Thing, Viewer, ViewerConfig
from manip_bringup.viewer_html import latency_html, pinch_html, tracking_html
from manip_bringup.viewer_status import CONFIRM_S, LATENCY_WINDOW_S, Monitor, News, Teleop
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
    return Teleop(**{"engaged": True, "latency": 0.03, "received": 10.0} | changes)


async def no_bench(connection):
    """Serves no line of the page's own."""


def page(port: int, **config) -> Viewer:
    return Viewer(ViewerConfig(port=port, **config), Monitor(), no_bench, lambda name: None)


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
        (following(stopped=True), 10.0, 10.1, "STOPPED"),
        # A stop is said even where the robot is not heard.
        (following(stopped=True), 0.0, 10.1, "STOPPED"),
        (following(engaged=False, robot_ready=False), 10.0, 10.1, "HOLD"),
    ],
)
def test_headline(teleop, robot, now, word):
    monitor = Monitor()
    if teleop:
        monitor.on_teleop(teleop)
    monitor.on_robot(robot)
    assert monitor.headline(now)[0] == word
    assert bench_state(monitor, OperatorDesk(), now)["word"] == word


def test_nobody_is_offered_to_engage_who_would_not_be_heard():
    monitor = Monitor()
    monitor.on_robot(10.0)
    monitor.reaches = False
    monitor.on_teleop(following(engaged=False))
    assert monitor.headline(10.1)[0] == "CONNECTING"
    assert bench_state(monitor, OperatorDesk(), 10.1)["reaches"] is False
    monitor.on_teleop(following())
    assert monitor.headline(10.1)[0] == "FOLLOWING"


def test_a_robot_that_is_not_listened_to_is_not_missed():
    monitor = Monitor()
    monitor.on_teleop(following())
    assert monitor.headline(10.1)[0] == "ROBOT LOST"
    monitor.listens = False
    assert monitor.headline(10.1)[0] == "FOLLOWING"


def test_a_stop_that_nobody_confirms_is_an_alarm():
    monitor = Monitor()
    monitor.on_robot(10.0)
    monitor.on_teleop(following())
    monitor.on_stop_pressed(10.0)
    assert not monitor.stop_unconfirmed(10.0 + CONFIRM_S / 2)
    assert monitor.headline(10.1 + CONFIRM_S)[0] == "STOP NOT CONFIRMED"
    # Pressing again does not push the alarm away.
    monitor.on_stop_pressed(10.0 + CONFIRM_S)
    assert monitor.stop_unconfirmed(10.1 + CONFIRM_S)
    monitor.on_teleop(following(stopped=True, received=11.0))
    assert not monitor.stop_unconfirmed(20.0)
    assert monitor.headline(11.0)[0] == "STOPPED"


def test_latency_curve_forgets_and_skips_what_is_no_figure():
    monitor = Monitor()
    assert monitor.latencies_ms(0.0) == []
    monitor.on_teleop(following(latency=0.02, received=8.0))
    monitor.on_teleop(following(latency=float("nan"), received=9.0))
    monitor.on_teleop(following(latency=5.0, holding=True, received=9.0))
    monitor.on_teleop(following(latency=5.0, engaged=False, received=9.0))
    ((age, latency),) = monitor.latencies_ms(10.0)
    assert age == pytest.approx(2.0) and latency == pytest.approx(20.0)
    assert monitor.latencies_ms(8.1 + LATENCY_WINDOW_S) == []


def control_news(received: float, **changes) -> News:
    values = {f"latency p{percent} [ms]": str(percent) for percent in (50, 95, 99)}
    values |= {"share of hand pose [ms]": "20", "share of control [ms]": "10", "arm": "ready"}
    return News("", values | changes, received)


def test_latency_strip_says_what_diagnostics_say():
    monitor = Monitor()
    assert monitor.latency(0.0) is None and "–" in latency_html(monitor, 0.0)
    monitor.on_news("control_node", control_news(10.0))
    found = monitor.latency(10.5)
    assert found.percentiles == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert list(found.shares.items()) == [("hand pose", 20.0), ("control", 10.0)]
    strip = latency_html(monitor, 10.5)
    # Widths are the shares of the sum.
    assert "width:66.7%" in strip and "width:33.3%" in strip and "hand pose" in strip
    # Nobody confirms it any more, or it is no figure.
    assert monitor.latency(20.0) is None
    monitor.on_news("control_node", News("", {"latency p50 [ms]": "nan"}, 30.0))
    assert monitor.latency(30.0) is None
    monitor.on_news("control_node", control_news(40.0, **{"latency p95 [ms]": "<b>"}))
    assert (
        "<b>&" not in latency_html(monitor, 40.0) and "p95" not in monitor.latency(40.0).percentiles
    )


def test_warnings_come_from_the_safety_core_first_then_from_every_node():
    monitor = Monitor()
    monitor.on_teleop(following(warnings=("near a limit: elbow_joint",)))
    monitor.on_news("hand_pose_node", News("no pictures", {}, 10.0))
    monitor.on_news("camera_node", News("", {}, 10.0))
    expected = ["Near a limit: elbow_joint.", "Hand pose: no pictures."]
    assert monitor.warnings(11.0) == expected
    assert monitor.warnings(20.0) == expected[:1]


def test_marks_make_episodes_whoever_sets_them():
    monitor, desk = Monitor(), OperatorDesk()
    monitor.on_mark("success", 1.0)
    note, good = monitor.noted(1.0)
    assert not good and "no episode has been started" in note
    monitor.on_mark("start cube into bowl", 2.0)
    state = bench_state(monitor, desk, 67.0)["episode"]
    assert state["open"] and state["seconds"] == 65 and state["task"] == "cube into bowl"
    monitor.on_mark("failure", 70.0)
    state = bench_state(monitor, desk, 71.0)["episode"]
    assert not state["open"] and state["counts"] == {"failure": 1} and state["bag"] == ""
    monitor.on_news("recorder_node", News("", {"bag": "bags/one", "size [MB]": "3.2"}, 71.0))
    assert bench_state(monitor, desk, 71.0)["episode"]["bag"] == "bags/one"


def test_notes_pass():
    monitor = Monitor()
    monitor.note("engaged from where the robot is", 1.0)
    assert monitor.noted(2.0) == ("Engaged from where the robot is.", True)
    assert monitor.noted(60.0) == ("", True)


def test_each_page_is_told_whether_it_drives():
    desk = OperatorDesk()
    for number in (1, 2):
        desk.opened(number, 0.0)
    state = bench_state(Monitor(), desk, 0.0)
    assert state["pages"] == 2 and for_page(state, 1)["driver"] == ""
    desk.hear(2, {"press": "engage"}, 0.0)
    state = bench_state(Monitor(), desk, 0.0)
    assert [for_page(state, number)["driver"] for number in (1, 2)] == ["other", "you"]


def test_pinches():
    assert pinch_html(None).count("–") == 4
    shown = pinch_html(open_hand(contact=np.array([0.9, 0.1, 0.0, 0.0])))
    assert shown.count(">touch<") == 1 and "touches with 90 %" in shown
    hand = open_hand()
    gap = np.linalg.norm(hand.keypoints[Keypoint.RING_TIP] - hand.keypoints[Keypoint.THUMB_TIP])
    assert f"{1e3 * gap:.0f}&thinsp;mm" in shown


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
    assert "90" in tracking_html(_with(open_hand()), 1.0)


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
    viewer = page(unused_port, hand=side)
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
        goal = positions + 0.2
        viewer.target.set_target(["no_such_joint", *JOINT_NAMES], [9.0, *goal], 1.0)
        viewer.refresh(1.0)
        viewer.refresh(1.05)
        body = mujoco.mj_name2id(viewer._model, mujoco.mjtObj.mjOBJ_BODY, "cube")
        np.testing.assert_allclose(viewer._robot.frames[body].position, [0.4, 0.1, 0.2], atol=2e-4)
        assert list(viewer._boxes) == ["cup"]
        assert viewer._hand.bones.visible and np.isfinite(viewer._hand.bones.points).all()
        # The hand's middle finger points where the robot's does: along the palm's z axis.
        tips = viewer._hand.tips.points
        assert tips[FINGERS.index("middle"), 2] > 0.1
        # Index side is +y of the palm on a right hand, -y on a left one.
        across = tips[FINGERS.index("index"), 1] - tips[FINGERS.index("ring"), 1]
        assert across * (1 if side == "right" else -1) > 0.02
        assert len(TIPS) == len(tips)
        _check_ghost(viewer, positions, goal)
    finally:
        viewer.close()


def _check_ghost(viewer, positions, goal):
    """It stands where the target is, and shows only while that is elsewhere and fresh."""
    ghost = viewer.target
    assert ghost.visible
    data = mujoco.MjData(viewer._model)
    data.qpos[:] = viewer._data.qpos
    data.qpos[: len(goal)] = goal
    mujoco.mj_kinematics(viewer._model, data)
    for body, frame in ghost._drawing.frames.items():
        np.testing.assert_allclose(
            frame.wxyz, pose_in_parent(viewer._model, data, body)[1], atol=2e-4
        )
    # Every joint of the robot has its node, and nothing else: no table, no objects.
    assert len(ghost._drawing.frames) == len(JOINT_NAMES)
    viewer.refresh(3.0)
    assert not ghost.visible
    ghost.set_target(JOINT_NAMES, positions + 0.01, 3.0)
    viewer.refresh(3.1)
    assert not ghost.visible
    ghost.wanted = False
    ghost.set_target(JOINT_NAMES, goal, 3.1)
    viewer.refresh(3.2)
    assert not ghost.visible


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_error_to_the_truth_is_shown_where_it_is_known():
    monitor = Monitor()
    assert "truth" not in tracking_html(_with(open_hand()), 1.0)
    seen = open_hand()
    true = open_hand(keypoints=seen.keypoints + np.array([0.0, 0.0, 0.012]))
    monitor.on_truth(true)
    monitor.on_hand(seen, 1.0)
    error, shape = monitor.error_mm(1.1)
    assert error == pytest.approx(12.0) and shape == pytest.approx(0.0, abs=1e-6)
    assert "12&thinsp;mm" in tracking_html(monitor, 1.1)
    assert monitor.error_mm(20.0) is None
