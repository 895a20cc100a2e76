"""Starts the processes of a graph, keeps them running, and ends them all."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from manip_bringup.graph import USER_ERROR, NodeSpec, environment

# Pause before a node that died is started again: doubled each time, and forgotten after a while.
FIRST_PAUSE_S, LONGEST_PAUSE_S, FORGOTTEN_S = 0.5, 8.0, 30.0
# What a node gets to end by itself before it is made to.
GRACE_S = 5.0
_COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def executable_path(package: str, executable: str) -> Path:
    """Where colcon installed a package's executable.

    Raises:
        FileNotFoundError: It is in no ament prefix.
    """
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    for prefix in prefixes:
        path = Path(prefix) / "lib" / package / executable
        if path.exists():
            return path
    raise FileNotFoundError(
        f"{executable} of {package} is in none of the ament prefixes {prefixes}: "
        "is the workspace built and its set-up file sourced?"
    )


def command_line(node: NodeSpec, params_file: str = "") -> list[str]:
    """The arguments that start a node, as ``ros2 run`` would."""
    line = [str(executable_path(node.package, node.executable)), "--ros-args"]
    if params_file:
        line += ["--params-file", params_file]
    for name, value in node.parameters.items():
        line += ["-p", f"{name}:={_yaml(value)}"]
    for old, new in node.remaps.items():
        line += ["-r", f"{old}:={new}"]
    return line


def _yaml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # Quoted: a source named 0 or a folder named true stays the text that it is.
    return f"'{value}'" if isinstance(value, str) else repr(value)


@dataclass
class _Process:
    node: NodeSpec
    process: subprocess.Popen
    started: float
    pause: float = FIRST_PAUSE_S
    restart_at: float | None = None


class Supervisor:
    """Runs nodes until told to stop.

    Attributes:
        status: Exit status for the caller: that of a node whose arguments were wrong, else 0.
    """

    def __init__(self, nodes: list[NodeSpec], params_file: str = "", out=sys.stdout):
        self._out = out
        self._params_file = params_file
        self._environment = {**os.environ, **environment()}
        # Read by the wheels' start-up: each process must set up its own libraries.
        self._environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
        self._width = max(len(node.name) for node in nodes)
        self._colour = {n.name: _COLOURS[i % len(_COLOURS)] for i, n in enumerate(nodes)}
        self._print = threading.Lock()
        self._stopping = threading.Event()
        self.status = 0
        # A wrong installation shows before anything runs.
        for node in nodes:
            executable_path(node.package, node.executable)
        self._nodes = nodes
        self._processes: list[_Process] = []

    def pids(self) -> dict[str, int]:
        """Process id of every node that runs."""
        running = [entry for entry in self._processes if entry.process.poll() is None]
        return {entry.node.name: entry.process.pid for entry in running}

    def stop(self) -> None:
        """Ask the loop in ``run`` to end."""
        self._stopping.set()

    def run(self) -> int:
        """Start the nodes and watch them until ``stop`` is called; returns the exit status."""
        for node in self._nodes:
            if not self._stopping.is_set():
                self._processes.append(self._start(node))
        while not self._stopping.wait(0.1):
            for entry in self._processes:
                self._watch(entry)
        self._end_all()
        return self.status

    def say(self, name: str, text: str) -> None:
        """Print one line with the name before it."""
        label = f"{name:<{self._width}} |"
        if self._out.isatty():
            label = f"\033[{self._colour.get(name, 1)}m{label}\033[0m"
        with self._print:
            print(f"{label} {text}", file=self._out, flush=True)

    def _start(self, node: NodeSpec) -> _Process:
        process = subprocess.Popen(
            command_line(node, self._params_file),
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Ctrl-C goes to the supervisor alone, which then ends the nodes in its own time.
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        threading.Thread(target=self._forward, args=(node.name, process), daemon=True).start()
        return _Process(node, process, time.monotonic())

    def _forward(self, name: str, process: subprocess.Popen) -> None:
        for line in process.stdout:
            self.say(name, line.rstrip())

    def _watch(self, entry: _Process) -> None:
        now = time.monotonic()
        if entry.restart_at is not None:
            if now >= entry.restart_at:
                fresh = self._start(entry.node)
                entry.process, entry.started, entry.restart_at = fresh.process, now, None
            return
        code = entry.process.poll()
        if code is None:
            return
        name = entry.node.name
        if code == USER_ERROR:
            self.say(name, "cannot start with these arguments: ending")
            self.status = USER_ERROR
            self._stopping.set()
            return
        if now - entry.started > FORGOTTEN_S:
            entry.pause = FIRST_PAUSE_S
        how = signal.Signals(-code).name if code < 0 else f"status {code}"
        self.say(name, f"died ({how}); starting it again in {entry.pause:g} s")
        entry.restart_at = now + entry.pause
        entry.pause = min(2 * entry.pause, LONGEST_PAUSE_S)

    def _end_all(self) -> None:
        running = [entry.process for entry in self._processes if entry.process.poll() is None]
        # Not SIGINT: a node that still imports would answer it with a page of traceback.
        for sign, patience in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, 1.0)):
            for process in running:
                process.send_signal(sign)
            until = time.monotonic() + patience
            while running and time.monotonic() < until:
                time.sleep(0.02)
                running = [process for process in running if process.poll() is None]
            if not running:
                return
            names = [e.node.name for e in self._processes if e.process in running]
            self.say("manip", f"{', '.join(names)} did not end on {sign.name}")


def _die_with_parent() -> None:
    """Runs in the child: have the kernel stop it should the supervisor be killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
