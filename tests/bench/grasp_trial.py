"""One trial of the grasp benchmark: targets through the controller to the robot in MuJoCo.

The robot, its servos and limits are the suite's own; so is the controller, at its own rate, with
guard and limits. Only clock and transport are left out: targets come a fixed latency after the
exposure they are made from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import mujoco
import numpy as np
from grasp_objects import Shape
from grasp_sequences import RATE
from grasp_setting import HOLD_S, Setting

from manip_control.assist import Assist
from manip_control.assist_config import AssistConfig, GraspIntent
from manip_control.controller import ENGAGED, ControlConfig, Controller
from manip_control.grasp_guide import GraspGuide
from manip_control.grasp_planner import GraspPlanner
from manip_control.guard import Guard, GuardConfig
from manip_control.guide_config import GuideConfig
from manip_core import robot_model, scene
from manip_core.grasp_types import grasp_type
from manip_core.hand import Hand, SeenObject
from manip_core.hand_skeleton import TIPS, Keypoint
from manip_core.primitive import KnownObject
from manip_core.rotation import exponential
from manip_perception.action import ActionDecoder
from manip_retargeting.retargeter import Retargeter, Status

# What is known of the hand up to now, newest last, to what the human is about to do.
IntentSource = Callable[[list[Hand]], GraspIntent | None]

# From exposure to the control node [s]: about the median of the running graph.
LATENCY = 0.045
# Of 125 Hz, in MuJoCo's steps of 2 ms.
_STEPS = 4
_PERIOD = _STEPS * 0.002
# Where the object is is told every so many control periods, as the simulation's node does.
_SEEN = 4
# Success: so much higher [m], all of the last two seconds.
LIFTED, HELD_S = 0.10, 2.0
# The operator waits for the robot to come up for so long [s].
COMES_S = HOLD_S - HELD_S
# An object that rose by this was lifted [m]; one that tips by this is knocked over.
_UP, _TIPPED = 0.03, np.cos(np.radians(45.0))
_GRAVITY = 9.81
OUTCOMES = (
    "success",
    "out_of_reach",
    "never_touched",
    "knocked_over",
    "not_lifted",
    "slipped",
)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What happened in a trial.

    Attributes:
        outcome: One of OUTCOMES.
        reason: Why the controller no longer followed at the end, in words; empty where it did.
        lift: ``(n,)`` height of the object above its start, one a control period [m].
        qpos: ``(n, …)`` MuJoCo's positions, where they were asked for; else None.
    """

    outcome: str
    reason: str
    lift: np.ndarray
    qpos: np.ndarray | None


def oracle(setting: Setting, lead: float) -> IntentSource:
    """A decoder that knows the sequence's own labels, and what the object weighs.

    Grasping from when thumb and fingers touch the object, as a decoder that looks ``lead`` [s]
    ahead says it; the grasp by which fingers touch; the force that holds the weight by friction of
    1 between two sides three times over, and 2 N.
    """
    grasp = setting.grasp
    rows = grasp.keypoints[grasp.taken]
    gaps = np.linalg.norm(rows[TIPS[1:4]] - rows[TIPS[0]], axis=-1)
    force = 2.0 + 3.0 * grasp.shape.mass * _GRAVITY / 2.0

    def intent(frames: list[Hand]) -> GraspIntent:
        stamp = frames[-1].stamp
        return GraspIntent(
            grasping=float(stamp + lead >= setting.touched),
            confidence=1.0,
            grasp_type=grasp.kind,
            aperture=float(gaps.max()),
            force=force,
            stamp=stamp,
        )

    return intent


def decoded(setting: Setting, lead: float, *, shown: bool = True) -> IntentSource:
    """The action decoder that ships, which is shown the operator's hand and, where ``shown``, as if
    seen without error, the object: where it rests until it is taken, then as if fixed to the
    wrist."""
    decoder, camera = ActionDecoder(), robot_model.camera_mount()[0]
    place = np.array([0.0, 0.0, setting.grasp.height]) @ camera
    turn = camera.T @ setting.rotation
    wrists = np.array([hand.keypoints[Keypoint.WRIST] for hand in setting.hands])
    at = min(
        int(np.searchsorted([hand.stamp for hand in setting.hands], setting.taken)), len(wrists) - 1
    )

    def intent(frames: list[Hand]) -> GraspIntent:
        hand = frames[-1]
        carried = wrists[max(len(frames) - 1, at)] - wrists[at]
        thing = SeenObject(
            name="object",
            position=place + carried,
            rotation=turn,
            confidence=1.0,
            size=np.array(setting.shape.size),
        )
        said = decoder.update(hand, hand.stamp, [thing] if shown else [])
        return GraspIntent.ahead(
            lead,
            step=said.step,
            grasping=said.grasping,
            aperture=said.aperture,
            force=said.force,
            grasp_type=grasp_type(said.grasp_type),
            confidence=said.confidence,
            stamp=hand.stamp,
        )

    return intent


@cache
def _robot(shape: Shape) -> mujoco.MjModel:
    """The robot on its table, and the one object."""
    spec = robot_model.robot_spec()
    scene.add_table(spec)
    # As MuJoCo's documentation advises for grasping: what is held by friction does not creep.
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0
    spec.option.noslip_iterations = 5
    shape.add_to(spec, "object")
    for key in spec.keys:
        spec.delete(key)
    spec.worldbody.add_light(pos=[0.2, -0.8, 1.8], dir=[0.2, 0.5, -1.0])
    return spec.compile()


@cache
def _guard() -> Guard:
    """One for all trials: it remembers nothing."""
    return Guard(GuardConfig())


def retarget(setting: Setting) -> list[np.ndarray | None]:
    """The robot's targets ``(22,)`` [rad], one for each of the operator's hands."""
    retargeter = _retargeter()
    retargeter.calibrate(setting.hands)
    retargeter.engage(setting.q, setting.hands[0])
    results = [retargeter.solve(hand, 1 / RATE) for hand in setting.hands]
    retargeter.release()
    return [None if result.status is Status.REJECTED else result.q for result in results]


@cache
def _retargeter() -> Retargeter:
    return Retargeter()


def run_trial(
    setting: Setting,
    targets: list[np.ndarray | None],
    source: IntentSource | None,
    *,
    config: AssistConfig | None = None,
    guide: GuideConfig | None = None,
    skip: int = 0,
    off: tuple[np.ndarray, np.ndarray] | None = None,
    keep: bool = False,
) -> Record:
    """Play the targets to the robot, and see what becomes of the object.

    Args:
        setting: The trial.
        targets: As `retarget` makes them.
        source: What the decoder says; None for no assist.
        config: Of assist.
        guide: Of the guidance onto grasps of the object, whose place is then known; None for none.
        skip: So many grasps that could be done are passed over.
        off: By how much the object is told beside where it is, ``(3,)`` [m], and turned, ``(3,)``
            [rad]; None for where it is.
        keep: Remember MuJoCo's positions.
    """
    model = _robot(setting.shape)
    data = mujoco.MjData(model)
    joints = robot_model.NUM_JOINTS
    data.qpos[:joints] = setting.q
    data.ctrl[:] = setting.q
    data.qpos[joints : joints + 3] = setting.place
    mujoco.mju_mat2Quat(data.qpos[joints + 3 : joints + 7], setting.rotation.ravel())
    mujoco.mj_forward(model, data)
    body = model.body("object").id
    robot_bodies = (model.body_weldid > 0) & (np.arange(model.nbody) != body)
    config = config or AssistConfig(assist=True)
    assist = None if source is None else Assist(config)
    if assist is not None and guide is not None:
        assist = GraspGuide(config, guide)
    controller = Controller(
        ControlConfig(),
        robot_model.JOINT_NAMES,
        robot_model.limits(),
        guard=_guard(),
        assist=assist,
    )
    # What of the object points up.
    up = data.xmat[body, 6:].copy()
    began = data.xpos[body].copy()
    lift, touched, tipped, qpos = [], False, False, []
    now, sent = 100.0, 0
    start = now + 2 * _PERIOD
    stamps = [start + hand.stamp for hand in setting.hands]
    for k in range(round((setting.hands[-1].stamp + LATENCY) / _PERIOD)):
        now += _PERIOD
        controller.on_joint_states(robot_model.JOINT_NAMES, data.qpos[:joints], now)
        if k == 1:
            controller.set_mode(ENGAGED, now)
        while sent < len(stamps) and stamps[sent] + LATENCY <= now:
            _send(controller, setting.hands[: sent + 1], targets[sent], stamps[sent], now, source)
            sent += 1
        if guide is not None and k % _SEEN == 0:
            _show(assist, setting, data, body, skip, off, now)
        command = controller.step(now)
        if command is not None:
            data.ctrl[:] = command.positions
        mujoco.mj_step(model, data, _STEPS)
        lift.append(data.xpos[body, 2] - began[2])
        pairs = model.geom_bodyid[data.contact.geom]
        other = np.where(pairs[:, 0] == body, pairs[:, 1], pairs[:, 0])
        touched |= bool(robot_bodies[other[(pairs == body).any(axis=1)]].any())
        tipped |= bool(lift[-1] < _UP and data.xmat[body, 6:] @ up < _TIPPED)
        # What is not up when the hand has come to rest will not be held for two seconds.
        if now > start + setting.risen + LATENCY + COMES_S and lift[-1] < LIFTED:
            break
        if keep:
            qpos.append(data.qpos.copy())
    lift = np.array(lift)
    return Record(
        outcome=_outcome(lift, touched, tipped),
        reason=controller.reason,
        lift=lift,
        qpos=np.array(qpos) if keep else None,
    )


def _show(
    guide: GraspGuide,
    setting: Setting,
    data: mujoco.MjData,
    body: int,
    skip: int,
    off: tuple[np.ndarray, np.ndarray] | None,
    now: float,
) -> None:
    """Where the object is, as far as is known, and the plan for it where one is wanted."""
    place, turn = data.xpos[body].copy(), data.xmat[body].reshape(3, 3).copy()
    if off is not None:
        place, turn = place + off[0], exponential(off[1]) @ turn
    thing = KnownObject(name="object", primitive=setting.shape.primitive, place=place, turn=turn)
    guide.see([thing], now)
    if (request := guide.wanted()) is not None:
        guide.accept(request, _planner().plan(request, skip), now)


@cache
def _planner() -> GraspPlanner:
    return GraspPlanner()


def _send(
    controller: Controller,
    hands: list[Hand],
    target: np.ndarray | None,
    stamp: float,
    now: float,
    source: IntentSource | None,
) -> None:
    """A frame's target, and what the decoder says to it."""
    if target is not None:
        controller.on_target(robot_model.JOINT_NAMES, target, stamp, 1.0, now)
    intent = None if source is None else source(hands)
    if intent is not None:
        controller.on_intent(_at(intent, stamp), now)


def _at(intent: GraspIntent, stamp: float) -> GraspIntent:
    """The same at another time: hands are stamped from 0 on, the controller's clock is not."""
    return GraspIntent(**{**vars(intent), "stamp": stamp})


def _outcome(lift: np.ndarray, touched: bool, tipped: bool) -> str:
    last = round(HELD_S / _PERIOD)
    if len(lift) > last and (lift[-last:] > LIFTED).all():
        return "success"
    if not touched:
        return "never_touched"
    if lift.max() > _UP:
        return "slipped"
    return "knocked_over" if tipped else "not_lifted"


def draw(setting: Setting, record: Record, moments: list[float]) -> np.ndarray:
    """Pictures side by side ``(h, w, 3)`` uint8 of a kept trial at ``moments`` [s]."""
    model = _robot(setting.shape)
    data = mujoco.MjData(model)
    camera = mujoco.MjvCamera()
    camera.lookat[:] = setting.place + np.array([0.0, 0.0, 0.08])
    camera.distance, camera.azimuth, camera.elevation = 0.75, 130.0, -20.0
    option = mujoco.MjvOption()
    option.geomgroup[scene.COLLISION_GROUP] = 0
    pictures = []
    with mujoco.Renderer(model, 360, 400) as renderer:
        for moment in moments:
            data.qpos[:] = record.qpos[min(int(moment / _PERIOD), len(record.qpos) - 1)]
            mujoco.mj_forward(model, data)
            renderer.update_scene(data, camera, option)
            pictures.append(renderer.render().copy())
    return np.concatenate(pictures, axis=1)
