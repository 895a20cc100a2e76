"""``manip export BAG... --format lerobot|mcap|npz --out DIR``: demonstrations to learn from."""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from manip_bringup.bag_arrays import BagArrays, read_bag
from manip_bringup.demonstration import Demonstration, camera_rate, demonstrate
from manip_bringup.episodes import DISCARD, FAILURE, OPEN, SUCCESS, UNMARKED, Episode, episodes

FORMATS = ("lerobot", "mcap", "npz")
# What is left out unless asked for: nobody said whether these are demonstrations.
_CHOICES = (SUCCESS, FAILURE, UNMARKED, OPEN, DISCARD)
_KEPT = (SUCCESS, FAILURE, UNMARKED)


def means_bags(words: list[str]) -> bool:
    """True where the words of ``manip export`` name bags rather than a trained model."""
    if any(word == "--format" or word.startswith("--format=") for word in words):
        return True
    paths = [Path(word).expanduser() for word in words if not word.startswith("-")]
    return any(path.suffix == ".mcap" or (path / "metadata.yaml").is_file() for path in paths)


def main(argv: list[str]) -> int:
    """Write the episodes of recorded bags as a LeRobot dataset, as bags of their own, or for numpy.

    Raises:
        ValueError, FileNotFoundError: With a message for whoever called it.
    """
    options = _parser().parse_args(argv)
    out = options.out.expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is there already: name a new folder")
    for bag in options.bags:
        if not bag.expanduser().exists():
            raise FileNotFoundError(f"no bag at {bag}")
    if options.format == "lerobot":
        check_installed(video=options.video)
    bags = [(bag, chosen_episodes(bag, options)) for bag in map(read_bag, options.bags)]
    if not any(chosen for _, chosen in bags):
        raise ValueError(f"no episode of {', '.join(options.only or _KEPT)} is in these bags")
    if options.format == "mcap":
        out.mkdir(parents=True, exist_ok=True)
        return _cut(bags, out)
    fps = options.fps or camera_rate(bags[0][0].exposures)
    blind = [bag.path.name for bag, _ in bags if not bag.pictures]
    video = options.video and not blind
    if options.video and blind:
        _say(f"no video is written: {', '.join(blind)} has no pictures")
    for bag, _ in bags:
        if (rate := camera_rate(bag.exposures)) != fps:
            _say(f"{bag.path.name} has {rate} pictures a second, rows are {fps} a second")
    demos = [(bag, demo) for bag, chosen in bags for demo in _demonstrations(bag, chosen, fps)]
    if not demos:
        raise ValueError("no episode could be made of these bags")
    out.mkdir(parents=True, exist_ok=True)
    writer = make_writer(options.format, out, [demo for _, demo in demos], video)
    try:
        for bag, demo in demos:
            writer.add(bag, demo)
            print(f"{_name(bag, demo.episode)}: {len(demo)} rows{_remarks(demo)}")
    finally:
        writer.close()
    rows = sum(len(demo) for _, demo in demos)
    seen = "" if video else ", no video"
    print(f"{out}: {len(demos)} episodes, {rows} rows at {fps} a second{seen}")
    return 0


def _demonstrations(bag: BagArrays, chosen: list[Episode], fps: int) -> Iterator[Demonstration]:
    for episode in chosen:
        try:
            yield demonstrate(bag, episode, fps)
        except ValueError as error:
            _say(f"{_name(bag, episode)} is left out: it {error}")


def check_installed(*, video: bool) -> None:
    """See that what writes a LeRobot dataset is there.

    Raises:
        ValueError: It is not; the message says what to run.
    """
    missing = [name for name in ("pyarrow", *(["av"] if video else [])) if not find_spec(name)]
    if missing:
        raise ValueError(
            f"a LeRobot dataset needs {' and '.join(missing)}, not installed here: "
            "run scripts/setup.sh export"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="manip export", description=main.__doc__.split("\n")[0])
    parser.add_argument("bags", type=Path, nargs="+", metavar="BAG", help="folder or .mcap file")
    parser.add_argument("--format", choices=FORMATS, default="lerobot")
    parser.add_argument("--out", type=Path, required=True, help="new folder to write to")
    parser.add_argument("--task", default="", help="what was done, where no mark says it")
    parser.add_argument("--fps", type=int, default=0, help="rows a second; else the camera's rate")
    parser.add_argument(
        "--only",
        action="append",
        choices=_CHOICES,
        help=f"outcome to export, may be given again; else {', '.join(_KEPT)}",
    )
    parser.add_argument("--no-video", dest="video", action="store_false", help="leave pictures out")
    return parser


def chosen_episodes(bag: BagArrays, options: argparse.Namespace) -> list[Episode]:
    """The episodes of a bag that are asked for: of ``options`` count ``fps``, ``only``, ``task``.

    Raises:
        ValueError: The rate is none.
    """
    if options.fps < 0:
        raise ValueError(f"--fps must be positive, got {options.fps}")
    found, problems = episodes(bag.marks, 0.0, bag.end)
    for problem in (*bag.problems, *problems):
        _say(f"{bag.path.name}: {problem}")
    wanted = options.only or _KEPT
    for episode in found:
        if episode.outcome not in wanted:
            _say(f"{_name(bag, episode)} is left out")
    return [
        replace(episode, task=episode.task or options.task)
        for episode in found
        if episode.outcome in wanted
    ]


def make_writer(kind: str, out: Path, demos: list[Demonstration], video: bool):
    """What writes demonstrations into a new folder, as ``npz`` or ``lerobot``."""
    if kind == "npz":
        from manip_bringup.npz_export import NpzWriter

        return NpzWriter(out, video=video)
    from manip_bringup.lerobot_export import LerobotWriter

    most = max(demo.commands.shape[1] for demo in demos)
    return LerobotWriter(out, demos[0].fps, most, video=video)


def _cut(bags: list[tuple[BagArrays, list[Episode]]], out: Path) -> int:
    from manip_bringup.mcap_export import cut

    count = 0
    for bag, chosen in bags:
        for episode in chosen:
            written = cut(bag.path, bag.origin, episode, out / f"episode_{count:06d}")
            print(f"{_name(bag, episode)}: {written} messages")
            count += 1
    print(f"{out}: {count} episodes")
    return 0


def _name(bag: BagArrays, episode: Episode) -> str:
    return f"{bag.path.name} {episode.start:.1f} to {episode.end:.1f} s ({episode.outcome})"


def _remarks(demo: Demonstration) -> str:
    remarks = ""
    if demo.repeated:
        remarks += f", {demo.repeated} pictures repeated"
    if demo.longest_gap > 0.1:
        remarks += f", joint states pause for {demo.longest_gap:.2f} s"
    return remarks


def _say(text: str) -> None:
    print(f"manip export: {text}", file=sys.stderr)
