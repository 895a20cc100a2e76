"""The control node: targets in, the drivers' own commands out."""

import gc
import os
import struct
import threading
import time
import traceback

import numpy as np
from manip_msgs.msg import TeleopState
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from manip_control.allegro_drivers import hand_driver
from manip_control.arm_link_node import ArmLink
from manip_control.assist_config import AssistConfig, GraspIntent
from manip_control.controller import ENGAGED, HOLD, Command, ControlConfig, Controller
from manip_control.grasp_planner import GraspPlanner
from manip_control.guard import GuardConfig
from manip_control.guide_config import GuideConfig
from manip_control.joint_merge import JointMerge
from manip_control.joystick import CHANGE, ENGAGE, RELEASE, STOP, Joystick, JoystickConfig
from manip_control.loop_config import LoopConfig
from manip_control.timing import Pace, Stages, favour_this_process
from manip_core import interfaces as topics
from manip_core.grasp_types import grasp_type
from manip_core.robot_model import ARM_JOINTS, JOINT_NAMES
from manip_ros.conversions import to_seconds, to_stamp
from manip_ros.diagnostics import Diagnostics
from manip_ros.listener import Listener
from manip_ros.main import run
from manip_ros.parameters import declare, declare_config
from manip_ros.scene_conversions import known_objects
from manip_ros.topics import BlockingService, publisher, service, subscription
from manip_ros.worker import Worker

STATE_PERIOD_S = 0.1
TICK_S = 0.05
PLAN_PERIOD_S = 0.02
# How long an engagement waits for the arm's controller.
ENGAGE_WAIT_S = 2.5
STAGES = ("hand pose", "smoothing", "retargeting", "control")
_ARM = slice(0, len(ARM_JOINTS))
# Encapsulation, then the header's stamp: the same in every message that begins with a header.
_STAMP = struct.Struct("<4xiI")


class ControlNode(Node):
    """Runs a :class:`Controller` at a fixed rate, in a thread of its own.

    The callbacks' thread takes what comes; both hold the lock while they touch the controller.
    """

    def __init__(self):
        super().__init__("control_node")
        config = declare_config(self, ControlConfig)
        self._loop = loop = declare_config(self, LoopConfig)
        joystick = declare_config(self, JoystickConfig)
        guard = declare_config(self, GuardConfig)
        self._assist = declare_config(self, AssistConfig)
        self._guide = declare_config(self, GuideConfig)
        self._side = side = declare(self, "hand", "right")
        self._controller = Controller.for_robot(
            config,
            guard,
            side,
            # Differs from every number given before a restart, so that nobody keeps an old anchor.
            engagement=int(time.time()) % 2**31,
            assist=self._assist,
            guide=self._guide,
        )
        self._lock = threading.Lock()
        self._driver = hand_driver(loop.hand_driver)
        self._hand_order = [JOINT_NAMES.index(name) for name in self._driver.joints]
        self._hand_names = list(self._driver.names)
        self._plain = self._driver.command == topics.HAND_POSITIONS
        self._half_step = 0.5 / config.rate
        self._hand_due = -np.inf
        self._every_step = loop.hand_rate >= config.rate
        self._merge = JointMerge(loop.arm_prefix)
        self._joystick = Joystick(joystick)
        self._stages = Stages(STAGES)
        self._pace = Pace(1.0 / config.rate)
        self._hand = publisher(self, self._driver.command)
        self._states = publisher(self, topics.TELEOP_STATE)
        self._merged = publisher(self, topics.MERGED_STATES) if loop.merged_states else None
        self._diagnostics = Diagnostics(self)
        self._latency = float("nan")
        self._deviation = 0.0, np.nan
        self._published: tuple | None = None
        self._published_at = 0.0
        self._lost = True
        self._engage_until = -np.inf
        self._arm = ArmLink(
            self,
            driver=loop.arm_driver,
            prefix=loop.arm_prefix,
            switch=loop.switch_controllers,
            headless=loop.headless,
            rate=config.rate,
            changed=self._on_arm_changed,
            reject=self._diagnostics.reject,
        )
        self._arm.wanted = config.auto_engage
        self._on_arm_changed()
        self._listen()
        self.create_timer(TICK_S, self._tick)
        self._blocking = [
            BlockingService(self, topics.SET_MODE, self._on_set_mode),
            BlockingService(self, topics.RECOVER, self._on_recover),
        ]
        if problem := favour_this_process(loop.realtime_priority):
            self.get_logger().warning(problem)
        self._worker = Worker(self, self._run, "control loop")
        guided = self._assist.assist and self._guide.guide
        self._planner = Worker(self, self._plan, "grasp planner") if guided else None

    def close(self) -> None:
        """Stop commanding, and let the arm's own controller have it."""
        self._worker.close()
        if self._planner is not None:
            self._planner.close()
        self._listener.close()
        for one in self._blocking:
            one.close()
        if not self._controller.config.auto_engage:
            self._arm.give_back()
        # ruckig's bindings complain of whatever of theirs outlives the interpreter.
        del self._controller

    def _listen(self) -> None:
        heard = dict.fromkeys({topics.JOINT_STATES, self._driver.states}, self._on_joint_states)
        heard |= {
            topics.TARGET: self._on_target,
            topics.OBSERVATION: self._on_observation,
            topics.SMOOTHED: self._on_smoothed,
        }
        if self._assist.assist:
            heard[topics.MANIPULATION] = self._on_manipulation
            if self._guide.guide:
                heard[topics.SCENE_OBJECTS] = self._on_objects
        self._listener = Listener(self, heard, raw=(topics.OBSERVATION,))
        subscription(self, topics.JOY, self._on_joy)
        subscription(self, topics.HEARTBEAT, self._on_heartbeat)
        subscription(self, topics.STOP, self._on_stop)
        service(self, topics.EMERGENCY_STOP, self._on_emergency_stop)
        service(self, topics.RESET_STOP, self._on_reset_stop)

    def _now(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _on_observation(self, raw: bytes) -> None:
        seconds, nanoseconds = _STAMP.unpack_from(raw)
        self._stages.mark(STAGES[0], seconds + 1e-9 * nanoseconds, self._now())

    def _on_smoothed(self, msg) -> None:
        stamp = to_seconds(msg.header.stamp)
        self._stages.mark(STAGES[1], stamp, self._now())
        # Of all coordinates together; the target made of this hand comes under the same stamp.
        deviation = float(np.sqrt(np.mean(np.square(msg.keypoints_std))))
        self._deviation = stamp, deviation if np.isfinite(deviation) else np.inf

    def _on_joint_states(self, msg: JointState) -> None:
        now = self._now()
        try:
            stamp = to_seconds(msg.header.stamp)
            merge = self._merge
            if not merge.update(msg.name, msg.position, msg.velocity, stamp, now):
                return
            if merge.measured_at == -np.inf:
                self._diagnostics.problem(f"no joint states of {', '.join(merge.missing())}")
                return
            self._diagnostics.problem("")
            with self._lock:
                self._controller.on_joint_states(JOINT_NAMES, merge.position, merge.measured_at)
        except ValueError as error:
            self._diagnostics.reject("joint state", str(error))
            return
        if self._merged is not None:
            merged = JointState(
                name=list(JOINT_NAMES),
                position=merge.position.tolist(),
                velocity=merge.velocity.tolist(),
            )
            merged.header.stamp = msg.header.stamp
            self._merged.publish(merged)

    def _on_target(self, msg) -> None:
        now, stamp = self._now(), to_seconds(msg.header.stamp)
        self._stages.mark(STAGES[2], stamp, now)
        deviation = self._deviation[1] if self._deviation[0] == stamp else np.nan
        try:
            with self._lock:
                self._controller.on_target(
                    msg.names, msg.positions, stamp, msg.confidence, now, deviation
                )
        except ValueError as error:
            self._diagnostics.reject("target", str(error))

    def _on_manipulation(self, msg) -> None:
        try:
            intent = GraspIntent.ahead(
                self._assist.intent_lead,
                step=msg.step,
                grasping=msg.grasping,
                aperture=msg.aperture,
                force=msg.force,
                grasp_type=grasp_type(msg.grasp_type),
                confidence=msg.confidence,
                stamp=to_seconds(msg.header.stamp),
            )
            with self._lock:
                self._controller.on_intent(intent, self._now())
        except ValueError as error:
            self._diagnostics.reject("manipulation", str(error))

    def _on_objects(self, msg) -> None:
        # Only what is known in the robot's own frame; what a camera sees is before the operator.
        if msg.source != msg.KNOWN or msg.header.frame_id != topics.WORLD_FRAME:
            return
        try:
            things = known_objects(msg)
        except ValueError as error:
            self._diagnostics.reject("scene objects", str(error))
            return
        with self._lock:
            self._controller.on_objects(things, self._now())

    def _plan(self, stop: threading.Event) -> None:
        """Plan the grasps that are wanted: outside of the control loop, for it takes longer."""
        planner = GraspPlanner(self._side)
        while not stop.wait(PLAN_PERIOD_S):
            request = self._controller.grasp_wanted()
            if request is None:
                continue
            grasp = planner.plan(request)
            with self._lock:
                self._controller.on_grasp(request, grasp, self._now())

    def _on_arm_changed(self) -> None:
        status = self._arm.status
        with self._lock:
            self._controller.on_arm_status(
                program_running=not self._arm.problem,
                safety_mode_ok=status.safe,
                speed_scaling=status.speed_scaling,
            )

    def _on_heartbeat(self, _msg) -> None:
        with self._lock:
            self._controller.on_heartbeat(self._now())

    def _on_joy(self, msg) -> None:
        self._obey(self._joystick.update(msg.buttons, time.monotonic()))

    def _obey(self, wishes: list[str]) -> None:
        for wish in wishes:
            if wish == STOP:
                self._stop("button")
            elif wish == RELEASE or (wish == CHANGE and self._controller.mode == ENGAGED):
                self._set_mode(HOLD)
            elif wish in (ENGAGE, CHANGE):
                self._arm.wanted = True
                self._engage_until = time.monotonic() + ENGAGE_WAIT_S

    def _on_stop(self, msg) -> None:
        if msg.data:
            self._stop(topics.STOP.name)

    def _stop(self, who: str) -> None:
        self._engage_until = -np.inf
        with self._lock:
            self._controller.stop(who)
        self._publish_state()

    def _on_emergency_stop(self, _request, response):
        self._stop("service")
        response.success, response.message = True, self._controller.reason
        return response

    def _on_reset_stop(self, _request, response):
        with self._lock:
            response.success, response.message = self._controller.reset_stop()
        self._publish_state()
        return response

    def _on_set_mode(self, request, response):
        if request.mode == ENGAGED:
            # The arm's controller first: its answer comes by another thread.
            self._arm.wanted = True
            until = time.monotonic() + ENGAGE_WAIT_S
            while self._arm.problem and not self._arm.status.problem and time.monotonic() < until:
                time.sleep(TICK_S / 2)
        response.success, response.message = self._set_mode(request.mode)
        return response

    def _on_recover(self, _request, response):
        response.success, response.message = self._arm.recover()
        return response

    def _set_mode(self, mode: int) -> tuple[bool, str]:
        if mode == HOLD:
            self._engage_until = -np.inf
        elif self._arm.problem:
            return False, f"cannot engage: {self._arm.problem}"
        with self._lock:
            done, message = self._controller.set_mode(mode, self._now())
        self._publish_state()
        return done, message

    def _tick(self) -> None:
        now = time.monotonic()
        lost = self._controller.states_lost(self._now())
        if lost and not self._lost:
            self._arm.on_states_lost()
        self._lost = lost
        self._arm.tick(now)
        self._obey(self._joystick.silence(now))
        if now < self._engage_until and not self._arm.problem and self._set_mode(ENGAGED)[0]:
            self._engage_until = -np.inf
        state = self._state()
        if state != self._published or self._now() - self._published_at > STATE_PERIOD_S:
            self._publish_state()

    def _run(self, stop: threading.Event) -> None:
        # What is there now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        try:
            while not stop.is_set():
                self._pace.wait()
                with self._lock:
                    command = self._controller.step(self._now())
                if command is not None:
                    self._send(command)
        except Exception:
            if stop.is_set() or not self.context.ok():
                return
            # Without its loop the node would look alive: whoever watches it is to start it anew.
            self.get_logger().fatal(traceback.format_exc())
            os._exit(1)

    def _send(self, command: Command) -> None:
        if command.arm:
            self._arm.send(command.positions[_ARM])
        now = self._now()
        if self._every_step or now >= self._hand_due - self._half_step:
            # Every so many steps on average, and no making good for a pause.
            self._hand_due = max(self._hand_due, now - self._half_step) + 1.0 / self._loop.hand_rate
            positions = command.positions[self._hand_order].tolist()
            if self._plain:
                self._hand.publish(Float64MultiArray(data=positions))
            else:
                hand = JointState(name=self._hand_names, position=positions)
                # The exposure, so that whoever listens knows how old the command's cause is.
                hand.header.stamp = to_stamp(now if command.stamp is None else command.stamp)
                self._hand.publish(hand)
        if command.fresh:
            now = self._now()
            self._latency = now - command.stamp
            self._stages.mark(STAGES[3], command.stamp, now)

    def _state(self) -> tuple:
        controller = self._controller
        return (
            controller.mode,
            controller.reason,
            controller.engagement,
            controller.stopped,
            self._arm.word,
        )

    def _publish_state(self) -> None:
        before = self._published
        mode, reason, engagement, stopped, word = self._published = self._state()
        if before is None or (mode, engagement, stopped) != (before[0], before[2], before[3]):
            did = "engaged" if mode == ENGAGED else "holding"
            self.get_logger().info(f"{did}: {reason}" if reason else did)
        if before is None or word != before[4]:
            self.get_logger().info(f"arm: {word}")
        self._published_at = self._now()
        controller = self._controller
        msg = TeleopState(
            mode=mode,
            holding=mode == ENGAGED and bool(reason),
            reason=reason,
            stopped=stopped,
            speed=float(min(controller.speed)),
            robot_ready=not self._arm.problem,
            robot=word,
            warnings=list(controller.warnings),
            engagement=engagement,
            latency=self._latency,
            rejected=controller.rejected,
        )
        msg.header.stamp = to_stamp(self._published_at)
        self._states.publish(msg)
        values = self._diagnostics.values
        values["latency [ms]"] = self._latency * 1e3
        values["fastest joint [rad/s]"] = float(np.abs(controller.limiter.velocity).max())
        values["arm"] = word
        if self._assist.assist:
            values["assist"] = "holding" if controller.assisting else "ready"
            values["guidance"] = "leading" if controller.guiding else "ready"
        values["repeated joint states"] = self._merge.repeated
        values["period [ms]"] = self._pace.period * 1e3
        values["jitter p99 [ms]"] = self._pace.jitter() * 1e3
        values["periods left out"] = self._pace.missed
        values.update(self._stages.report())


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(ControlNode, args)
