"""``manip refine BAG --out DIR``: a demonstration's actions, improved by gradient in simulation."""

import argparse
import json
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np

from manip_bringup.bag_arrays import read_bag
from manip_bringup.demonstration import Demonstration, camera_rate, demonstrate
from manip_bringup.episodes import FAILURE, SUCCESS, UNMARKED, episodes
from manip_bringup.npz_export import NpzWriter
from manip_bringup.physics_process import environment, interpreter
from manip_core.hand import RIGHT, SIDES
from manip_core.scene import PROPS

_KINDS = {mujoco.mjtGeom.mjGEOM_SPHERE: ("sphere", 1), mujoco.mjtGeom.mjGEOM_BOX: ("box", 3)}
# Objects of the scene that the differentiable simulation knows: it has no cylinders.
THINGS = {prop.name: prop for prop in PROPS if prop.kind in _KINDS}


def main(argv: list[str]) -> int:
    """Improve the actions of recorded episodes and write them for numpy.

    Raises:
        ValueError, FileNotFoundError: With a message for whoever called it.
    """
    options = _parser().parse_args(argv)
    out = options.out.expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is there already: name a new folder")
    python = interpreter()
    bag = read_bag(options.bag)
    found, _ = episodes(bag.marks, 0.0, bag.end)
    chosen = [e for e in found if e.outcome in (SUCCESS, FAILURE, UNMARKED)]
    if not chosen:
        raise ValueError(f"{options.bag} has no episode that is a success, failure or unmarked")
    out.mkdir(parents=True, exist_ok=True)
    writer = NpzWriter(out, video=False)
    for episode in chosen:
        demo = demonstrate(bag, episode, options.fps or camera_rate(bag.exposures))
        print(f"{bag.path.name} {episode.start:.1f} to {episode.end:.1f} s: {len(demo)} rows")
        actions, figures = refined(demo, asked(options), python)
        path = writer.add(bag, with_actions(demo, actions))
        path.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
        print(f"{path}: {_told(figures)}")
    return 0


def asked(options: argparse.Namespace) -> dict:
    """What the words of the command line ask of the refinement, as it is handed over."""
    request = {"side": options.hand, "steps": options.steps, "lift": options.lift}
    if options.thing:
        prop = THINGS[options.thing]
        kind, sizes = _KINDS[prop.kind]
        x, y = options.at or (prop.place[0], prop.place[1] * (1 if options.hand == RIGHT else -1))
        request["thing"] = {
            "kind": kind,
            "size": prop.size[:sizes],
            "mass": prop.mass,
            "place": (x, y, prop.height),
        }
    return request


def refined(demo: Demonstration, request: dict, python: str) -> tuple[np.ndarray, dict[str, float]]:
    """Actions ``(n, 22)`` [rad] after refinement, and its figures; see ``manip_physics.refine``.

    Raises:
        ValueError: The refinement refused the request, or failed; with what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(
            source,
            action=demo.action,
            state=demo.state,
            fps=demo.fps,
            options=json.dumps(request),
        )
        done = subprocess.run(
            [python, "-m", "manip_physics.refine_file", str(source), str(target)],
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise ValueError(done.stderr.strip()[-2000:] or f"ended with {done.returncode}")
        with np.load(target) as arrays:
            return arrays["action"], json.loads(str(arrays["figures"]))


def with_actions(demo: Demonstration, actions: np.ndarray) -> Demonstration:
    """The same episode with other actions, each commanded once and held for its row."""
    times = np.tile([0.0, 1.0 / demo.fps], (len(demo), 1))
    return replace(
        demo,
        action=actions,
        commands=np.repeat(actions[:, None], 2, axis=1),
        command_times=times,
    )


def _told(figures: dict[str, float]) -> str:
    before, after = (figures[f"{when}_follow_rad_rms"] for when in ("before", "after"))
    said = f"joints {1e3 * before:.1f} mrad from what was asked, now {1e3 * after:.1f}"
    if "after_thing_height_m" in figures:
        heights = (figures[f"{when}_thing_height_m"] for when in ("before", "after"))
        said += "; object at {:.3f} m in the end, now {:.3f}".format(*heights)
    return said


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="manip refine", description=main.__doc__.split("\n")[0])
    parser.add_argument("bag", type=Path, metavar="BAG", help="folder or .mcap file")
    parser.add_argument("--out", type=Path, required=True, help="new folder to write to")
    parser.add_argument("--hand", choices=SIDES, default=RIGHT, help="side of the robot's hand")
    parser.add_argument("--fps", type=int, default=0, help="rows a second; else the camera's rate")
    parser.add_argument("--steps", type=int, default=12, help="gradients a window of 8 rows")
    parser.add_argument("--thing", choices=sorted(THINGS), help="object of the scene to handle")
    parser.add_argument("--at", type=float, nargs=2, metavar=("X", "Y"), help="where it is [m]")
    parser.add_argument("--lift", type=float, default=0.0, help="how far it is to come up [m]")
    return parser
