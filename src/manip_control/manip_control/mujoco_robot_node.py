"""The MuJoCo robot node: speaks the topics and services of the UR and Allegro drivers."""

import threading
import time

import mujoco
from manip_msgs.msg import SceneObject, SceneObjects
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64

from manip_control.allegro_drivers import hand_driver
from manip_control.arm_drivers import ARM_DRIVERS, arm_names
from manip_control.emulated_arm import ArmConfig
from manip_control.faults import Fault, schedule
from manip_control.mujoco_robot import MujocoRobot, RealTime, RobotConfig, State
from manip_core import interfaces as topics
from manip_core.primitive import KINDS
from manip_core.robot_model import ARM_JOINTS, JOINT_NAMES
from manip_ros.conversions import image_to_msg, to_stamp
from manip_ros.diagnostics import Diagnostics
from manip_ros.listener import Listener
from manip_ros.main import run
from manip_ros.parameters import declare_config
from manip_ros.topics import message_type, publisher, service
from manip_ros.worker import Worker

OBJECT_PERIOD_S = 0.05
# The driver sends its speed scaling a hundred times a second; changes are sent at once here too.
STATUS_PERIOD_S = 0.05
# Slips of real time are told at most so often.
REPORT_PERIOD_S = 5.0
IMAGE_SIZE = (640, 480)
SCHEDULE_S = 86400.0


class MujocoRobotNode(Node):
    """Steps a :class:`MujocoRobot` in a thread of its own, off the callbacks."""

    def __init__(self):
        super().__init__("mujoco_robot_node")
        self.config = config = declare_config(self, RobotConfig)
        self._switchable = not topics.missing(topics.SWITCH_CONTROLLER)
        # Where nobody can ask for a controller, the one for streams is there from the start.
        start = ArmConfig().active if self._switchable else ARM_DRIVERS["forward"].controller
        arm = ArmConfig(max_jump=config.max_jump, unlock_after=config.unlock_after, active=start)
        self.robot = MujocoRobot(config, arm)
        self._driver = hand_driver(config.hand_driver)
        self._names = [*arm_names(config.arm_prefix), *self._driver.names]
        self._order = [JOINT_NAMES.index(name) for name in (*ARM_JOINTS, *self._driver.joints)]
        self._states = publisher(self, topics.JOINT_STATES)
        together = self._driver.states == topics.JOINT_STATES
        self._hand_states = self._states if together else publisher(self, self._driver.states)
        self._objects = publisher(self, topics.SCENE_OBJECTS)
        self._images = publisher(self, topics.ROBOT_IMAGE)
        self._diagnostics = Diagnostics(self)
        self._serve_driver()
        service(self, topics.RESET_ROBOT, self._on_reset)
        service(self, topics.SET_FAULT, self._on_set_fault)
        self.create_timer(OBJECT_PERIOD_S, self._publish_objects)
        self._schedule = (
            schedule(config.fault_seed, SCHEDULE_S, gap=config.fault_gap)
            if config.fault_seed >= 0
            else []
        )
        self._began = time.time()
        self._pace = RealTime(self.robot.period, config.max_slip)
        self._workers = [
            Worker(self, self._physics, "physics"),
            Worker(self, self._render, "render"),
        ]

    def close(self) -> None:
        """Stop stepping."""
        self._listener.close()
        for worker in self._workers:
            worker.close()

    def _serve_driver(self) -> None:
        """Topics and services of the drivers."""
        self._status = {
            topic: publisher(self, topic)
            for topic in (
                topics.PROGRAM_RUNNING,
                topics.SAFETY_MODE,
                topics.ROBOT_MODE,
                topics.SPEED_SCALING,
            )
            if not topics.missing(topic)
        }
        self._said: dict[object, object] = {}
        self._status_due = 0.0
        takers = {}
        for driver in ARM_DRIVERS.values():
            take = self._trajectory_taker if driver.trajectory else self._position_taker
            takers[driver.command] = take(driver.controller)
        plain = self._driver.command == topics.HAND_POSITIONS
        take_hand = self._on_hand_positions if plain else self._on_hand
        takers[self._driver.command] = take_hand
        arm, now = self.robot.arm, time.time
        for described, act in (
            (topics.UNLOCK_PROTECTIVE_STOP, lambda: arm.unlock(now())),
            (topics.STOP_PROGRAM, lambda: (self.robot.stop_program() or True, "stopped")),
            (topics.PLAY_PROGRAM, arm.play),
            (topics.RESEND_PROGRAM, arm.play),
        ):
            service(self, described, self._trigger(act))
        self._listener = Listener(self, takers)
        if self._switchable:
            self._strict = message_type(topics.SWITCH_CONTROLLER).Request.STRICT
            service(self, topics.SWITCH_CONTROLLER, self._on_switch)

    def _position_taker(self, controller: str):
        return lambda msg: self._send("arm command", self.robot.command_arm, controller, msg.data)

    def _trajectory_taker(self, controller: str):
        def take(msg) -> None:
            names = arm_names(self.config.arm_prefix)
            if sorted(msg.joint_names) != sorted(names) or not msg.points:
                self._diagnostics.reject(
                    "arm command", f"trajectory must name {names} and have points, got {msg}"
                )
                return
            last = msg.points[-1]
            order = [msg.joint_names.index(name) for name in names]
            seconds = last.time_from_start.sec + 1e-9 * last.time_from_start.nanosec
            positions = [last.positions[i] for i in order]
            self._send("arm command", self.robot.command_arm, controller, positions, seconds)

        return take

    def _on_hand(self, msg: JointState) -> None:
        self._send("hand command", self._command_hand, msg.name, msg.position)

    def _on_hand_positions(self, msg) -> None:
        self._send("hand command", self._command_hand, (), msg.data)

    def _command_hand(self, names, positions) -> None:
        self.robot.command_hand(*self._driver.read(names, positions))

    def _send(self, kind: str, act, *arguments) -> None:
        """Put a command on the link to the robot."""
        with self.robot.lock:
            self.robot.commands.send((kind, act, arguments))
        self._receive()

    def _receive(self) -> None:
        """Carry out the commands that have arrived."""
        with self.robot.lock:
            for kind, act, arguments in self.robot.commands.due():
                try:
                    act(*arguments)
                except ValueError as error:
                    self._diagnostics.reject(kind, str(error))

    def _trigger(self, act):
        def answer(_request, response):
            with self.robot.lock:
                response.success, response.message = act()
            self._publish_status()
            return response

        return answer

    def _on_switch(self, request, response):
        with self.robot.lock:
            ok, message = self.robot.arm.switch(
                request.activate_controllers,
                request.deactivate_controllers,
                strict=request.strictness == self._strict,
            )
        response.ok = ok
        # Not there before Jazzy.
        if hasattr(response, "message"):
            response.message = message
        self.get_logger().info(f"controller: {self.robot.arm.active or 'none'} {message}".rstrip())
        return response

    def _on_reset(self, _request, response):
        self.robot.reset()
        response.success, response.message = True, "robot and objects are back at the start"
        return response

    def _on_set_fault(self, request, response):
        if not request.active:
            response.success, response.message = self.robot.end(request.fault)
            return response
        try:
            fault = Fault(
                kind=request.fault,
                amount=request.amount,
                duration=request.duration,
                joint=request.joint,
            )
        except ValueError as error:
            response.success, response.message = False, str(error)
            return response
        self._begin(fault)
        response.success, response.message = True, f"{fault.kind} begins"
        return response

    def _begin(self, fault: Fault) -> None:
        self.robot.begin(fault, time.time())
        self.get_logger().info(f"fault: {fault.kind} {fault.size:g} {fault.joint}".rstrip())

    def _physics(self, stop: threading.Event) -> None:
        reported = quiet_until = 0.0
        while not stop.is_set():
            now = time.time()
            while self._schedule and now - self._began >= self._schedule[0].at:
                self._begin(self._schedule.pop(0).fault)
            self._receive()
            state, ended = self.robot.advance(now)
            for fault in ended:
                self.get_logger().info(f"fault: {fault.kind} ended")
            self.robot.states.send(state)
            for arrived in self.robot.states.due():
                self._publish_state(arrived)
            if ended or now >= self._status_due:
                self._status_due = now + STATUS_PERIOD_S
                self._publish_status()
            self._pace.wait()
            if self._pace.lost > reported and time.monotonic() > quiet_until:
                reported, quiet_until = self._pace.lost, time.monotonic() + REPORT_PERIOD_S
                self.get_logger().warning(
                    f"slower than real time: {reported:.2f} s given up so far, "
                    f"factor {self._pace.factor:.3f} over the last second"
                )
            values = self._diagnostics.values
            values["real-time factor"] = self._pace.factor
            values["time given up [s]"] = self._pace.lost
            values["faults"] = ", ".join(self.robot.faults.kinds)
            values["ignored arm commands"] = self.robot.arm.ignored

    def _publish_state(self, state: State) -> None:
        if not self.config.apart:
            self._states.publish(_joint_state(list(JOINT_NAMES), state, slice(None)))
            return
        arm, n = self._order[: len(ARM_JOINTS)], len(ARM_JOINTS)
        self._states.publish(_joint_state(self._names[:n], state, arm))
        self._hand_states.publish(_joint_state(self._names[n:], state, self._order[n:]))

    def _publish_status(self) -> None:
        arm = self.robot.arm
        with self.robot.lock:
            said = {
                topics.PROGRAM_RUNNING: arm.program_running,
                topics.SAFETY_MODE: int(arm.safety_mode),
                topics.ROBOT_MODE: int(arm.robot_mode),
                topics.SPEED_SCALING: 100.0 * arm.speed_scaling,
            }
        for topic, out in self._status.items():
            value = said[topic]
            if topic == topics.SPEED_SCALING:
                out.publish(Float64(data=value))
            elif self._said.get(topic) != value:
                kind = message_type(topic)
                out.publish(Bool(data=value) if kind is Bool else kind(mode=value))
                self._said[topic] = value

    def _publish_objects(self) -> None:
        msg = SceneObjects()
        msg.header.stamp = self.get_clock().now().to_msg()
        msg.header.frame_id = topics.WORLD_FRAME
        for state in self.robot.objects():
            item = SceneObject(name=state.name, confidence=1.0)
            position, orientation = item.pose.position, item.pose.orientation
            position.x, position.y, position.z = map(float, state.position)
            orientation.w, orientation.x, orientation.y, orientation.z = map(
                float, state.quaternion
            )
            item.size.x, item.size.y, item.size.z = map(float, state.size)
            item.shape = KINDS.index(state.shape) + 1 if state.shape else SceneObject.UNKNOWN
            msg.objects.append(item)
        self._objects.publish(msg)

    def _render(self, stop: threading.Event) -> None:
        renderer = None
        data = mujoco.MjData(self.robot.model)
        while not stop.wait(1.0 / self.config.image_rate):
            if not self._images.get_subscription_count():
                continue
            if renderer is None:
                try:
                    renderer = mujoco.Renderer(self.robot.model, IMAGE_SIZE[1], IMAGE_SIZE[0])
                except Exception as error:
                    # No GL on this machine: physics goes on without pictures.
                    self.get_logger().error(f"cannot render: {error}; set MUJOCO_GL=egl or osmesa")
                    return
            self.robot.copy_state(data)
            renderer.update_scene(data, camera="overview")
            picture = renderer.render()[:, :, ::-1]
            self._images.publish(image_to_msg(picture, to_stamp(time.time()), "overview"))


def _joint_state(names: list[str], state: State, order) -> JointState:
    msg = JointState(
        name=names,
        position=state.position[order].tolist(),
        velocity=state.velocity[order].tolist(),
        effort=state.effort[order].tolist(),
    )
    msg.header.stamp = to_stamp(state.stamp)
    return msg


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(MujocoRobotNode, args)
