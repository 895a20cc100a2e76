"""MJX against MuJoCo and its gradients against central differences; where JAX is installed."""

from dataclasses import fields, replace

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("mujoco.mjx")

from manip_physics import tasks
from manip_physics.gradient_check import directions, relative_error, slopes
from manip_physics.health import NotFinite
from manip_physics.objective import Weights, terms
from manip_physics.plain import PlainRollouts
from manip_physics.precision import set_up
from manip_physics.rollout import Physics

set_up()


class Setting:
    """A scene, controls that close the hand a little, and a loss with every term in it."""

    def __init__(self, scene):
        self.physics = Physics(scene.config)
        self.begin = self.physics.start(scene.posture)
        self.slope = tasks.slope_for(scene)
        drive = np.tile([0.0, 0.05, 0.05, 0.02], 4)
        if scene.config.carriage:
            drive = np.append(drive, 0.01)
        ramp = np.linspace(0.0, 1.0, tasks.ROWS)[:, None]
        self.controls = scene.posture + ramp * drive
        plain = PlainRollouts(self.physics)
        self.plain = plain.motions(self.begin, self.controls[None], tasks.HOLD)
        plain.close()
        known = {field.name for field in fields(Weights)}
        weights = Weights(**dict.fromkeys(known & set(self.slope.names), 1.0))
        tips = self.plain.tips[0, :1] + np.array([0.0, 0.01, 0.01])
        self.goal = tasks.goal(self.physics, weights, np.tile(tips, (tasks.ROWS, 1, 1)), 0.03)

    def value(self, controls):
        return self.slope(self.physics, self.goal, self.begin, controls)[0]

    def gradient(self, controls):
        return self.slope(self.physics, self.goal, self.begin, controls)[1]


@pytest.fixture(scope="module")
def free():
    return Setting(tasks.hand())


@pytest.fixture(scope="module")
def held():
    return Setting(tasks.bar(-0.002))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["free", "held"])
def test_mjx_does_what_mujoco_does(name, request):
    setting = request.getfixturevalue(name)
    _, _, states, motion = setting.slope.whole(
        setting.physics, setting.goal, setting.begin, setting.controls
    )
    # MJX rounds the foot of a point on a capsule's axis: contacts differ by some 10 um.
    for key, tolerance in (("positions", 5e-3), ("tips", 5e-4), ("thing", 5e-3)):
        np.testing.assert_allclose(
            getattr(motion, key), getattr(setting.plain, key)[0], atol=tolerance, err_msg=key
        )
    moved = np.abs(np.asarray(states.qpos[-1]) - np.asarray(setting.begin.qpos)).max()
    assert moved > 0.02
    ours, theirs = (
        terms(setting.goal, m, setting.slope.names)
        for m in (type(motion)(*map(np.asarray, motion)), setting.plain)
    )
    assert ours["reach"] == pytest.approx(theirs["reach"][0], rel=0.02)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name, most", [("free", 1e-3), ("held", 5e-2)])
def test_gradients_are_central_differences(name, most, request):
    """Along random directions, of all controls at once."""
    setting = request.getfixturevalue(name)
    gradient = setting.gradient(setting.controls)
    along = directions(gradient.shape, 6)
    truth = slopes(setting.value, setting.controls, along, 1e-5)
    assert relative_error((along * gradient).sum((1, 2)), truth) < most


@pytest.mark.timeout(900)
def test_weights_and_contacts_need_no_other_compilation(held):
    """What is an argument of the compiled function is indeed heard."""
    heavy = replace(held.goal, weights=replace(held.goal.weights, lift=3.0))
    light = replace(held.goal, weights=replace(held.goal.weights, lift=0.0))
    values = [
        held.slope(held.physics, goal, held.begin, held.controls)[0]
        for goal in (light, held.goal, heavy)
    ]
    lift = values[1] - values[0]
    assert lift > 0 and values[2] - values[0] == pytest.approx(3.0 * lift)
    stiff = Setting(tasks.bar(-0.002, contact_onset=0.9))
    stiff.slope = held.slope
    assert len(held.slope._compiled) == 1
    assert stiff.value(held.controls) != pytest.approx(values[1], rel=1e-6)
    assert len(held.slope._compiled) == 1


@pytest.mark.timeout(900)
def test_a_loss_in_simulation_reaches_the_offsets_weights():
    """The lesson of ``manip train physics=mjx``: down its gradient the grasp gets better."""
    torch = pytest.importorskip("torch")
    from manip_physics.offsets import GraspOffsets, Lesson, grasps

    torch.manual_seed(0)
    lesson, network = Lesson(), GraspOffsets().double()
    retargeted = torch.as_tensor(grasps(np.array([0.004]), lesson.scene))
    assert torch.equal(lesson.controls(network, retargeted), retargeted)
    optimiser, losses = torch.optim.Adam(network.parameters(), lr=3e-3), []
    for _ in range(8):
        loss = lesson.loss(lesson.controls(network, retargeted)[0])
        optimiser.zero_grad()
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in network.parameters())
        optimiser.step()
        losses.append(float(loss.detach()))
    assert min(losses) < 0.9 * losses[0]


@pytest.mark.timeout(900)
def test_a_control_that_is_no_number_is_named(free):
    controls = free.controls.copy()
    controls[2, 5] = np.nan
    with pytest.raises(NotFinite, match="control of mfj1 is nan at control 2"):
        free.value(controls)


def test_a_posture_of_another_robot_is_refused():
    with pytest.raises(ValueError, match=r"posture must be \(16,\), got \(22,\)"):
        Physics(tasks.hand().config).start(np.zeros(22))
