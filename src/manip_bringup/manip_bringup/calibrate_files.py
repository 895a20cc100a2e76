"""What a camera calibration reads and writes: pictures, joints, the calibration and the mount."""

import csv
import math
import re
from pathlib import Path

import cv2
import numpy as np
import yaml

from manip_bringup.calibrate import Lens, Mount
from manip_bringup.charuco import Board, Sighting
from manip_core.robot_model import ARM_JOINTS

JOINTS_FILE = "joints.csv"
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
# camera_link (x forward, z up) in camera_optical_frame (z forward, y down): REP-103.
_LINK_IN_OPTICAL = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
_MOUNT = re.compile(r'(<joint name="camera_joint".*?)<origin [^>]*/>(.*?</joint>)', re.S)


def read_pictures(folder: Path, board: Board) -> tuple[list[Sighting], list[str], tuple[int, int]]:
    """Sightings of the board in a folder's pictures, in the order of their names.

    Returns:
        The sightings, the names of pictures without one, and the pictures' width and height [px].

    Raises:
        FileNotFoundError: No pictures there.
        ValueError: Pictures of different sizes.
    """
    paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in _SUFFIXES)
    if not paths:
        raise FileNotFoundError(f"no pictures ({', '.join(_SUFFIXES)}) in {folder}")
    sightings, without, size = [], [], None
    for path in paths:
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if image is None:
            without.append(path.name)
            continue
        here = (image.shape[1], image.shape[0])
        if size not in (None, here):
            raise ValueError(
                f"{path.name} is {here[0]}x{here[1]}, those before are {size[0]}x{size[1]}: "
                "calibrate one size at a time"
            )
        size = here
        sighting = board.find(image, path.name)
        if sighting is None:
            without.append(path.name)
        else:
            sightings.append(sighting)
    if size is None:
        raise ValueError(f"none of the {len(paths)} pictures in {folder} can be read")
    return sightings, without, size


def read_joints(path: Path, prefix: str = "") -> dict[str, np.ndarray]:
    """Arm joints ``(6,)`` [rad] by picture, from a table with a column ``image`` and one a joint.

    Args:
        path: The CSV file.
        prefix: What the driver puts before the joints' names.

    Raises:
        ValueError: A column is missing, or a cell is no finite number.
    """
    columns = [prefix + name for name in ARM_JOINTS]
    with path.open(newline="") as file:
        table = csv.DictReader(file)
        missing = [name for name in ("image", *columns) if name not in (table.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} lacks the columns {missing}; it has {table.fieldnames}")
        rows = list(table)
    joints = {}
    for line, row in enumerate(rows, 2):
        try:
            values = [float(row[name]) for name in columns]
        except (TypeError, ValueError):
            values = [math.nan]
        if not all(map(math.isfinite, values)):
            raise ValueError(f"{path}, line {line}: six finite numbers are needed, got {row}")
        joints[row["image"]] = np.array(values)
    return joints


def write_joints(path: Path, joints: dict[str, np.ndarray], prefix: str = "") -> None:
    """The table that `read_joints` reads."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", *(prefix + name for name in ARM_JOINTS)])
        table.writerows([name, *map(float, values)] for name, values in joints.items())


def mount_origin(mount: Mount) -> tuple[np.ndarray, np.ndarray]:
    """``camera_link`` in ``world`` as URDF writes it: xyz ``(3,)`` [m] and rpy ``(3,)`` [rad]."""
    turn = mount.camera[:3, :3] @ _LINK_IN_OPTICAL
    pitch = math.atan2(-turn[2, 0], math.hypot(turn[0, 0], turn[1, 0]))
    roll = math.atan2(turn[2, 1], turn[2, 2])
    yaw = math.atan2(turn[1, 0], turn[0, 0])
    return mount.camera[:3, 3].copy(), np.array([roll, pitch, yaw])


def origin_tag(mount: Mount) -> str:
    """The line of the robot description that says where the camera is."""
    xyz, rpy = (" ".join(f"{v:.6f}" for v in part) for part in mount_origin(mount))
    return f'<origin xyz="{xyz}" rpy="{rpy}"/>'


def apply_mount(path: Path, mount: Mount) -> None:
    """Write the mount into the robot description, which all of the suite loads.

    Raises:
        ValueError: The file has no ``camera_joint`` with an origin.
    """
    text = path.read_text()
    written, count = _MOUNT.subn(lambda m: m[1] + origin_tag(mount) + m[2], text)
    if count != 1:
        raise ValueError(f"{path} needs one camera_joint with an <origin/>, it has {count}")
    path.write_text(written)


def write_calibration(path: Path, lens: Lens, mount: Mount | None) -> None:
    """A calibration as ROS's ``camera_calibration`` writes it, which ``calibration:=`` reads.

    The mount, where there is one, stands beside it for the record; other readers pass it over.
    """
    camera = lens.camera
    matrix = camera.matrix
    content = {
        "image_width": camera.width,
        "image_height": camera.height,
        "camera_name": path.stem,
        "camera_matrix": _matrix(matrix),
        "distortion_model": "plumb_bob",
        "distortion_coefficients": _matrix(np.array([camera.distortion or (0.0,) * 5])),
        "rectification_matrix": _matrix(np.eye(3)),
        "projection_matrix": _matrix(np.c_[matrix, np.zeros(3)]),
        "reprojection_px": round(lens.rms_px, 3),
    }
    if len(camera.distortion) == 8:
        content["distortion_model"] = "rational_polynomial"
    if mount is not None:
        xyz, rpy = mount_origin(mount)
        content["camera_mount"] = {
            "parent": "world",
            "child": "camera_link",
            "xyz": [round(float(v), 6) for v in xyz],
            "rpy": [round(float(v), 6) for v in rpy],
            "position_std": round(mount.position_std, 6),
            "angle_std": round(mount.angle_std, 6),
            "reprojection_px": round(mount.rms_px, 3),
        }
    path.write_text(yaml.safe_dump(content, sort_keys=False, default_flow_style=None))


def _matrix(values: np.ndarray) -> dict:
    rows, cols = values.shape
    return {"rows": rows, "cols": cols, "data": [float(v) for v in values.ravel()]}
