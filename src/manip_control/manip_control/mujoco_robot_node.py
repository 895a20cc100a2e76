"""The MuJoCo robot node: speaks the topics of the UR and Allegro drivers."""

import threading
import time

import mujoco
from manip_msgs.msg import SceneObject, SceneObjects
from rclpy.node import Node
from sensor_msgs.msg import JointState

from manip_control.allegro_drivers import our_names
from manip_control.mujoco_robot import MujocoRobot, RealTime, RobotConfig
from manip_core.interfaces import (
    ARM_COMMAND,
    HAND_COMMAND,
    JOINT_STATES,
    RESET_ROBOT,
    ROBOT_IMAGE,
    SCENE_OBJECTS,
    WORLD_FRAME,
)
from manip_core.robot_model import ARM_JOINTS, JOINT_NAMES
from manip_ros.conversions import image_to_msg, to_stamp
from manip_ros.diagnostics import Diagnostics
from manip_ros.main import run
from manip_ros.parameters import declare_config
from manip_ros.topics import publisher, service, subscription
from manip_ros.worker import Worker

OBJECT_PERIOD_S = 0.05
# Slips of real time are told at most so often.
REPORT_PERIOD_S = 5.0
IMAGE_SIZE = (640, 480)


class MujocoRobotNode(Node):
    """Steps a :class:`MujocoRobot` in a thread of its own, off the callbacks."""

    def __init__(self):
        super().__init__("mujoco_robot_node")
        self.config = declare_config(self, RobotConfig)
        self.robot = MujocoRobot(self.config)
        # Commands are taken in any driver's naming: the names tell which.
        self._our_names = our_names()
        self._states = publisher(self, JOINT_STATES)
        self._objects = publisher(self, SCENE_OBJECTS)
        self._images = publisher(self, ROBOT_IMAGE)
        self._diagnostics = Diagnostics(self)
        subscription(self, ARM_COMMAND, self._on_arm)
        subscription(self, HAND_COMMAND, self._on_hand)
        service(self, RESET_ROBOT, self._on_reset)
        self.create_timer(OBJECT_PERIOD_S, self._publish_objects)
        self._pace = RealTime(
            self.robot.steps * self.robot.model.opt.timestep, self.config.max_slip
        )
        self._workers = [
            Worker(self, self._physics, "physics"),
            Worker(self, self._render, "render"),
        ]

    def close(self) -> None:
        """Stop stepping."""
        for worker in self._workers:
            worker.close()

    def _on_arm(self, msg) -> None:
        self._command("arm command", ARM_JOINTS, msg.data)

    def _on_hand(self, msg: JointState) -> None:
        names = tuple(self._our_names.get(name, name) for name in msg.name)
        self._command("hand command", names, msg.position)

    def _command(self, kind: str, names, positions) -> None:
        try:
            self.robot.command(names, positions)
        except ValueError as error:
            self._diagnostics.reject(kind, str(error))

    def _on_reset(self, _request, response):
        self.robot.reset()
        response.success, response.message = True, "robot and objects are back at the start"
        return response

    def _physics(self, stop: threading.Event) -> None:
        names = list(JOINT_NAMES)
        reported = quiet_until = 0.0
        while not stop.is_set():
            position, velocity, effort = self.robot.advance()
            msg = JointState(
                name=names,
                position=position.tolist(),
                velocity=velocity.tolist(),
                effort=effort.tolist(),
            )
            msg.header.stamp = to_stamp(time.time())
            self._states.publish(msg)
            self._pace.wait()
            if self._pace.lost > reported and time.monotonic() > quiet_until:
                reported, quiet_until = self._pace.lost, time.monotonic() + REPORT_PERIOD_S
                self.get_logger().warning(
                    f"slower than real time: {reported:.2f} s given up so far, "
                    f"factor {self._pace.factor:.3f} over the last second"
                )
            self._diagnostics.values["real-time factor"] = self._pace.factor
            self._diagnostics.values["time given up [s]"] = self._pace.lost

    def _publish_objects(self) -> None:
        msg = SceneObjects()
        msg.header.stamp = self.get_clock().now().to_msg()
        msg.header.frame_id = WORLD_FRAME
        for state in self.robot.objects():
            item = SceneObject(name=state.name, confidence=1.0)
            position, orientation = item.pose.position, item.pose.orientation
            position.x, position.y, position.z = map(float, state.position)
            orientation.w, orientation.x, orientation.y, orientation.z = map(
                float, state.quaternion
            )
            item.size.x, item.size.y, item.size.z = map(float, state.size)
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


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(MujocoRobotNode, args)
