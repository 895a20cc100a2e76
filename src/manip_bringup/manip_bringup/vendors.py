"""The makers' own drivers that a real robot needs: which package, which launch file, or why not."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Vendor:
    """A launch file of somebody else's package.

    Attributes:
        package, launch: Package, and its launch file.
        arguments: Given to the launch file.
        advice: What to do where the package is not installed, or why it is not started from here.
        include: Start it from here.
    """

    package: str
    launch: str
    arguments: dict[str, str]
    advice: str
    include: bool = True

    def file(self) -> Path | str:
        """The launch file to include; or why there is none, in words."""
        prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
        shares = [Path(prefix) / "share" / self.package for prefix in prefixes]
        share = next((share for share in shares if share.is_dir()), None)
        if share is None:
            return f"package {self.package} is not installed: {self.advice}"
        if not self.include:
            return f"{self.package} is not started from here: {self.advice}"
        return share / "launch" / self.launch


def vendors(a: dict[str, str]) -> list[Vendor]:
    """Drivers of the arm and the hand, as their makers start them."""
    arm = Vendor(
        "ur_robot_driver",
        "ur_control.launch.py",
        {
            "robot_ip": a["robot_ip"],
            "ur_type": a["ur_type"],
            "tf_prefix": a["arm_prefix"],
            "headless_mode": a["headless"],
            "launch_rviz": "false",
        },
        "install it (apt install ros-$ROS_DISTRO-ur), or start the arm's driver elsewhere",
        include=bool(a["robot_ip"]),
    )
    hands = {
        "v5": Vendor(
            "allegro_hand_controllers",
            "allegro_hand.launch.py",
            {"HAND": a["hand"], "CAN_DEVICE": a["can_channel"]},
            "build it from github.com/Wonikrobotics-git/allegro_hand_ros2_v5; its launch file "
            "sets up the CAN bus and asks for a password: start it by itself, hand_launch:=false",
            include=a["hand_launch"] == "true",
        ),
        # Both drivers call their manager /controller_manager: two of them cannot run side by side.
        "ros2_control": Vendor(
            "allegro_hand_bringup",
            "allegro_hand.launch.py",
            {},
            "build it from github.com/Wonikrobotics-git/allegro_hand_ros2, and add its hardware "
            "and allegro_hand_position_controller to the arm's controller manager: two managers "
            "of one name cannot run side by side",
            include=False,
        ),
    }
    return [arm, *(hands[name] for name in (a["hand_driver"],) if name in hands)]
