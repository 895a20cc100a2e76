"""``manip merge A B --out C``: recorded demonstrations as one continuous motion."""

import argparse
import sys
from pathlib import Path

from manip_bringup import seam
from manip_bringup.bag_arrays import BagArrays, read_bag
from manip_bringup.demonstration import Demonstration, camera_rate, demonstrate
from manip_bringup.demonstrations_command import check_installed, chosen_episodes, make_writer
from manip_bringup.merge import merged, trouble
from manip_control.guard import Guard, GuardConfig
from manip_core.robot_model import limits
from manip_perception.transition import Transition

FORMATS = ("npz", "lerobot")


def main(argv: list[str]) -> int:
    """Join recorded demonstrations, one behind the other, and write the whole as an episode.

    Raises:
        ValueError, FileNotFoundError: With a message for whoever called it.
    """
    options = _parser().parse_args(argv)
    out = options.out.expanduser()
    if len(options.bags) < 2:
        raise ValueError(f"name two bags or more, got {len(options.bags)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is there already: name a new folder")
    if options.format == "lerobot":
        check_installed(video=False)
    numbers = options.episode or [None] * len(options.bags)
    if len(numbers) != len(options.bags):
        raise ValueError(f"--episode must be given once for each bag, got {len(numbers)} of them")
    bags = [read_bag(path) for path in options.bags]
    sides = {bag.hands.side for bag in bags}
    if len(sides) > 1:
        raise ValueError("all must show one hand, got left and right ones")
    options.fps = options.fps or camera_rate(bags[0].exposures)
    demos = [_demo(bag, n, options) for bag, n in zip(bags, numbers, strict=True)]
    demo = _joined(demos, sides.pop(), allow_contact=options.allow_contact)
    out.mkdir(parents=True, exist_ok=True)
    writer = make_writer(options.format, out, [demo], video=False)
    try:
        writer.add(bags[0], demo)
    finally:
        writer.close()
    print(f"{out}: {len(demo)} rows at {demo.fps} a second, no pictures")
    return 0


def _joined(demos: list[Demonstration], side: str, *, allow_contact: bool) -> Demonstration:
    bounds, transition, guard = limits(side), Transition.shipped(), Guard(GuardConfig(), side)
    whole = demos[0]
    for demo in demos[1:]:
        rows = len(whole) + len(demo)
        whole = merged(whole, demo, bounds, transition, side)
        first, last = whole.seams[-1]
        left_out = rows - (len(whole) - (last - first + 1))
        if (touched := trouble(whole, guard)) and not allow_contact:
            raise ValueError(
                f"on the straight way from one to the other there is no room between {touched}: "
                "begin the second nearer to where the first ends, or say --allow-contact"
            )
        ratios = seam.seam_ratios(whole.action, first, last, whole.fps)
        told = ", ".join(f"{name} {value:.2f}" for name, value in ratios.items())
        seconds = (last - first + 1) / whole.fps
        print(
            f"seam in rows {first} to {last}, {seconds:.2f} s; hardest acceleration over the "
            f"clips' own: {told}"
            + (f"; {left_out} rows beside it left out" if left_out else "")
            + (f"; too near: {touched}" if touched else "")
        )
    return whole


def _demo(bag: BagArrays, number: int | None, options: argparse.Namespace) -> Demonstration:
    found = chosen_episodes(bag, options)
    name = bag.path.name
    if number is None and len(found) == 1:
        number = 0
    if number is None or not 0 <= number < len(found):
        listed = "; ".join(
            f"{i}: {e.start:.1f} to {e.end:.1f} s, {e.outcome} {e.task}".rstrip()
            for i, e in enumerate(found)
        )
        raise ValueError(f"choose an episode of {name} with --episode; it has {listed or 'none'}")
    try:
        return demonstrate(bag, found[number], options.fps)
    except ValueError as error:
        raise ValueError(f"episode {number} of {name} {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="manip merge", description=main.__doc__.split("\n")[0])
    parser.add_argument("bags", type=Path, nargs="+", metavar="BAG", help="two or more, in order")
    parser.add_argument("--out", type=Path, required=True, help="new folder to write to")
    parser.add_argument("--format", choices=FORMATS, default="npz")
    parser.add_argument(
        "--episode",
        type=int,
        action="append",
        help="which of a bag's episodes, from 0; once for each bag, where one has several",
    )
    parser.add_argument("--task", default="", help="what was done, where no mark says it")
    parser.add_argument("--fps", type=int, default=0, help="rows a second; else the first camera's")
    parser.add_argument(
        "--allow-contact",
        action="store_true",
        help="write it even if the robot would touch something in between",
    )
    parser.set_defaults(only=None)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
