"""A robot, a can, and an operator whose hand is led onto it, without nodes: in simulated time."""

from functools import cache

import mujoco
import numpy as np

from manip_control.assist_config import AssistConfig, GraspIntent
from manip_control.controller import ENGAGED, ControlConfig, Controller
from manip_control.grasp_guide import GraspGuide
from manip_control.grasp_planner import GraspPlanner
from manip_control.guard import GuardConfig
from manip_control.guide_config import GuideConfig
from manip_control.opposition import Opposition
from manip_control.palm_reach import PalmReach
from manip_core import robot_model, scene
from manip_core.grasp_types import GraspType
from manip_core.primitive import CYLINDER, KnownObject, Primitive
from manip_core.robot_model import JOINT_NAMES, NUM_JOINTS

ASSIST, GUIDE = AssistConfig(assist=True), GuideConfig()
CAN = Primitive(CYLINDER, (0.06, 0.06, 0.1))
PERIOD, SUBSTEPS = 0.008, 4
HAND = slice(6, 22)


@cache
def opposition() -> Opposition:
    return Opposition()


@cache
def planner() -> GraspPlanner:
    return GraspPlanner()


@cache
def reach() -> PalmReach:
    return PalmReach()


@cache
def world(can: Primitive = CAN, others: tuple[tuple[str, Primitive], ...] = ()) -> mujoco.MjModel:
    """The robot, its table, a can of 200 g that does not creep in a grip, and other things."""
    spec = robot_model.robot_spec()
    scene.add_table(spec)
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio, spec.option.noslip_iterations = 10.0, 5
    can.add_to(spec, "can", mass=0.2, condim=4, friction=[1.0, 0.01, 0.0005])
    for name, shape in others:
        shape.add_to(spec, name, mass=0.1, condim=4, friction=[1.0, 0.01, 0.0005])
    for key in spec.keys:
        spec.delete(key)
    return spec.compile()


class Rig:
    """A robot in MuJoCo, a can, and an operator who says where his palm is and how he holds his
    fingers."""

    def __init__(
        self,
        guide: GuideConfig = GUIDE,
        can: Primitive = CAN,
        place: tuple[float, float] = (0.6, -0.1),
        others: dict[str, tuple[Primitive, tuple[float, float]]] | None = None,
    ):
        """``others`` are further things by name, and where they stand [m]."""
        others = others or {}
        self.shapes = {"can": can} | {name: shape for name, (shape, _) in others.items()}
        self.can = can
        self.model = world(can, tuple((name, shape) for name, (shape, _) in others.items()))
        self.data = mujoco.MjData(self.model)
        home = robot_model.home()
        self.data.qpos[:NUM_JOINTS], self.data.ctrl[:] = home, home
        self.data.qpos[NUM_JOINTS : NUM_JOINTS + 3] = (*place, can.half[2])
        for row, (shape, there) in enumerate(others.values(), 1):
            first = NUM_JOINTS + 7 * row
            self.data.qpos[first : first + 3] = (*there, shape.half[2])
        mujoco.mj_forward(self.model, self.data)
        self.body = self.model.body("can").id
        self.controller = Controller.for_robot(
            ControlConfig(), GuardConfig(), assist=ASSIST, guide=guide
        )
        self.guide: GraspGuide = self.controller._assist
        self.now, self.target, self.grasping = 100.0, home.copy(), 0.0
        self.decodes = self.shows = True
        # Something holds the whole robot.
        self.stuck = False
        self.palm, self.rotation = reach().pose(home)
        self.step()
        assert self.controller.set_mode(ENGAGED, self.now)[0]

    def step(self) -> None:
        self.now += PERIOD
        controller, data = self.controller, self.data
        controller.on_joint_states(JOINT_NAMES, data.qpos[:NUM_JOINTS], self.now)
        if self.shows:
            controller.on_objects(self.things(), self.now)
        self.plan()
        if controller.mode == ENGAGED:
            controller.on_target(JOINT_NAMES, self.target, self.now - 0.03, 1.0, self.now)
            intent = GraspIntent(
                grasping=self.grasping,
                confidence=1.0,
                grasp_type=GraspType.PRISMATIC_4_FINGER,
                aperture=0.06,
                force=6.0,
                stamp=self.now - 0.03,
            )
            if self.decodes:
                controller.on_intent(intent, self.now)
        command = controller.step(self.now)
        if command is not None:
            data.ctrl[:] = command.positions
        stood = data.qpos[:NUM_JOINTS].copy()
        mujoco.mj_step(self.model, data, SUBSTEPS)
        if self.stuck:
            # Joint states are never quite the same.
            data.qpos[:NUM_JOINTS], data.qvel[:NUM_JOINTS] = stood + 1e-9, 0.0

    def things(self) -> list[KnownObject]:
        """What stands on the table."""
        found = []
        for name, shape in self.shapes.items():
            body = self.data.body(name)
            turn = body.xmat.reshape(3, 3).copy()
            found.append(KnownObject(name=name, primitive=shape, place=body.xpos.copy(), turn=turn))
        return found

    def plan(self) -> None:
        if (request := self.controller.grasp_wanted()) is not None:
            self.controller.on_grasp(request, planner().plan(request), self.now)

    def go(self, palm: np.ndarray, seconds: float, until: int | None = None) -> None:
        """The operator's palm goes there within the time, its turn and his fingers as they are."""
        start, steps = self.palm.copy(), round(seconds / PERIOD)
        for k in range(steps):
            self.palm = start + (k + 1) / steps * (palm - start)
            q, _ = reach().solve(self.palm, self.rotation, self.target)
            self.target[:6] = q[:6]
            self.step()
            if until is not None and self.guide.phase == until:
                return

    def close(self, start: float, end: float, seconds: float = 0.4) -> None:
        """The operator's fingers go from one width to another."""
        for gap in np.linspace(start, end, round(seconds / PERIOD)):
            self.target[HAND] = opposition().joints(gap)
            self.step()

    def by(self, *way: float, seconds: float) -> None:
        self.go(self.palm + np.array(way), seconds)

    def wait(self, seconds: float, until: int | None = None) -> None:
        self.go(self.palm, seconds, until)

    @property
    def height(self) -> float:
        return float(self.data.xpos[self.body, 2] - self.can.half[2])

    @property
    def over(self) -> np.ndarray:
        """Where the operator's palm has its grip about the can."""
        return self.data.xpos[self.body] - self.rotation @ opposition().centre


class BusyRig(Rig):
    """On a computer that has other things to do: the control loop stands still now and then, and
    plans come late."""

    def __init__(self, seed: int, stall: float, late: float, **rig):
        """Stalls of the loop, and how late plans are, are so long on average [s], twice that at
        most."""
        self._random, self._stall, self._late = np.random.default_rng(seed), stall, late
        self._stalls_at, self._goes_on_at = np.inf, 0.0
        self._plans: list[tuple] = []
        super().__init__(**rig)
        self._stalls_at = self.now

    def step(self) -> None:
        if self.now > self._stalls_at:
            self._goes_on_at = self.now + self._random.uniform(0.0, 2.0 * self._stall)
            self._stalls_at = self._goes_on_at + self._random.exponential(0.3)
        if self.now < self._goes_on_at:
            self.now += PERIOD
            mujoco.mj_step(self.model, self.data, SUBSTEPS)
        else:
            super().step()

    def plan(self) -> None:
        request = self.controller.grasp_wanted()
        if request is not None and not self._plans:
            ready = self.now + self._random.uniform(0.0, 2.0 * self._late)
            self._plans = [(ready, request, planner().plan(request))]
        if self._plans and self.now >= self._plans[0][0]:
            self.controller.on_grasp(*self._plans.pop()[1:], self.now)
