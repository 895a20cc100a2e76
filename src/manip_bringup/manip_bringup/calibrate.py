"""Camera calibration from sightings of a board: first the lens, then where the camera stands.

The board is fixed to the robot's flange and the camera to the world; `hand_eye` solves for both.
Results carry the standard deviations that the pictures allow, and data that allow too little are
refused with what to do about it. Poses are homogeneous ``(4, 4)`` matrices, lengths in [m].
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import mujoco
import numpy as np

from manip_bringup.charuco import Sighting
from manip_bringup.hand_eye import Fit, closed_form, nearest_rotation, pose, rotation_vector
from manip_core.camera import CameraIntrinsics
from manip_core.robot_model import ARM_JOINTS, build_model

FEWEST_PICTURES = 10
# Corners must fall into this share of a grid of cells over the picture, or the lens is not known
# where no corner was.
_CELLS, _COVERED = (6, 4), 0.6
# Reprojection error [px] that a sharp picture of a flat board stays well below, at up to 1280 px.
_LENS_RMS_PX = 1.0
# Shares of the focal length and of the width: 1 % of depth, and a third of a degree.
_FOCAL_STD, _CENTRE_STD = 0.01, 0.005
# Turns of the flange: standard deviation about the second of its principal axes [rad].
_TURN_SPREAD = np.radians(8.0)
# A UR's nominal kinematics may be off "in the magnitude of centimeters" (ur_robot_driver, robot
# setup), so what is only as wrong as that is accepted, and told.
_BOARD_RMS_M = 0.010
_MOUNT_STD_M, _MOUNT_STD_RAD = 0.010, np.radians(0.5)
_SCALE_OFF = 0.02


@dataclass(frozen=True, kw_only=True)
class Lens:
    """Intrinsics and how well they are known.

    Attributes:
        camera: The intrinsics.
        rms_px: Reprojection error over all corners.
        focal_std, centre_std: Standard deviations of focal lengths and principal point [px].
    """

    camera: CameraIntrinsics
    rms_px: float = 0.0
    focal_std: float = 0.0
    centre_std: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Mount:
    """Where the camera stands, and how well that is known.

    Attributes:
        camera: ``(4, 4)`` pose of ``camera_optical_frame`` in ``world``.
        board: ``(4, 4)`` pose of the board in ``tool0``.
        rms_px: Error of the corners that the robot's motion predicts.
        rms_m: The same at the board's distance.
        position_std, angle_std: Standard deviation of the camera's place [m] and direction [rad]:
            by leaving out each picture in turn (jackknife), and by what is unknown of the lens.
        scale, scale_std: Size of the board by the robot's motion, over its stated size.
    """

    camera: np.ndarray
    board: np.ndarray
    rms_px: float
    rms_m: float
    position_std: float
    angle_std: float
    scale: float
    scale_std: float


def flange_poses(joints: np.ndarray) -> np.ndarray:
    """Poses ``(n, 4, 4)`` of ``tool0`` in ``world`` for arm joints ``(n, 6)`` [rad].

    Raises:
        ValueError: Another shape, not finite, or beyond two turns, as degrees would be.
    """
    joints = np.asarray(joints, dtype=float)
    if joints.ndim != 2 or joints.shape[1] != len(ARM_JOINTS):
        raise ValueError(f"joints must be (n, {len(ARM_JOINTS)}), got {joints.shape}")
    if not np.isfinite(joints).all() or np.abs(joints).max(initial=0.0) > 4 * np.pi:
        raise ValueError(
            f"joints must be finite angles in radians, got values from {joints.min():g} "
            f"to {joints.max():g}: are they degrees?"
        )
    model = build_model(with_scene=False)
    data = mujoco.MjData(model)
    address = [model.joint(name).qposadr[0] for name in ARM_JOINTS]
    poses = np.tile(np.eye(4), (len(joints), 1, 1))
    for flange, position in zip(poses, joints, strict=True):
        data.qpos[address] = position
        mujoco.mj_kinematics(model, data)
        flange[:3, :3] = data.body("tool0").xmat.reshape(3, 3)
        flange[:3, 3] = data.body("tool0").xpos
    return poses


def calibrate_lens(sightings: Sequence[Sighting], size: tuple[int, int]) -> Lens:
    """Focal lengths, principal point and distortion ``k1 k2 p1 p2`` of a camera.

    ``k3`` stays zero: a webcam's pictures cannot tell it from the others (ROS's own
    ``camera_calibration`` has the same default).

    Args:
        sightings: At least 10, from near and far, tilted, and over the whole picture.
        size: Width and height of the pictures [px].

    Raises:
        ValueError: Poor data; the message says what to do.
    """
    _require_pictures(len(sightings))
    _require_coverage(sightings, size)
    result = cv2.calibrateCameraExtended(
        [s.points.astype(np.float32) for s in sightings],
        [s.pixels.astype(np.float32) for s in sightings],
        size,
        None,
        None,
        flags=cv2.CALIB_FIX_K3,
    )
    rms, matrix, distortion, _, _, spread, _, views = result
    spread = np.ravel(spread)
    focal_std, centre_std = float(spread[:2].max()), float(spread[2:4].max())
    views = np.ravel(views)
    limit = _LENS_RMS_PX * max(1.0, size[0] / 1280)
    if rms > limit:
        worst = _worst(views, sightings)
        raise ValueError(
            f"the reprojection error is {rms:.2f} px, more than {limit:.2f}; worst in {worst}. "
            "Leave those out; take sharp pictures of a board that lies flat, focus fixed"
        )
    focal = float(matrix[0, 0])
    if focal_std > _FOCAL_STD * focal or centre_std > _CENTRE_STD * size[0]:
        raise ValueError(
            f"the focal length {focal:.0f} px is known to {focal_std:.1f} px and the centre to "
            f"{centre_std:.1f} px only: add pictures with the board tilted by 30 degrees or more "
            "to either side, up and down, near and far"
        )
    camera = CameraIntrinsics(
        width=size[0],
        height=size[1],
        fx=focal,
        fy=float(matrix[1, 1]),
        cx=float(matrix[0, 2]),
        cy=float(matrix[1, 2]),
        distortion=tuple(np.ravel(distortion)[:5]),
    )
    return Lens(camera=camera, rms_px=rms, focal_std=focal_std, centre_std=centre_std)


def board_pose(camera: CameraIntrinsics, sighting: Sighting) -> np.ndarray:
    """``(4, 4)`` pose of the board in ``camera_optical_frame``, from one picture alone."""
    distortion = np.array(camera.distortion or (0.0,) * 5)
    found, turn, place = cv2.solvePnP(
        sighting.points, sighting.pixels, camera.matrix, distortion, flags=cv2.SOLVEPNP_IPPE
    )
    if not found:
        raise ValueError("a sighting of the board allows no pose: its corners lie in a line")
    return pose(np.r_[np.ravel(turn), np.ravel(place)])


def calibrate_mount(lens: Lens, sightings: Sequence[Sighting], flanges: np.ndarray) -> Mount:
    """Where the camera stands, from pictures of a board on the flange.

    Args:
        lens: The intrinsics; deviations of zero where they are given from elsewhere.
        sightings: ``n`` of them, at least 10.
        flanges: ``(n, 4, 4)`` pose of ``tool0`` in ``world`` at each, see `flange_poses`.

    Raises:
        ValueError: Poor data; the message says what to do.
    """
    flanges = np.asarray(flanges, dtype=float)
    if flanges.shape != (len(sightings), 4, 4):
        raise ValueError(f"flanges must be ({len(sightings)}, 4, 4), got {flanges.shape}")
    _require_pictures(len(sightings))
    _require_turns(flanges)
    camera = lens.camera
    boards = np.stack([board_pose(camera, sighting) for sighting in sightings])
    start = closed_form(flanges, boards)
    fit = Fit(camera, sightings, flanges)
    scaled = fit.solve(np.r_[start, 1.0])
    scale_std = float(fit.jackknife(scaled)[-1])
    solved = fit.solve(start)
    errors = fit.residuals(solved)
    counts = [len(sighting) for sighting in sightings]
    per_view = np.split((errors.reshape(-1, 2) ** 2).sum(1), np.cumsum(counts)[:-1])
    views = np.sqrt([view.mean() for view in per_view])
    rms = float(np.sqrt(np.mean(np.concatenate(per_view))))
    distance = float(np.median(boards[:, 2, 3]))
    metres = rms * distance / camera.fx
    scale = float(scaled[-1])
    if abs(scale - 1.0) > max(_SCALE_OFF, 3.0 * scale_std):
        raise ValueError(
            f"by the robot's motion the board is {scale:.3f} times as large as stated: measure a "
            "square on the print, and see that each picture stands beside its own joints"
        )
    if metres > _BOARD_RMS_M:
        raise ValueError(
            f"pictures and joints disagree by {metres * 1e3:.1f} mm ({rms:.1f} px), more than "
            f"{_BOARD_RMS_M * 1e3:.0f}; worst in {_worst(views, sightings)}. Did the board or the "
            "camera shift, or the robot still move? Take those again"
        )
    spread = fit.jackknife(solved)
    # What is unknown of the lens moves all pictures alike: leaving one out does not show it.
    aside, along = lens.centre_std / camera.fx, lens.focal_std / camera.fx
    angle_std = float(np.hypot(np.linalg.norm(spread[:3]), aside))
    position_std = float(np.linalg.norm([*spread[3:6], distance * aside, distance * along]))
    if position_std > _MOUNT_STD_M or angle_std > _MOUNT_STD_RAD:
        raise ValueError(
            f"the camera's place is known to {position_std * 1e3:.1f} mm and its direction to "
            f"{np.degrees(angle_std):.2f} degrees only: add pictures with the wrist turned about "
            "other axes, and with the board nearer to the camera"
        )
    return Mount(
        camera=pose(solved[:6]),
        board=pose(solved[6:12]),
        rms_px=rms,
        rms_m=metres,
        position_std=position_std,
        angle_std=angle_std,
        scale=scale,
        scale_std=scale_std,
    )


def _require_pictures(count: int) -> None:
    if count < FEWEST_PICTURES:
        raise ValueError(
            f"at least {FEWEST_PICTURES} pictures must show the board, got {count}: take more, "
            "with the whole board in light and in focus"
        )


def _require_coverage(sightings: Sequence[Sighting], size: tuple[int, int]) -> None:
    pixels = np.concatenate([sighting.pixels for sighting in sightings])
    cells = np.floor(pixels / size * _CELLS).astype(int).clip(0, np.array(_CELLS) - 1)
    share = len(np.unique(cells, axis=0)) / np.prod(_CELLS)
    if share < _COVERED:
        raise ValueError(
            f"the board was seen in {share:.0%} of the picture only, {_COVERED:.0%} are needed: "
            "show it near the edges and in the corners as well"
        )


def _require_turns(flanges: np.ndarray) -> None:
    mean = nearest_rotation(flanges[:, :3, :3].mean(0))
    turns = np.array([rotation_vector(mean.T @ flange[:3, :3]) for flange in flanges])
    spread = np.linalg.svd(turns - turns.mean(0), compute_uv=False) / np.sqrt(len(turns))
    if spread[1] < _TURN_SPREAD:
        raise ValueError(
            "the flange turned about one axis at most: turn the wrist by 20 degrees or more, "
            "either way, about at least two axes"
        )


def _worst(views: np.ndarray, sightings: Sequence[Sighting]) -> str:
    """The three worst of the pictures, by name."""
    order = np.argsort(views)[::-1][:3]
    return ", ".join(f"{sightings[i].name or i} ({views[i]:.1f} px)" for i in order)
