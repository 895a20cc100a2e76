"""The robot agrees with the published figures, with MuJoCo, and with its mirror image."""

import xml.etree.ElementTree as ET

import mujoco
import numpy as np
import pytest

from manip_core import robot_model, scene
from manip_core.hand import LEFT, RIGHT, SIDES
from manip_core.robot_model import ARM_JOINTS, FINGER_JOINTS, HAND_JOINTS, JOINT_NAMES

# Universal Robots, "DH parameters", UR5e: a, d [m], alpha [rad], mass [kg] of each link.
UR5E = (
    (0.0, 0.1625, np.pi / 2, 3.761),
    (-0.425, 0.0, 0.0, 8.058),
    (-0.3922, 0.0, 0.0, 2.846),
    (0.0, 0.1333, np.pi / 2, 1.37),
    (0.0, 0.0997, -np.pi / 2, 1.3),
    (0.0, 0.0996, 0.0, 0.365),
)
ARM_LINKS = ("shoulder", "upper_arm", "forearm", "wrist_1", "wrist_2", "wrist_3")
# Lower and upper limits of a finger's and of the thumb's joints [rad].
FINGER_LIMITS = ((-0.47, 0.47), (-0.196, 1.61), (-0.174, 1.709), (-0.227, 1.618))
THUMB_LIMITS = ((0.263, 1.396), (-0.105, 1.163), (-0.189, 1.644), (-0.162, 1.719))
MIRROR = np.diag([1.0, -1.0, 1.0])
ABDUCTION = [JOINT_NAMES.index(name) for name in ("ffj0", "mfj0", "rfj0")]


@pytest.fixture(scope="module")
def robots():
    """Model and data of the robot on its table, by side."""
    models = {side: robot_model.build_model(side, with_scene=False) for side in SIDES}
    return {side: (model, mujoco.MjData(model)) for side, model in models.items()}


def random_configurations(side, count, seed=0):
    bounds = robot_model.limits(side)
    return np.random.default_rng(seed).uniform(bounds.lower, bounds.upper, (count, 22))


def pose(data, body):
    transform = np.eye(4)
    transform[:3, :3] = data.body(body).xmat.reshape(3, 3)
    transform[:3, 3] = data.body(body).xpos
    return transform


def rotation(axis, angle):
    quat, matrix = np.empty(4), np.empty(9)
    mujoco.mju_axisAngle2Quat(quat, np.asarray(axis, float), angle)
    mujoco.mju_quat2Mat(matrix, quat)
    return matrix.reshape(3, 3)


def transform(turn=None, shift=(0, 0, 0)):
    out = np.eye(4)
    out[:3, :3] = np.eye(3) if turn is None else turn
    out[:3, 3] = shift
    return out


def contacts(model, data):
    """Names of the bodies of each pair in contact."""
    bodies = model.geom_bodyid[data.contact.geom]
    return {tuple(sorted(model.body(i).name for i in pair)) for pair in bodies}


def test_joints_and_actuators_come_first_and_in_order(robots):
    for side in SIDES:
        for model in (robots[side][0], robot_model.build_model(side)):
            assert tuple(model.joint(i).name for i in range(22)) == JOINT_NAMES
            assert tuple(model.actuator(i).name for i in range(model.nu)) == JOINT_NAMES
            assert [model.joint(i).qposadr[0] for i in range(22)] == list(range(22))


@pytest.mark.parametrize("side", SIDES)
def test_limits_are_the_published_ones_in_urdf_and_mujoco(robots, side):
    bounds = robot_model.limits(side)
    arm = np.array([2 * np.pi, 2 * np.pi, np.pi, 2 * np.pi, 2 * np.pi, 2 * np.pi])
    hand = np.array(3 * FINGER_LIMITS + THUMB_LIMITS)
    assert np.allclose(bounds.lower, np.r_[-arm, hand[:, 0]])
    assert np.allclose(bounds.upper, np.r_[arm, hand[:, 1]])
    assert np.allclose(bounds.velocity[:6], np.deg2rad(180))
    assert np.allclose(bounds.effort[:6], [150, 150, 150, 28, 28, 28])
    model = robots[side][0]
    assert np.allclose(model.jnt_range[:22], np.c_[bounds.lower, bounds.upper])
    assert np.allclose(model.actuator_ctrlrange, np.c_[bounds.lower, bounds.upper])
    assert np.allclose(model.actuator_forcerange, np.c_[-bounds.effort, bounds.effort])


def test_masses_in_urdf_and_mujoco(robots):
    robot = ET.fromstring(robot_model.load_urdf(RIGHT))
    model = robots[RIGHT][0]
    masses = {
        link.get("name"): float(link.find("inertial/mass").get("value"))
        for link in robot.iter("link")
        if link.find("inertial") is not None
    }
    for name, mass in masses.items():
        assert model.body(name).mass[0] == pytest.approx(mass)
    for name, (*_, mass) in zip(ARM_LINKS, UR5E, strict=True):
        assert masses[f"{name}_link"] == mass
    # The manual gives 1.08 kg for hand and cover; Wonik's links add up to a little less.
    hand = sum(mass for name, mass in masses.items() if name[:2] in ("ff", "mf", "rf", "th", "al"))
    assert 0.9 < hand < 1.08


def test_tool0_follows_the_published_dh_chain(robots):
    model, data = robots[RIGHT]
    for q in random_configurations(RIGHT, 50):
        data.qpos[:] = q
        mujoco.mj_kinematics(model, data)
        # ur_description's base_link is turned by pi against the controller's base.
        expected = transform(rotation((0, 0, 1), np.pi))
        for angle, (a, d, alpha, _) in zip(q[:6], UR5E, strict=True):
            expected = expected @ transform(rotation((0, 0, 1), angle), (0, 0, d))
            expected = expected @ transform(rotation((1, 0, 0), alpha), (a, 0, 0))
        got = np.linalg.inv(pose(data, "base_link")) @ pose(data, "tool0")
        assert np.abs(got - expected).max() < 1e-6


@pytest.mark.parametrize("side", SIDES)
def test_fingertips_follow_the_published_links(robots, side):
    """Wonik's link lengths, chained by hand; the left hand as Wonik's left description has it."""
    model, data = robots[side]
    s = 1 if side == RIGHT else -1
    z, y, x = (0, 0, 1), (0, 1, 0), (1, 0, 0)
    bases = {
        "index": ((0, s * 0.0435, -0.001542), rotation(x, np.deg2rad(-5) * s)),
        "middle": ((0, 0, 0.0007), np.eye(3)),
        "ring": ((0, s * -0.0435, -0.001542), rotation(x, np.deg2rad(5) * s)),
        "thumb": (
            (-0.0182, s * 0.019333, -0.045987),
            rotation(z, np.deg2rad(-90) * s) @ rotation(y, np.deg2rad(-95)),
        ),
    }
    finger = ((z, (0, 0, 0.0164)), (y, (0, 0, 0.054)), (y, (0, 0, 0.0384)), (y, (0, 0, 0.0267)))
    thumb = (
        ((-s, 0, 0), (-0.027, s * 0.005, 0.0399)),
        ((0, 0, s), (0, 0, 0.0177)),
        (y, (0, 0, 0.0514)),
        (y, (0, 0, 0.0423)),
    )
    for q in random_configurations(side, 20, seed=1):
        data.qpos[:] = q
        mujoco.mj_kinematics(model, data)
        palm = pose(data, robot_model.PALM_FRAME)
        for name, (shift, turn) in bases.items():
            expected = palm @ transform(turn, shift)
            for joint, (axis, along) in zip(
                FINGER_JOINTS[name], thumb if name == "thumb" else finger, strict=True
            ):
                angle = q[JOINT_NAMES.index(joint)]
                expected = expected @ transform(rotation(axis, angle)) @ transform(shift=along)
            got = pose(data, robot_model.TIP_FRAMES[name])
            assert np.abs(got - expected).max() < 1e-6


def test_palm_sits_on_the_tool_flange(robots):
    model, data = robots[RIGHT]
    mujoco.mj_kinematics(model, data)
    got = np.linalg.inv(pose(data, "tool0")) @ pose(data, robot_model.PALM_FRAME)
    assert np.allclose(got, transform(shift=(0, 0, 0.109)))


def test_the_left_hand_is_the_mirror_image_of_the_right(robots):
    """In the palm's x-z plane, with the abduction joints negated: both turn about the same +z."""
    for q in random_configurations(RIGHT, 30, seed=2):
        tips = {}
        for side in SIDES:
            model, data = robots[side]
            data.qpos[:] = q
            if side == LEFT:
                data.qpos[ABDUCTION] *= -1
            mujoco.mj_kinematics(model, data)
            palm = np.linalg.inv(pose(data, robot_model.PALM_FRAME))
            tips[side] = [palm @ pose(data, tip) for tip in robot_model.TIP_FRAMES.values()]
        for right, left in zip(tips[RIGHT], tips[LEFT], strict=True):
            assert np.allclose(left[:3, 3], MIRROR @ right[:3, 3], atol=1e-9)
            assert np.allclose(left[:3, 2], MIRROR @ right[:3, 2], atol=1e-9)


@pytest.mark.parametrize("side", SIDES)
def test_home_shows_the_palm_to_the_camera_and_touches_nothing(robots, side):
    model, data = robots[side]
    home = robot_model.home(side)
    data.qpos[:] = home
    mujoco.mj_forward(model, data)
    assert data.ncon == 0
    palm = pose(data, robot_model.PALM_FRAME)
    assert palm[2, 2] > np.cos(np.deg2rad(45))  # fingers up
    assert palm[0, 0] > np.cos(np.deg2rad(45))  # palm to the front
    assert palm[2, 3] > 0.35
    bounds = robot_model.limits(side)
    margin = np.minimum(home - bounds.lower, bounds.upper - home)[:6]
    assert margin.min() > 1.0
    jacobian = np.zeros((6, model.nv))
    mujoco.mj_jacBody(model, data, jacobian[:3], jacobian[3:], model.body("tool0").id)
    jacobian[3:] *= 0.2  # one radian counts as 0.2 m
    assert np.linalg.svd(jacobian[:, :6], compute_uv=False)[-1] > 0.1
    rotation_matrix, position = robot_model.camera_mount(side)
    assert np.allclose(rotation_matrix, [[0, 0, -1], [1, 0, 0], [0, -1, 0]], atol=1e-9)
    seen = rotation_matrix.T @ (palm[:3, 3] - position)
    assert seen[2] > 0.4 and np.abs(seen[:2]).max() < 0.1 * seen[2]


@pytest.mark.parametrize("side", SIDES)
def test_the_palm_is_free_to_turn_and_move_about_home(robots, side):
    """By 60 degrees about each axis and 0.2 m along it, in small steps from home."""
    model, data = robots[side]
    palm = model.body(robot_model.PALM_FRAME).id
    jacobian, quat, turn = np.zeros((6, model.nv)), np.zeros(4), np.zeros(3)
    data.qpos[:] = robot_model.home(side)
    mujoco.mj_forward(model, data)
    start = pose(data, robot_model.PALM_FRAME)
    for axis in np.vstack((np.eye(3), -np.eye(3))):
        for angle, way in ((np.deg2rad(60), 0.0), (0.0, 0.2)):
            data.qpos[:] = robot_model.home(side)
            for part in np.linspace(0.1, 1.0, 10):
                target = rotation(axis, part * angle) @ start[:3, :3]
                place = start[:3, 3] + part * way * axis
                for _ in range(10):
                    mujoco.mj_forward(model, data)
                    now = pose(data, robot_model.PALM_FRAME)
                    mujoco.mju_mat2Quat(quat, (target @ now[:3, :3].T).ravel())
                    mujoco.mju_quat2Vel(turn, quat, 1.0)
                    error = np.r_[place - now[:3, 3], turn]
                    mujoco.mj_jacBody(model, data, jacobian[:3], jacobian[3:], palm)
                    data.qpos[:6] += np.linalg.lstsq(jacobian[:, :6], error, rcond=1e-3)[0]
                assert np.linalg.norm(error) < 1e-4, (axis, angle, way, part)
                assert data.ncon == 0, (axis, angle, way, part, contacts(model, data))


def test_each_finger_moves_through_its_range_alone(robots):
    """Fingers alone touch next to nothing, the thumb only what it can really reach."""
    for side in SIDES:
        model, data = robots[side]
        fraction = {}
        for finger, joints in FINGER_JOINTS.items():
            moving = [JOINT_NAMES.index(name) for name in joints]
            hits = 0
            for q in random_configurations(side, 300, seed=3):
                data.qpos[:] = robot_model.home(side)
                data.qpos[moving] = q[moving]
                mujoco.mj_forward(model, data)
                hits += data.ncon > 0
            fraction[finger] = hits / 300
        assert max(fraction[name] for name in ("index", "middle", "ring")) < 0.01, fraction
        assert fraction["thumb"] < 0.25, fraction


def test_real_collisions_are_seen(robots):
    model, data = robots[RIGHT]
    home = robot_model.home()

    def touching(**angles):
        data.qpos[:] = home
        for name, angle in angles.items():
            data.qpos[JOINT_NAMES.index(name)] = angle
        mujoco.mj_forward(model, data)
        return contacts(model, data)

    crossed = {"ffj0": -0.47, "mfj0": 0.47}
    fingers = touching(**crossed)
    assert any(a.startswith("ff") and b.startswith("mf") for a, b in fingers), fingers
    folded = touching(thj0=1.396, thj1=0.0, thj2=1.6, thj3=1.7)
    assert any(a == "allegro_palm" and b.startswith("th") for a, b in folded), folded
    # Fully bent, the forearm runs into the shoulder.
    bent = touching(elbow_joint=-3.1)
    assert any("forearm" in a + b for a, b in bent), bent
    low = touching(shoulder_lift_joint=-np.pi - 0.3, elbow_joint=0.0)
    assert any("world" in pair for pair in low), low


def test_only_what_always_overlaps_is_excluded():
    spec = robot_model.robot_spec(RIGHT)
    excluded = {tuple(sorted((x.bodyname1, x.bodyname2))) for x in spec.excludes}
    for exclude in list(spec.excludes):
        spec.delete(exclude)
    bare = spec.compile()
    bare_data = mujoco.MjData(bare)
    always = None
    for q in random_configurations(RIGHT, 200, seed=4):
        bare_data.qpos[:] = q
        mujoco.mj_forward(bare, bare_data)
        pairs = contacts(bare, bare_data)
        always = pairs if always is None else always & pairs
    assert always == excluded


def test_random_hand_postures_collide_in_less_than_half_the_range(robots):
    model, data = robots[RIGHT]
    hits = 0
    for q in random_configurations(RIGHT, 1000, seed=5):
        data.qpos[:] = np.r_[robot_model.home()[:6], q[6:]]
        mujoco.mj_forward(model, data)
        hits += data.ncon > 0
    assert 0.1 < hits / 1000 < 0.4


def test_all_collision_shapes_of_the_robot_are_capsules_and_boxes(robots):
    model = robots[RIGHT][0]
    solid = model.geom_contype != 0
    kinds = set(model.geom_type[solid])
    assert kinds == {int(mujoco.mjtGeom.mjGEOM_CAPSULE), int(mujoco.mjtGeom.mjGEOM_BOX)}
    tips = [model.geom(f"{name}_tip").size[0] for name in ("ff", "mf", "rf", "th")]
    assert tips == [robot_model.TIP_RADIUS] * 4
    groups = {True: scene.COLLISION_GROUP, False: scene.VISUAL_GROUP}
    for i in range(model.ngeom):
        if model.geom(i).name != "table":
            assert model.geom(i).group[0] == groups[bool(solid[i])]


@pytest.mark.parametrize("side", SIDES)
def test_home_is_held_for_two_seconds(side):
    model = robot_model.build_model(side)
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    mujoco.mj_forward(model, data)
    assert np.abs(data.qfrc_gravcomp[:22]).max() > 10  # there is weight to be held
    start = data.qpos.copy()
    for _ in range(1000):
        mujoco.mj_step(model, data)
    assert np.abs(data.qpos[:22] - robot_model.home(side)).max() < 1e-3
    assert np.abs(data.qpos[22:] - start[22:]).max() < 2e-3  # the objects rest where they stand


def test_a_joint_settles_on_a_step_without_ringing():
    model = robot_model.build_model(RIGHT, with_scene=False)
    data = mujoco.MjData(model)
    home = robot_model.home()
    for i, name in enumerate(JOINT_NAMES):
        mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
        data.ctrl[i] = home[i] + 0.05
        path = np.empty(250)
        for k in range(len(path)):
            mujoco.mj_step(model, data)
            path[k] = data.qpos[i] - home[i]
        assert path.max() < 0.05 * 1.05, name
        assert abs(path[-1] - 0.05) < 1e-3, name


def test_acceleration_limits_need_less_torque_than_there_is():
    """At home, each joint alone at its limit, with gravity."""
    model = robot_model.build_model(RIGHT, with_scene=False)
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    mujoco.mj_forward(model, data)
    inertia = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, inertia)
    bounds = robot_model.limits()
    torque = np.diag(inertia) * bounds.acceleration + np.abs(data.qfrc_gravcomp)
    assert (torque < 0.5 * bounds.effort).all(), torque / bounds.effort


def test_a_wrong_side_lists_the_choices():
    for call in (robot_model.load_urdf, robot_model.home, robot_model.build_model):
        with pytest.raises(ValueError, match=r"'left', 'right'.*got 'both'"):
            call("both")


def test_a_urdf_that_lacks_joints_is_named():
    with pytest.raises(ValueError, match=r"no limits for .*shoulder_pan_joint"):
        robot_model.Limits.from_urdf("<robot name='empty'><link name='a'/></robot>")


def test_xacro_is_found_through_the_environment(tmp_path, monkeypatch):
    from manip_core import resources

    (tmp_path / "urdf").mkdir()
    (tmp_path / robot_model.XACRO).write_text("<robot/>")
    monkeypatch.setenv("MANIP_SHARE", str(tmp_path))
    assert resources.find(robot_model.XACRO) == tmp_path / robot_model.XACRO
    prefix = tmp_path / "prefix"
    (prefix / "share" / "manip_bringup" / "config").mkdir(parents=True)
    monkeypatch.delenv("MANIP_SHARE")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nowhere:{prefix}")
    assert resources.find("config") == prefix / "share" / "manip_bringup" / "config"
    with pytest.raises(FileNotFoundError, match=r"nothing\.yaml not found in any of: /nowhere"):
        resources.find("nothing.yaml")


def test_scene_has_what_the_others_use():
    model = robot_model.build_model(LEFT)
    for camera in ("overview", "operator"):
        assert model.camera(camera).id >= 0
    assert {prop.name for prop in scene.PROPS} == {"cube", "can", "ball", "block"}
    for site in (*robot_model.TIP_FRAMES.values(), robot_model.PALM_FRAME, "tool0"):
        assert model.site(site).bodyid[0] == model.body(site).id
    assert model.opt.timestep == 0.002
    assert len(HAND_JOINTS) + len(ARM_JOINTS) == robot_model.NUM_JOINTS == 22


def _tetrahedron(path, header=""):
    corners = ((0, 0, 0), (0.1, 0, 0), (0, 0.1, 0), (0, 0, 0.1))
    faces = ((1, 3, 2), (1, 2, 4), (1, 4, 3), (2, 3, 4))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        header
        + "".join(f"v {x} {y} {z}\n" for x, y, z in corners)
        + "".join(f"f {a} {b} {c}\n" for a, b, c in faces)
    )


def test_meshes_replace_the_looks_and_nothing_else(tmp_path):
    assets = tmp_path / "universal_robots_ur5e" / "assets"
    _tetrahedron(assets / "shoulder_0.obj", "usemtl URBlue.001\n")
    _tetrahedron(assets / "shoulder_1.obj", "usemtl Black\n")
    _tetrahedron(assets / "shoulder_lid.obj")
    plain = robot_model.build_model(RIGHT, with_scene=False)
    model = robot_model.build_model(RIGHT, with_scene=False, meshes=str(tmp_path))
    assert model.nmesh == 2
    for value in ("body_mass", "body_inertia", "body_pos", "jnt_range"):
        assert np.array_equal(getattr(model, value), getattr(plain, value))
    assert (model.geom_contype != 0).sum() == (plain.geom_contype != 0).sum()
    shoulder = model.geom_bodyid == model.body("shoulder_link").id
    colours = model.geom_rgba[shoulder & (model.geom_type == mujoco.mjtGeom.mjGEOM_MESH)]
    assert colours[0][2] > colours[0][0] + 0.2  # the first part is blue
    assert colours[1].max() == 1.0 and colours[1][:3].max() < 0.2  # the second black
    with pytest.raises(FileNotFoundError, match=r"expected one of .*ur_description"):
        robot_model.load_urdf(RIGHT, meshes=str(tmp_path / "nothing"))
