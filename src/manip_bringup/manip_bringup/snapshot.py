"""``manip snapshot``: pictures of the robot and of the operator page, for the README."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np

from manip_bringup.browser import Page, find_browser
from manip_core.hand import RIGHT, SIDES

_SIZE = (1440, 900)
_START_S, _RUN_S, _STATE_S = 60.0, 12.0, 10.0
# Closes what viser says about rendering without a graphics card.
_CLOSE_NOTICES = (
    "document.querySelectorAll('.mantine-Notification-closeButton').forEach(b=>b.click())"
)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="manip snapshot", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder for the PNGs")
    parser.add_argument("--hand", choices=SIDES, default=RIGHT)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the operator page")
    parser.add_argument("--settle", type=float, default=20.0, help="time the page gets [s]")
    parser.add_argument(
        "--size", type=_size, default=_SIZE, help="of the page [px], e.g. 1024x768 for a tablet"
    )
    parser.add_argument(
        "--start", action="store_true", help="start the sim graph where no page is served"
    )
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    graph, bags = None, tempfile.TemporaryDirectory(prefix="manip-snapshot-")
    if not page_answers(options.url):
        if not options.start:
            print(f"nothing answers at {options.url}: picture of the robot at home alone")
        else:
            graph = _start_graph(options.url, options.hand, f"{bags.name}/bag")
    try:
        return _take(options)
    finally:
        if graph is not None:
            graph.terminate()
            graph.wait(timeout=20)
        bags.cleanup()


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def page_answers(url: str) -> bool:
    """True where a web server answers."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def render(side: str, names, positions, objects: dict[str, np.ndarray], camera: str = "overview"):
    """Picture of the robot, ``(900, 1440, 3)`` uint8 RGB.

    Args:
        side: ``"left"`` or ``"right"``.
        names: Joints that are posed; the others stay at home.
        positions: Their positions [rad].
        objects: Pose by name, ``(7,)``: position [m], quaternion (w, x, y, z).
        camera: A camera of the model.

    Raises:
        RuntimeError: This machine cannot render.
    """
    if not os.environ.get("DISPLAY"):
        # MuJoCo chooses how to render when it is imported, and fails later without a display.
        os.environ.setdefault("MUJOCO_GL", "egl")
    import mujoco

    from manip_core.robot_model import JOINT_NAMES, build_model, home

    model = build_model(side)
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    data.qpos[: len(JOINT_NAMES)] = home(side)
    for name, position in zip(names, positions, strict=True):
        if name in JOINT_NAMES:
            data.joint(name).qpos = position
    for name, pose in objects.items():
        if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, name) >= 0:
            data.joint(name).qpos = pose
    mujoco.mj_forward(model, data)
    try:
        with mujoco.Renderer(model, _SIZE[1], _SIZE[0]) as renderer:
            renderer.update_scene(data, camera=camera)
            return renderer.render()
    except Exception as error:
        raise RuntimeError(
            f"cannot render: {error}; set MUJOCO_GL=egl or osmesa (Debian: libegl1, libosmesa6)"
        ) from error


def _take(options) -> int:
    served = page_answers(options.url)
    names, positions, objects = (), (), {}
    if served:
        from manip_bringup.snapshot_node import robot_state

        state = robot_state(_STATE_S)
        if state is None:
            print("the graph runs, but no joint states came: picture of the robot at home")
        else:
            names, positions, objects = state
    status = 0
    try:
        _save(options.out / "robot.png", render(options.hand, names, positions, objects))
    except RuntimeError as error:
        print(f"manip snapshot: {error}", file=sys.stderr)
        status = 1
    if not served:
        return status or 1
    if find_browser() is None:
        print("no Chromium here: the operator page is left out (apt install chromium)")
        return status
    with Page(options.url, options.size) as page:
        time.sleep(options.settle)
        page.evaluate(_CLOSE_NOTICES)
        time.sleep(2.0)
        path = options.out / "operator_page.png"
        path.write_bytes(page.screenshot())
        print(path)
    return status


def _save(path: Path, picture: np.ndarray) -> None:
    if not cv2.imwrite(str(path), picture[:, :, ::-1]):
        raise OSError(f"cannot write {path}")
    print(path)


def _start_graph(url: str, side: str, record: str) -> subprocess.Popen:
    port = url.rsplit(":", 1)[-1].strip("/")
    command = [sys.executable, "-m", "manip_bringup.cli", "sim", f"port:={port}", f"hand:={side}"]
    # Recording, so that the page shows its buttons for episodes.
    command += ["source:=demo", f"record:={record}"]
    graph = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    end = time.monotonic() + _START_S
    while not page_answers(url):
        if graph.poll() is not None or time.monotonic() > end:
            graph.terminate()
            raise RuntimeError(f"the graph did not serve {url} within {_START_S:.0f} s")
        time.sleep(0.5)
    time.sleep(_RUN_S)
    return graph
