"""``manip calibrate-camera``: the lens, and where the camera stands, from pictures of a board."""

import argparse
from pathlib import Path

import numpy as np

from manip_bringup.calibrate import (
    FEWEST_PICTURES,
    Lens,
    Mount,
    calibrate_lens,
    calibrate_mount,
    flange_poses,
)
from manip_bringup.calibrate_files import (
    JOINTS_FILE,
    apply_mount,
    origin_tag,
    read_joints,
    read_pictures,
    write_calibration,
)
from manip_bringup.charuco import Board, Sighting
from manip_core import resources
from manip_core.camera import CameraIntrinsics
from manip_core.robot_model import XACRO

_STEPS = f"""
  manip calibrate-camera --print-board board.pdf   print at 100 %, glue to a flat plate
  manip calibrate-camera DIR --capture             take {2 * FEWEST_PICTURES} pictures, the board
                         fixed to the flange, camera and arm driver running
  manip calibrate-camera DIR --square 0.0348       the square as measured on the print
Without {JOINTS_FILE} in DIR the lens alone is calibrated: the board may then be held by hand.
"""


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status.

    Raises:
        ValueError, FileNotFoundError: Poor or missing data; the message says what to do.
    """
    options = _parser().parse_args(argv)
    board = Board(columns=options.columns, rows=options.rows, square=options.square)
    if options.print_board:
        board.print(options.print_board)
        print(f"{options.print_board}: print it at 100 %, then measure a square")
        return 0
    if options.folder is None:
        raise ValueError("name the folder of pictures, or --print-board FILE")
    if options.capture:
        from manip_bringup.calibrate_node import capture

        return capture(options.folder, board, options.prefix)
    sightings, without, size = read_pictures(options.folder, board)
    print(f"{len(sightings)} pictures of {size[0]}x{size[1]} show the board")
    if without:
        print(f"not seen well enough in {', '.join(without)}")
    lens = _lens(options.intrinsics, sightings, size)
    mount = _mount(options, lens, sightings)
    write_calibration(options.out, lens, mount)
    print(f"written to {options.out}: use it as calibration:={options.out}")
    if mount is not None and options.apply:
        path = resources.find(XACRO).resolve()
        apply_mount(path, mount)
        print(f"camera_joint of {path} set")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="manip calibrate-camera",
        description=__doc__,
        epilog=_STEPS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", nargs="?", type=Path, help=f"pictures, and {JOINTS_FILE}")
    parser.add_argument(
        "--out", type=Path, default=Path("camera.yaml"), help="calibration to write"
    )
    parser.add_argument(
        "--capture", action="store_true", help="take the pictures, with ROS running"
    )
    parser.add_argument(
        "--print-board", type=Path, metavar="FILE", help="write the board: .pdf, .png"
    )
    parser.add_argument("--square", type=float, default=Board.square, help="side of a square [m]")
    parser.add_argument("--columns", type=int, default=Board.columns, help="squares, long side")
    parser.add_argument("--rows", type=int, default=Board.rows, help="squares, short side")
    parser.add_argument("--intrinsics", type=Path, help="a calibration whose lens is kept")
    parser.add_argument("--prefix", default="", help="before the arm joints' names")
    parser.add_argument(
        "--apply", action="store_true", help="write the mount into the robot description"
    )
    return parser


def _lens(known: Path | None, sightings: list[Sighting], size: tuple[int, int]) -> Lens:
    if known is not None:
        return Lens(camera=CameraIntrinsics.from_yaml(known).scaled(*size))
    lens = calibrate_lens(sightings, size)
    camera = lens.camera
    print(f"lens: reprojection error {lens.rms_px:.2f} px rms")
    print(f"  focal lengths {camera.fx:.1f}, {camera.fy:.1f} ± {lens.focal_std:.1f} px")
    print(f"  centre {camera.cx:.1f}, {camera.cy:.1f} ± {lens.centre_std:.1f} px")
    print(f"  distortion {', '.join(f'{k:.4f}' for k in camera.distortion)}")
    return lens


def _mount(options: argparse.Namespace, lens: Lens, sightings: list[Sighting]) -> Mount | None:
    table = options.folder / JOINTS_FILE
    if not table.exists():
        if options.apply:
            raise FileNotFoundError(f"no {table}: --apply needs the arm's joints at each picture")
        return None
    joints = read_joints(table, options.prefix)
    used = [sighting for sighting in sightings if sighting.name in joints]
    if len(used) < len(sightings):
        print(f"{len(sightings) - len(used)} pictures have no line in {table.name}")
    poses = flange_poses(np.array([joints[s.name] for s in used]).reshape(len(used), 6))
    mount = calibrate_mount(lens, used, poses)
    print(
        f"mount: reprojection error {mount.rms_px:.2f} px rms, {mount.rms_m * 1e3:.1f} mm; "
        f"place ± {mount.position_std * 1e3:.1f} mm, direction ± "
        f"{np.degrees(mount.angle_std):.2f} degrees"
    )
    print(f"  board by the robot's motion {mount.scale:.4f} ± {mount.scale_std:.4f} of its size")
    print(f"  camera_joint {origin_tag(mount)}")
    return mount
