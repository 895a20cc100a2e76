"""The operator's hand on the robot's palm, as large as the robot's: how alike the two are."""

import mujoco
import numpy as np
import viser

from manip_bringup.hand_drawing import FINGER_COLOURS, KEYPOINT_COLOURS
from manip_bringup.hand_placement import HandPlacement
from manip_core.hand import Hand
from manip_core.hand_skeleton import BONES, FINGERS, TIPS
from manip_core.robot_model import PALM_FRAME, TIP_FRAMES, TIP_RADIUS

_LINK_COLOUR = (235, 238, 245)


class PalmHand:
    """Bones, fingertips, and a line from each to the robot's fingertip that answers to it.

    All are children of the robot's own nodes, so that they move with them in every frame drawn.
    """

    def __init__(
        self, scene: viser.SceneApi, model: mujoco.MjModel, side: str, paths: dict[str, str]
    ):
        """Make the nodes; ``paths`` are those of the robot's bodies."""
        self._placement = HandPlacement(model, side)
        for finger, tip in TIP_FRAMES.items():
            scene.add_icosphere(
                f"{paths[tip]}/mark", radius=1.06 * TIP_RADIUS, color=FINGER_COLOURS[finger]
            )
        palm = paths[PALM_FRAME]
        colours = np.repeat(KEYPOINT_COLOURS[BONES[:, 1]][:, None], 2, axis=1)
        self.bones = scene.add_line_segments(
            f"{palm}/bones",
            np.zeros((len(BONES), 2, 3), np.float32),
            colors=colours,
            thickness=0.004,
            visible=False,
        )
        self.tips = scene.add_point_cloud(
            f"{palm}/tips",
            np.zeros((5, 3), np.float32),
            colors=np.array([FINGER_COLOURS[finger] for finger in FINGERS], np.uint8),
            point_size=0.009,
            point_shape="circle",
            visible=False,
        )
        self._links = scene.add_line_segments(
            f"{palm}/links",
            np.zeros((4, 2, 3), np.float32),
            colors=_LINK_COLOUR,
            thickness=0.0015,
            visible=False,
        )

    def update(self, hand: Hand) -> None:
        """Take every hand that is seen: its size is learnt from them."""
        self._placement.update(hand)

    def show(self, hand: Hand | None, robot: mujoco.MjData) -> None:
        """Draw ``hand``, or nothing where it is None or not tracked."""
        tracked = hand is not None and hand.tracked
        points = self._placement.on_palm(hand) if tracked else None
        for node in (self.bones, self.tips, self._links):
            if node.visible != (points is not None):
                node.visible = points is not None
        if points is None:
            return
        self.bones.points = points[BONES].astype(np.float32)
        self.tips.points = points[TIPS].astype(np.float32)
        palm = robot.body(PALM_FRAME)
        tips = np.array([robot.body(name).xpos for name in TIP_FRAMES.values()])
        tips = (tips - palm.xpos) @ palm.xmat.reshape(3, 3)
        rows = [TIPS[FINGERS.index(finger)] for finger in TIP_FRAMES]
        self._links.points = np.stack((points[rows], tips), axis=1).astype(np.float32)
