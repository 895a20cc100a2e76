"""The ``manip`` command: starts node graphs where there is no ``ros2 launch``, and small tools."""

import signal
import sys
from pathlib import Path

from manip_bringup.graph import GRAPHS, USER_ERROR, Graph, NodeSpec, check_installed, replay
from manip_bringup.supervisor import Supervisor

_PARAMS = "params"
# The word that makes of training one that learns in simulation.
_MJX = "physics=mjx"

# What works on recordings and the robot, by name.
TOOLS = {
    "replay": "run a recorded bag through the sim graph again: manip replay BAG [name:=value ...]",
    "mark": "an episode of what is being recorded: manip mark start|success|failure|discard [task]",
    "export": "demonstrations to learn from: manip export BAG ... --format lerobot|mcap|npz"
    " --out DIR; a trained model as it ships: manip export MODEL --out DIR",
    "refine": "recorded actions made better by gradient through the simulator:"
    " manip refine BAG --out DIR [--thing ball --lift 0.1]",
    "merge": "recorded demonstrations as one motion: manip merge BAG BAG --out DIR",
    "latency": "where the time goes from a picture to the robot's command: manip latency BAG",
    "snapshot": "pictures of the robot and the operator page: manip snapshot [--out DIR]",
    "calibrate-camera": "the lens, and where the camera stands: manip calibrate-camera DIR; --help",
}

# What the training package adds, where it is installed.
TRAINING = {
    "train": "train the pose transformer: manip train [key=value ...]; --help lists the keys;"
    " physics=mjx: offsets to retargeted fingers, through the simulator",
    "eval": "measure a model or a run: manip eval MODEL [--split test]",
    "compare": "the same training with one thing changed: manip compare VARIANT ... [--seeds N]",
    "sweep": "many trials of config/sweep.yaml: manip sweep [--offline --count N]",
    "debug": "one training step under the magnifying glass: manip debug preset=large",
    "report": "docs/results.md from run folders: manip report RUN ...",
    "photos": "a model on your own photos: manip photos MODEL --photos DIR",
    "temporal": "train temporal fusion: manip temporal --out FILE",
    "transition": "train the model of hands between two moments: manip transition --out FILE",
    "action": "train the action decoder: manip action --out FILE",
    "synth": "rendered hands as a data set: manip synth --out DIR --count N",
}


def main(argv: list[str] | None = None) -> None:
    """Entry point: ``manip COMMAND [name:=value …]``."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return
    command, *rest = argv
    try:
        status = _dispatch(command, rest)
    except (ValueError, FileNotFoundError) as error:
        print(f"manip {command}: {error}", file=sys.stderr)
        status = USER_ERROR
    except KeyboardInterrupt:
        # Before there was anything to end.
        status = 130
    sys.exit(status)


def usage() -> str:
    """What the command can do."""
    lines = ["manip COMMAND [name:=value ...]", ""]
    for name, graph in GRAPHS.items():
        lines += [f"manip {name}: {graph.help}"]
        for argument in graph.arguments:
            choices = f" ({' | '.join(argument.choices)})" if argument.choices else ""
            lines.append(f"    {argument.name}:={argument.default:<12} {argument.help}{choices}")
        lines.append(f"    {_PARAMS}:={'':<12} ROS parameter file, for every node")
        lines.append("")
    for commands in (TOOLS, TRAINING):
        lines += [*(f"manip {name}: {text}" for name, text in commands.items()), ""]
    return "\n".join(lines)


def parse(words: list[str]) -> dict[str, str]:
    """``name:=value`` words as a dictionary; raises ``ValueError`` for any other word."""
    given = {}
    for word in words:
        name, separator, value = word.partition(":=")
        if not separator:
            raise ValueError(f"arguments are written name:=value, got {word!r}")
        given[name] = value
    return given


def _dispatch(command: str, rest: list[str]) -> int:
    if command == "export":
        from manip_bringup import demonstrations_command

        if demonstrations_command.means_bags(rest):
            return demonstrations_command.main(rest)
        return _train(command, rest)
    if command == "refine":
        from manip_bringup import refine_command

        return refine_command.main(rest)
    if command == "latency":
        from manip_bringup import latency

        return latency.main(rest)
    if command == "merge":
        from manip_bringup import merge_command

        return merge_command.main(rest)
    if command == "mark":
        from manip_bringup.episodes import Mark
        from manip_bringup.mark_node import send

        send(Mark.parse(" ".join(rest)))
        return 0
    if command == "snapshot":
        from manip_bringup import snapshot

        return snapshot.main(rest) or 0
    if command == "calibrate-camera":
        from manip_bringup import calibrate_command

        return calibrate_command.main(rest)
    if command == "replay":
        if not rest or ":=" in rest[0]:
            raise ValueError("name the bag: manip replay BAG [name:=value ...]")
        bag = Path(rest[0]).expanduser().resolve()
        if not bag.exists():
            raise FileNotFoundError(f"no bag at {bag}")
        graph = GRAPHS["sim"]
        given, params = _arguments(graph, rest[1:])
        return _run(replay(graph, given, str(bag)), given, params)
    if command == "train" and _MJX in rest:
        from manip_bringup import physics_process

        return physics_process.train([word for word in rest if word != _MJX])
    if command in TRAINING:
        return _train(command, rest)
    if command not in GRAPHS:
        choices = ", ".join((*GRAPHS, *TOOLS, *TRAINING))
        raise ValueError(f"no such command; there are {choices}")
    graph = GRAPHS[command]
    given, params = _arguments(graph, rest)
    return _run(graph.nodes(given), given, params)


def _train(command: str, rest: list[str]) -> int:
    try:
        from manip_training import commands
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("manip_"):
            raise
        raise ValueError(
            f"training needs {error.name}, which is not installed: run make setup-train"
        ) from error
    return commands.main([command, *rest])


def _arguments(graph: Graph, words: list[str]) -> tuple[dict[str, str], str]:
    given = parse(words)
    params = given.pop(_PARAMS, "")
    if params and not Path(params).exists():
        raise FileNotFoundError(f"no parameter file at {params}")
    resolved = graph.resolve(given)
    check_installed(resolved)
    return resolved, params


def _run(nodes: list[NodeSpec], given: dict[str, str], params: str) -> int:
    supervisor = Supervisor(nodes, params)
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: supervisor.stop())
    if given.get("viewer") == "true":
        supervisor.say("manip", f"operator page: http://{given['host']}:{given['port']}")
    supervisor.say("manip", f"{len(nodes)} nodes; Ctrl-C ends them")
    status = supervisor.run()
    supervisor.say("manip", "all ended")
    return status


if __name__ == "__main__":
    main()
