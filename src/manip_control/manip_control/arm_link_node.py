"""The control node's side of the UR driver: its status, its controllers, commands, recovery.

The driver's status topics, ``controller_manager`` and ``dashboard_client`` are spoken to here and
nowhere else. Callbacks run in the node's executor; `recover` waits for answers that this executor
brings, and belongs to another thread.
"""

import threading
from collections.abc import Callable

import rclpy
from builtin_interfaces.msg import Duration
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from manip_control.arm_drivers import Switch, arm_driver, arm_names, checked
from manip_control.arm_status import DriverStatus, SafetyMode
from manip_core import interfaces as topics
from manip_ros.topics import client, message_type, publisher, subscription

# How far ahead of the present a trajectory's only point lies, in control periods: the controller
# must still be on its way there when the next one comes.
_AHEAD = 3.0
_ANSWER_S = 2.0
_SWITCH_TIMEOUT_S = 1


class ArmLink:
    """Knows whether the arm takes commands, and sees to it that it does.

    Attributes:
        wanted: The arm's controller is to be active.
        status: The driver's last words.
    """

    def __init__(
        self,
        node,
        *,
        driver: str,
        prefix: str,
        switch: bool,
        headless: bool,
        rate: float,
        changed: Callable[[], None],
        reject: Callable[[str, str], None],
    ):
        """Speak to the driver in the name of ``node``.

        Args:
            node: The node whose topics and services these are.
            driver: A key of ``ARM_DRIVERS``.
            prefix: The driver's ``tf_prefix``.
            switch: Switch controllers; else the right one is taken to be active.
            headless: The driver was started without a program on the pendant.
            rate: Commands a second.
            changed: Called after each change of the status.
            reject: Called with kind and words for bad input.

        Raises:
            ValueError: No such driver, or a package that it needs is missing.
        """
        self._node = node
        self._driver = arm_driver(driver)
        self._names = list(arm_names(prefix))
        self._headless = headless
        self._ahead = _AHEAD / rate
        self._changed, self._reject = changed, reject
        self.wanted = False
        self.status = DriverStatus()
        self._switch = Switch(self._driver)
        self._manager = None
        if not switch:
            self._switch.done(True)
        elif package := topics.missing(topics.SWITCH_CONTROLLER):
            raise ValueError(
                f"switching the arm's controllers needs {package}, which is not installed: "
                f"apt install ros-$ROS_DISTRO-{package.replace('_', '-')}, or switch by hand and "
                "set switch_controllers:=false"
            )
        else:
            self._manager = client(node, topics.SWITCH_CONTROLLER)
        self._commands = publisher(node, self._driver.command)
        self._services = {
            described: client(node, described)
            for described in (
                topics.UNLOCK_PROTECTIVE_STOP,
                topics.STOP_PROGRAM,
                topics.PLAY_PROGRAM,
                topics.RESEND_PROGRAM,
            )
        }
        self._listen()

    def _listen(self) -> None:
        status = self.status

        def keep(attribute: str, field: str):
            def take(msg) -> None:
                if getattr(status, attribute) != getattr(msg, field):
                    setattr(status, attribute, getattr(msg, field))
                    self._look()

            return take

        subscription(self._node, topics.PROGRAM_RUNNING, self._on_program_running)
        subscription(self._node, topics.SPEED_SCALING, self._on_speed_scaling)
        for topic, attribute in (
            (topics.SAFETY_MODE, "safety_mode"),
            (topics.ROBOT_MODE, "robot_mode"),
        ):
            if package := topics.missing(topic):
                self._node.get_logger().warning(
                    f"{topic.name} is not heard: {package} is not installed "
                    f"(apt install ros-$ROS_DISTRO-{package.replace('_', '-')})"
                )
            else:
                subscription(self._node, topic, keep(attribute, "mode"))

    def _on_program_running(self, msg) -> None:
        # Sent when it changes, and when the driver starts: then its controllers are as at first.
        self.status.program_running = msg.data
        if self._manager is not None:
            self._switch.lost(f"{self._driver.controller} is not active yet")
        self._look()

    def _on_speed_scaling(self, msg) -> None:
        before = self.status.speed_scaling
        try:
            self.status.on_speed_scaling(msg.data)
        except ValueError as error:
            self._reject("speed scaling", str(error))
        if self.status.speed_scaling != before:
            self._changed()

    def _look(self) -> None:
        if self.status.problem and self._manager is not None:
            self._switch.lost(self.status.problem)
        self._changed()

    def on_states_lost(self) -> None:
        """The robot fell silent: whoever speaks next may be a driver that started anew."""
        if self._manager is not None and self._switch.active:
            self._switch.lost(f"{self._driver.controller} may not be active any more")
            self._changed()

    @property
    def problem(self) -> str:
        """Why the arm takes no commands, in words; empty where it does."""
        return self.status.problem or self._switch.problem

    @property
    def word(self) -> str:
        """Driver and controller in a few words, for the operator."""
        return self.status.problem or self._switch.problem or self.status.word

    def tick(self, now: float) -> None:
        """See whether a controller must be asked for; to be called often, with any clock [s]."""
        if not self.wanted or self.status.problem or self._manager is None:
            return
        if self._switch.active:
            return
        if not self._manager.service_is_ready():
            self._switch.problem = f"nobody serves {topics.SWITCH_CONTROLLER.name}"
            return
        request = self._switch.request(now)
        if request is not None:
            future = self._manager.call_async(self._switch_request(*request))
            future.add_done_callback(self._on_switched)

    def _switch_request(self, activate: list[str], deactivate: list[str]):
        kind = message_type(topics.SWITCH_CONTROLLER).Request
        return kind(
            activate_controllers=activate,
            deactivate_controllers=deactivate,
            strictness=kind.BEST_EFFORT,
            activate_asap=True,
            timeout=Duration(sec=_SWITCH_TIMEOUT_S),
        )

    def _on_switched(self, future) -> None:
        try:
            answer = future.result()
            self._switch.done(answer.ok, getattr(answer, "message", ""))
        except Exception as error:
            # Whatever rclpy raises for a call that came to nothing.
            self._switch.done(False, str(error))
        word = self._switch.problem or f"{self._driver.controller} is active"
        self._node.get_logger().info(word)
        self._changed()

    def send(self, positions) -> bool:
        """Send six positions [rad], if the arm takes commands; false where it does not.

        Raises:
            ValueError: Not six finite numbers: that must never reach the driver.
        """
        if self.problem:
            return False
        values = checked(positions).tolist()
        if not self._driver.trajectory:
            self._commands.publish(Float64MultiArray(data=values))
            return True
        ahead = Duration(sec=0, nanosec=int(self._ahead * 1e9))
        point = JointTrajectoryPoint(positions=values, time_from_start=ahead)
        # A stamp of zero means from now on.
        self._commands.publish(JointTrajectory(joint_names=self._names, points=[point]))
        return True

    def recover(self) -> tuple[bool, str]:
        """Bring the driver back after a stop of the arm; done or not, and what happened in words.

        The program is ended before it is started again: it would else go on with what it did when
        it was stopped (``ur_robot_driver/doc/robot_state_helper.rst``).
        """
        stopped = self.status.safety_mode == SafetyMode.PROTECTIVE_STOP
        if not self.status.problem:
            return True, "the arm needs no recovery"
        steps = []
        if not self._headless:
            steps.append((topics.STOP_PROGRAM, False))
        if stopped or self.status.safety_mode is None:
            steps.append((topics.UNLOCK_PROTECTIVE_STOP, stopped))
        start = topics.RESEND_PROGRAM if self._headless else topics.PLAY_PROGRAM
        steps.append((start, True))
        said = []
        for described, needed in steps:
            done, message = self._trigger(described)
            said.append(message)
            if needed and not done:
                return False, f"cannot recover: {message}"
        return True, "; ".join(filter(None, said)) + ": engage when the arm is ready"

    def _trigger(self, described) -> tuple[bool, str]:
        caller = self._services[described]
        if not caller.service_is_ready():
            return False, f"nobody serves {described.name}"
        answer = _wait(caller, caller.srv_type.Request())
        if answer is None:
            return False, f"{described.name} did not answer"
        return answer.success, answer.message

    def give_back(self) -> None:
        """Let the driver's own controller have the arm again, when the node itself has ended.

        The node's context is shut down by the signal that ended it, so this takes one of its own.
        """
        requests = self._switch.back() if self._manager is not None else []
        if not requests:
            return
        context = rclpy.Context()
        rclpy.init(context=context)
        node = rclpy.create_node("give_arm_back", context=context)
        executor = SingleThreadedExecutor(context=context)
        try:
            caller = client(node, topics.SWITCH_CONTROLLER)
            if not caller.wait_for_service(_ANSWER_S):
                return
            for activate, deactivate in requests:
                future = caller.call_async(self._switch_request(activate, deactivate))
                rclpy.spin_until_future_complete(node, future, executor, _ANSWER_S)
                if future.done() and future.result().ok:
                    return
        finally:
            node.destroy_node()
            rclpy.shutdown(context=context)


def _wait(caller, request):
    """The answer to a call, which another thread's executor must bring; ``None`` for none."""
    done = threading.Event()
    future = caller.call_async(request)
    future.add_done_callback(lambda _: done.set())
    return future.result() if done.wait(_ANSWER_S) else None
