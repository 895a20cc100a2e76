"""Camera calibration: known lenses and mounts come back, and poor data are refused."""

import re
import xml.etree.ElementTree as ET
import zlib
from functools import cache

import cv2
import numpy as np
import pytest
import xacro
import yaml

from manip_bringup import calibrate_command
from manip_bringup.calibrate import (
    Lens,
    board_pose,
    calibrate_lens,
    calibrate_mount,
    flange_poses,
)
from manip_bringup.calibrate_files import (
    JOINTS_FILE,
    apply_mount,
    mount_origin,
    read_joints,
    write_calibration,
    write_joints,
)
from manip_bringup.charuco import Board, Sighting
from manip_bringup.hand_eye import closed_form, pose
from manip_core import resources
from manip_core.camera import CameraIntrinsics
from manip_core.robot_model import ARM_JOINTS, XACRO, camera_mount, home, load_urdf
from manip_core.rotation import angle, exponential

BOARD = Board()
CAMERA = CameraIntrinsics(
    width=1280, height=720, fx=940, fy=936, cx=652, cy=351, distortion=(0.09, -0.16, 1e-3, -7e-4)
)
SMALL = CAMERA.scaled(640, 360)


def true_mount(rng) -> np.ndarray:
    """A camera near the description's own, a little turned and moved."""
    rotation, position = camera_mount()
    mount = np.eye(4)
    mount[:3, :3] = rotation @ exponential(rng.uniform(-0.1, 0.1, 3))
    mount[:3, 3] = position + rng.uniform(-0.05, 0.05, 3)
    return mount


def scene(seed: int, count: int = 20, camera: CameraIntrinsics = CAMERA, axes=slice(None)):
    """Arm joints ``(n, 6)``, board before the camera ``(n, 4, 4)``, and the true mount; the board
    is in the picture each time. Only ``axes`` of the arm move.
    """
    rng = np.random.default_rng(seed)
    mount = true_mount(rng)
    before = pose(np.r_[rng.uniform(-0.2, 0.2, 3), -0.12, -0.09, 0.42])
    on_flange = np.linalg.inv(flange_poses(home()[None, :6])[0]) @ mount @ before
    joints, boards = [], []
    middle = BOARD.corners.mean(0)
    while len(joints) < count:
        moved = np.zeros(6)
        moved[axes] = (rng.uniform(-1, 1, 6) * (0.25, 0.2, 0.25, 0.5, 0.5, 0.5))[axes]
        board = np.linalg.inv(mount) @ flange_poses(home()[None, :6] + moved)[0] @ on_flange
        seen = camera.project(board[:3, :3] @ middle + board[:3, 3])
        if (seen > 0).all() and (seen < (camera.width, camera.height)).all() and board[2, 3] > 0.25:
            joints.append(home()[:6] + moved)
            boards.append(board)
    return np.array(joints), np.array(boards), mount


def sightings(boards, rng, noise: float = 0.2, camera: CameraIntrinsics = CAMERA):
    """What the detector would find: corners in the picture, each off by ``noise`` [px]."""
    found = []
    for i, board in enumerate(boards):
        pixels = camera.project(BOARD.corners @ board[:3, :3].T + board[:3, 3])
        inside = ((pixels > 0) & (pixels < (camera.width, camera.height))).all(1)
        pixels = pixels + rng.normal(0, noise, pixels.shape)
        found.append(Sighting(points=BOARD.corners[inside], pixels=pixels[inside], name=f"{i}.png"))
    return found


@cache
def fine_rays(camera: CameraIntrinsics) -> np.ndarray:
    """Two lines of sight a pixel either way, ``(2 H, 2 W, 3)``."""
    fine = camera.scaled(2 * camera.width, 2 * camera.height)
    grid = np.stack(np.meshgrid(np.arange(fine.width), np.arange(fine.height)), axis=-1)
    return np.concatenate((fine.rays(grid), np.ones((*grid.shape[:2], 1))), axis=-1)


def picture(board: np.ndarray, camera: CameraIntrinsics, rng) -> np.ndarray:
    """A board as a camera sees it, ``(H, W)`` uint8: each pixel's rays meet the sheet."""
    rays, normal = fine_rays(camera), board[:3, 2]
    points = rays * ((normal @ board[:3, 3]) / (rays @ normal))[..., None] - board[:3, 3]
    at = points @ board[:3, :2] / (BOARD.square / 8) - 0.5 + 8
    sheet = np.pad(BOARD.modules, 8, constant_values=255)
    image = cv2.remap(
        sheet.repeat(8, 0).repeat(8, 1),
        (at * 8 + 3.5).astype(np.float32),
        None,
        cv2.INTER_LINEAR,
        borderValue=110,
    )
    image = cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    shade = np.linspace(0.6, 0.9, camera.width)
    return (30 + image * shade + rng.normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8)


def apart(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Distance [m] and angle [rad] between two poses."""
    turned = angle(one[:3, :3].T @ other[:3, :3])
    return float(np.linalg.norm(one[:3, 3] - other[:3, 3])), float(turned)


def without_camera(urdf: str) -> list[str]:
    """The elements of a robot description, without the camera's joint."""
    return [
        ET.tostring(element, encoding="unicode")
        for element in ET.fromstring(urdf)
        if element.get("name") != "camera_joint"
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of 16 rendered pictures with their joints, and the true mount."""
    path = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(5)
    joints, boards, mount = scene(5, 16, SMALL)
    for i, board in enumerate(boards):
        cv2.imwrite(str(path / f"{i:02d}.png"), picture(board, SMALL, rng))
    write_joints(path / JOINTS_FILE, {f"{i:02d}.png": q for i, q in enumerate(joints)})
    return path, mount


@pytest.mark.parametrize("seed", range(3))
def test_lens_and_mount_come_back_within_what_they_say(seed):
    joints, boards, mount = scene(seed)
    found = sightings(boards, np.random.default_rng(seed))
    lens = calibrate_lens(found, (1280, 720))
    assert lens.rms_px < 0.35
    assert abs(lens.camera.fx - CAMERA.fx) < 4 * lens.focal_std < 0.02 * CAMERA.fx
    assert abs(lens.camera.cx - CAMERA.cx) < 4 * lens.centre_std
    result = calibrate_mount(lens, found, flange_poses(joints))
    distance, turn = apart(result.camera, mount)
    assert distance < min(3 * result.position_std, 0.01)
    assert turn < min(3 * result.angle_std, np.radians(0.5))
    assert abs(result.scale - 1.0) < 0.003


def test_without_noise_the_mount_is_exact():
    joints, boards, mount = scene(1, 10)
    found = sightings(boards, np.random.default_rng(1), noise=0.0)
    result = calibrate_mount(Lens(camera=CAMERA), found, flange_poses(joints))
    distance, turn = apart(result.camera, mount)
    assert distance < 1e-6 and turn < 1e-6 and result.rms_px < 1e-4


def test_the_closed_form_is_exact_on_exact_poses():
    joints, boards, mount = scene(2, 6)
    start = closed_form(flange_poses(joints), boards)
    distance, turn = apart(pose(start[:6]), mount)
    assert distance < 1e-9 and turn < 1e-7
    # And the board is where it is on the flange, at every picture.
    chain = flange_poses(joints) @ pose(start[6:])
    assert np.allclose(chain, mount @ boards, atol=1e-9)


def test_rendered_pictures_to_a_calibration_that_the_suite_reads(folder, tmp_path, capsys):
    path, mount = folder
    out = tmp_path / "camera.yaml"
    assert calibrate_command.main([str(path), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "15 pictures of 640x360" in said and said.count("reprojection error") == 2
    assert "not seen well enough in 10.png" in said  # two thirds of it are outside the picture
    camera = CameraIntrinsics.from_yaml(out)
    assert camera.fx == pytest.approx(SMALL.fx, rel=0.01)
    assert camera.cx == pytest.approx(SMALL.cx, abs=5) and camera.cy == pytest.approx(
        SMALL.cy, abs=5
    )
    # What counts: where the lens sends the rays of the whole picture.
    pixels = np.stack(np.meshgrid(np.linspace(20, 620, 9), np.linspace(20, 340, 9)), axis=-1)
    assert np.abs(camera.rays(pixels) - SMALL.rays(pixels)).max() < 0.02
    written = yaml.safe_load(out.read_text())["camera_mount"]
    assert np.linalg.norm(np.subtract(written["xyz"], mount[:3, 3])) < 0.01
    assert written["child"] == "camera_link" and written["reprojection_px"] < 1.0


def test_the_mount_alone_keeps_a_known_lens(folder, tmp_path):
    path, mount = folder
    known, out = tmp_path / "known.yaml", tmp_path / "out.yaml"
    write_calibration(known, Lens(camera=CAMERA), None)
    assert CameraIntrinsics.from_yaml(known) == CAMERA
    calibrate_command.main([str(path), "--out", str(out), "--intrinsics", str(known)])
    assert CameraIntrinsics.from_yaml(out).fx == pytest.approx(SMALL.fx)
    xyz = yaml.safe_load(out.read_text())["camera_mount"]["xyz"]
    assert np.linalg.norm(np.subtract(xyz, mount[:3, 3])) < 0.003


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_mount_goes_into_the_robot_description(tmp_path, side):
    joints, boards, _ = scene(3)
    found = sightings(boards, np.random.default_rng(3))
    result = calibrate_mount(Lens(camera=CAMERA), found, flange_poses(joints))
    own = resources.find(XACRO)
    for file in own.parent.glob("*.xacro"):
        (tmp_path / file.name).write_text(file.read_text())
    description = tmp_path / own.name
    apply_mount(description, result)
    urdf = xacro.process_file(str(description), mappings={"side": side}).toxml()
    origin = re.search(r'name="camera_joint".*?<origin rpy="(.*?)" xyz="(.*?)"', urdf, re.S)
    roll, pitch, yaw = map(float, origin[1].split())
    x, y, z = np.eye(3)
    turn = exponential(yaw * z) @ exponential(pitch * y) @ exponential(roll * x)
    # camera_link looks along x, camera_optical_frame along z.
    assert np.allclose(turn[:, 0], result.camera[:3, 2], atol=1e-5)
    assert np.allclose(turn[:, 2], -result.camera[:3, 1], atol=1e-5)
    assert np.allclose([float(v) for v in origin[2].split()], result.camera[:3, 3], atol=1e-5)
    # Nothing else has changed.
    before, after = (without_camera(text) for text in (load_urdf(side), urdf))
    assert before == after and len(before) > 50


def test_a_mount_as_described_gives_the_description_back():
    rotation, position = camera_mount()
    camera = np.eye(4)
    camera[:3, :3], camera[:3, 3] = rotation, position
    joints, boards, _ = scene(4, 10)
    found = sightings(boards, np.random.default_rng(4), noise=0.0)
    result = calibrate_mount(Lens(camera=CAMERA), found, flange_poses(joints))
    object.__setattr__(result, "camera", camera)
    xyz, rpy = mount_origin(result)
    assert np.allclose(xyz, position) and np.allclose(np.abs(rpy), (0, 0, np.pi))


def test_forward_kinematics_are_those_of_the_model():
    assert flange_poses(np.zeros((2, 6))).shape == (2, 4, 4)
    # UR5e at zero, arm stretched along -x: -(a2 + a3) far, and d1 - d5 high (UR's own DH table).
    place = flange_poses(np.zeros((1, 6)))[0, :3, 3]
    assert place[2] == pytest.approx(0.1625 - 0.0997, abs=1e-6)
    assert abs(place[0]) == pytest.approx(0.425 + 0.3922, abs=1e-6)
    with pytest.raises(ValueError, match="degrees"):
        flange_poses(np.full((1, 6), 90.0))
    with pytest.raises(ValueError, match=r"\(n, 6\), got \(3, 5\)"):
        flange_poses(np.zeros((3, 5)))


class TestPoorDataAreRefused:
    """Each with a message that says what to do."""

    def test_too_few_pictures(self):
        joints, boards, _ = scene(0, 9)
        found = sightings(boards, np.random.default_rng(0))
        with pytest.raises(ValueError, match=r"at least 10 pictures .* got 9: take more"):
            calibrate_lens(found, (1280, 720))
        with pytest.raises(ValueError, match="at least 10"):
            calibrate_mount(Lens(camera=CAMERA), found, flange_poses(joints))

    def test_a_corner_of_the_picture_alone(self):
        boards = np.tile(pose(np.r_[0, 0, 0, -0.6, -0.3, 1.2]), (12, 1, 1))
        boards[:, 0, 3] += np.linspace(0, 0.05, 12)
        with pytest.raises(ValueError, match=r"of the picture only.*near the edges"):
            calibrate_lens(sightings(boards, np.random.default_rng(0)), (1280, 720))

    def test_boards_that_all_face_the_camera(self):
        rng = np.random.default_rng(0)
        places = rng.uniform((-0.4, -0.3, 0.55), (0.15, 0.1, 0.6), (14, 3))
        boards = np.array([pose(np.r_[0.0, 0.0, 0.0, place]) for place in places])
        with pytest.raises(ValueError, match="tilted by 30 degrees"):
            calibrate_lens(sightings(boards, rng), (1280, 720))

    def test_blurred_corners(self):
        _, boards, _ = scene(0)
        found = sightings(boards, np.random.default_rng(0), noise=2.5)
        with pytest.raises(ValueError, match=r"reprojection error is .* worst in \d+\.png"):
            calibrate_lens(found, (1280, 720))

    @pytest.mark.parametrize("axes", [slice(5, 6), slice(1, 4)])
    def test_turns_about_one_axis(self, axes):
        joints, boards, _ = scene(0, 14, axes=axes)
        found = sightings(boards, np.random.default_rng(0))
        with pytest.raises(ValueError, match="at least two axes"):
            calibrate_mount(Lens(camera=CAMERA), found, flange_poses(joints))

    def test_joints_of_another_picture(self):
        joints, boards, _ = scene(0)
        found = sightings(boards, np.random.default_rng(0))
        with pytest.raises(ValueError, match=r"own joints|worst in"):
            calibrate_mount(Lens(camera=CAMERA), found, flange_poses(np.roll(joints, 1, axis=0)))

    def test_one_picture_in_motion_is_named(self):
        joints, boards, _ = scene(0)
        found = sightings(boards, np.random.default_rng(0))
        joints[7] += 0.15
        with pytest.raises(ValueError, match=r"disagree by .* worst in 7\.png"):
            calibrate_mount(Lens(camera=CAMERA), found, flange_poses(joints))

    def test_a_print_of_another_size(self):
        joints, boards, _ = scene(0)
        found = sightings(boards, np.random.default_rng(0))
        stated = [Sighting(points=s.points * 0.95, pixels=s.pixels) for s in found]
        with pytest.raises(ValueError, match=r"1\.05\d times as large as stated: measure"):
            calibrate_mount(Lens(camera=CAMERA), stated, flange_poses(joints))

    def test_pictures_of_two_sizes(self, tmp_path):
        for i, shape in enumerate([(40, 60), (60, 40)]):
            cv2.imwrite(str(tmp_path / f"{i}.png"), np.zeros(shape, np.uint8))
        with pytest.raises(ValueError, match=r"1\.png is 40x60, those before are 60x40"):
            calibrate_command.main([str(tmp_path)])

    def test_no_pictures(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no pictures"):
            calibrate_command.main([str(tmp_path / "none")])

    def test_a_table_without_a_joint(self, tmp_path):
        table = tmp_path / JOINTS_FILE
        write_joints(table, {"a.png": np.zeros(6)}, prefix="ur_")
        with pytest.raises(ValueError, match=r"lacks the columns .*shoulder_pan_joint"):
            read_joints(table)
        assert read_joints(table, "ur_")["a.png"].shape == (6,)
        table.write_text("image," + ",".join(ARM_JOINTS) + "\na.png,0,0,0,nan,0,0\n")
        with pytest.raises(ValueError, match="line 2: six finite numbers"):
            read_joints(table)

    def test_a_description_without_the_camera(self, tmp_path):
        joints, boards, _ = scene(0, 10)
        found = sightings(boards, np.random.default_rng(0))
        mount = calibrate_mount(Lens(camera=CAMERA), found, flange_poses(joints))
        file = tmp_path / "robot.xacro"
        file.write_text("<robot/>")
        with pytest.raises(ValueError, match="needs one camera_joint"):
            apply_mount(file, mount)
        assert file.read_text() == "<robot/>"


def test_a_pose_is_that_of_the_board():
    for seed in range(5):
        board = scene(seed, 1)[1][0]
        found = sightings([board], np.random.default_rng(seed), noise=0.0)[0]
        distance, turn = apart(board_pose(CAMERA, found), board)
        assert distance < 1e-4 and turn < 1e-3


def test_the_printed_board_is_the_one_that_is_found(tmp_path):
    file = tmp_path / "board.png"
    calibrate_command.main(["--print-board", str(file)])
    found = BOARD.find(cv2.imread(str(file)))
    assert len(found) == len(BOARD.corners) == 24
    # 35 mm are 413 dots at 300 dpi; a module is a whole number of dots.
    step = np.diff(found.pixels[:6, 0])
    assert np.allclose(step, step[0], atol=0.2) and step[0] == pytest.approx(413, abs=4)


def test_the_pdf_is_true_to_size(tmp_path):
    file = tmp_path / "board.pdf"
    Board(square=0.03).print(file)
    content = file.read_bytes()
    assert b"/MediaBox [0 0 841.890 595.276]" in content  # A4 in points
    drawn = zlib.decompress(re.search(rb"stream\n(.*)\nendstream", content, re.S)[1]).decode()
    boxes = np.array(
        [list(map(float, m)) for m in re.findall(r"(\S+) (\S+) (\S+) (\S+) re f", drawn)]
    )
    points = 72 / 0.0254
    span = boxes[:, :2].min(0), (boxes[:, :2] + boxes[:, 2:]).max(0)
    assert np.allclose(span[1] - span[0], np.multiply((7, 5), 0.03 * points), atol=0.01)
    # Drawn again at ten dots a module, it is found.
    dot = 0.03 / 8 * points / 10
    page = np.full((620, 820), 255, np.uint8)
    for x, y, w, h in np.round((boxes - [*span[0], 0, 0]) / dot).astype(int):
        page[500 - y - h : 500 - y, 100 + x : 100 + x + w] = 0
    assert len(Board(square=0.03).find(page)) == 24
    # Every object is where the table says.
    for number, offset in enumerate(re.findall(rb"(\d{10}) 00000 n", content), 1):
        assert content[int(offset) :].startswith(b"%d 0 obj" % number)


def test_a_board_too_large_for_the_page_and_other_mistakes(tmp_path):
    with pytest.raises(ValueError, match="does not fit on A4"):
        Board(square=0.05).print(tmp_path / "b.pdf")
    with pytest.raises(ValueError, match=r"\.pdf or \.png"):
        Board().print(tmp_path / "b.svg")
    with pytest.raises(ValueError, match=r"between 0\.005 and 0\.5 m, got 35"):
        Board(square=35)
    assert Board().find(np.zeros((100, 100, 3), np.uint8)) is None
