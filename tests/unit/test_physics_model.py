"""The model for differentiable physics: the suite's hand and arm, with fewer contacts."""

import mujoco
import numpy as np
import pytest

from manip_core.robot_model import (
    HAND_JOINTS,
    JOINT_NAMES,
    PALM_FRAME,
    TIP_FRAMES,
    TIP_RADIUS,
    build_model,
    home,
)
from manip_physics.model import PhysicsConfig, Thing, build, servo_names
from manip_physics.objective import distance
from manip_physics.scenes import BAR_SIZE, bar_grasp, free_hand


def test_the_whole_robot_weighs_and_moves_as_the_simulated_one():
    ours, theirs = build(PhysicsConfig()), build_model(with_scene=False)
    assert servo_names(PhysicsConfig()) == JOINT_NAMES
    for name in JOINT_NAMES:
        a, b = ours.joint(name), theirs.joint(name)
        assert (a.range == b.range).all() and ours.dof_armature[a.dofadr[0]] > 0
        assert ours.dof_armature[a.dofadr[0]] == theirs.dof_armature[b.dofadr[0]]
        one, other = ours.actuator(name), theirs.actuator(name)
        assert (one.gainprm == other.gainprm).all() and (one.biasprm == other.biasprm).all()
        assert (one.forcerange == other.forcerange).all()
    # What the arm's last joint carries, with what was fused to it, and how it is spread.
    moved = [(m.jnt_bodyid[m.joint("wrist_3_joint").id], m) for m in (ours, theirs)]
    masses = [m.body_subtreemass[body] for body, m in moved]
    assert masses[0] == pytest.approx(masses[1], rel=1e-12)
    tensors = []
    for model in (ours, theirs):
        data = mujoco.MjData(model)
        data.qpos[:] = home()
        mujoco.mj_forward(model, data)
        full = np.empty((model.nv, model.nv))
        mujoco.mj_fullM(model, data, full)
        tensors.append(full)
    np.testing.assert_allclose(tensors[0], tensors[1], rtol=1e-6, atol=1e-9)


def test_a_mounted_hand_is_where_it_was_mounted_and_has_its_own_joints_alone():
    turn = np.array([0.5, 0.5, -0.5, 0.5])
    config = PhysicsConfig(mount=(0.1, 0.2, 0.3, *turn), table=False)
    model = build(config)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    palm, expected = data.site(PALM_FRAME), np.empty(9)
    mujoco.mju_quat2Mat(expected, turn)
    np.testing.assert_allclose(palm.xpos, [0.1, 0.2, 0.3], atol=1e-12)
    np.testing.assert_allclose(palm.xmat, expected, atol=1e-12)
    assert model.nq == len(HAND_JOINTS) == model.nu
    assert servo_names(config) == tuple(model.actuator(i).name for i in range(model.nu))


def test_a_carriage_goes_straight_up_however_the_palm_is_turned():
    scene = bar_grasp(0.01, carriage=True)
    model = build(scene.config)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    before = data.site(PALM_FRAME).xpos.copy()
    data.qpos[model.joint("carriage").qposadr[0]] = 0.1
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.site(PALM_FRAME).xpos - before, [0, 0, 0.1], atol=1e-12)


def test_only_hand_and_thing_and_table_touch():
    """Fingers crossed and laid into the table: what touches is what was chosen to."""
    scene = bar_grasp(0.0)
    model = build(scene.config)
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(200):
        low, high = model.jnt_range[:16].T
        data.qpos[:16] = rng.uniform(low, high)
        data.qpos[18] = 0.02 + 0.02 * rng.random()
        mujoco.mj_forward(model, data)
        for contact in data.contact:
            names = (model.geom(g).name for g in contact.geom)
            seen.add(frozenset(name.rsplit("_", 1)[-1] for name in names))
    ends = {frozenset(pair) for pair in (("tip", "thing"), ("distal", "thing"), ("tip", "table"))}
    assert seen <= ends | {frozenset(("table", "thing"))}
    assert frozenset(("tip", "thing")) in seen


@pytest.mark.parametrize("clearance", [-0.002, 0.003, 0.02])
def test_a_grasp_begins_as_far_from_the_bar_as_was_asked(clearance):
    scene = bar_grasp(clearance)
    model = build(scene.config)
    data = mujoco.MjData(model)
    data.qpos[:16] = scene.posture
    mujoco.mj_kinematics(model, data)
    tips = np.array([data.site(name).xpos for name in TIP_FRAMES.values()])
    gaps = distance(scene.config.thing, data.qpos[16:], tips) - TIP_RADIUS
    # Thumb and fingers share what there is; the bar is round, the fingers not quite level.
    assert np.mean([gaps[:3].mean(), gaps[3]]) == pytest.approx(clearance, abs=1e-3)
    assert (tips[:, 2] > TIP_RADIUS).all() and data.qpos[18] == BAR_SIZE[0]


def test_a_free_hand_touches_nothing():
    scene = free_hand()
    model = build(scene.config)
    data = mujoco.MjData(model)
    data.qpos[:] = scene.posture
    mujoco.mj_forward(model, data)
    assert data.ncon == 0 and data.nefc == 0


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"mount": (0.0, 0.0)}, "7 numbers"),
        ({"carriage": True}, "needs a mount"),
        ({"touching": ("nail",)}, "must name"),
        ({"timestep": 0.1}, "timestep"),
        ({"contact_onset": 1.0}, "contact_onset"),
        ({"side": "both"}, "side"),
    ],
)
def test_wrong_settings_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        PhysicsConfig(**wrong)


@pytest.mark.parametrize(
    "wrong, said",
    [({"kind": "cone"}, "must be one of"), ({"size": (1, 2)}, "1 positive"), ({"mass": 0}, "mass")],
)
def test_impossible_things_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Thing(**wrong)
