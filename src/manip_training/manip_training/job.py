"""A training run as a child process: started, watched through its run folder, cancelled."""

import ctypes
import json
import signal
import subprocess
import sys
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

# What a run gets to finish its step and save before it is ended all the same [s].
GRACE_S = 30.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
# The last words of a run that failed.
_KEPT_LINES = 20


class Status(Enum):
    """Of a job; the values are those of ``manip_msgs/TrainingState``."""

    IDLE = 0
    RUNNING = 1
    CANCELLING = 2
    DONE = 3
    CANCELLED = 4
    FAILED = 5


@dataclass
class JobState:
    """What is known of a job.

    Attributes:
        status: Of the process.
        run: The run folder.
        step, steps: The last logged step, and how many there will be; 0 while unknown.
        metrics: The last logged value of each metric.
        message: Why it failed, in the run's own last words; else empty.
    """

    status: Status = Status.IDLE
    run: str = ""
    step: int = 0
    steps: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    message: str = ""


class TrainingJob:
    """One ``manip train`` at a time; it ends when its owner does."""

    def __init__(
        self, command: tuple[str, ...] = (sys.executable, "-m", "manip_training.commands")
    ):
        self._command = command
        self._process: subprocess.Popen | None = None
        self._log: Path | None = None
        self._read = 0
        self._killed_after: float | None = None
        self.state = JobState()

    @property
    def active(self) -> bool:
        """A run is under way."""
        return self._process is not None

    def start(self, run: Path, overrides: list[str]) -> None:
        """Start a run in the folder ``run`` with the words that follow ``manip train``.

        Raises:
            RuntimeError: One is under way already.
        """
        if self.active:
            raise RuntimeError(f"a run is under way in {self.state.run}: cancel it first")
        run.mkdir(parents=True, exist_ok=True)
        self._log = run / "output.txt"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._command, "train", f"run.folder={run}", *overrides],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,
            )
        self._read, self._killed_after = 0, None
        self.state = JobState(status=Status.RUNNING, run=str(run))

    def cancel(self, now: float) -> bool:
        """Ask the run to finish its step, save and end; False where none is under way.

        Args:
            now: Any clock's seconds; :meth:`poll` must be given the same clock's.
        """
        if not self.active:
            return False
        if self.state.status is not Status.CANCELLING:
            self.state.status = Status.CANCELLING
            self._killed_after = now + GRACE_S
            self._process.send_signal(signal.SIGINT)
        return True

    def poll(self, now: float) -> JobState:
        """Read what the run has logged since, and whether it has ended."""
        if self.active:
            self._read_metrics()
            code = self._process.poll()
            if code is not None:
                self._read_metrics()
                self._ended(code)
            elif self._killed_after is not None and now > self._killed_after:
                self._process.kill()
        return self.state

    def close(self) -> None:
        """End a run that is under way, with time to save."""
        if self.active:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self.poll(0.0)

    def _ended(self, code: int) -> None:
        self._process = None
        if self.state.status is Status.CANCELLING:
            self.state.status = Status.CANCELLED
        elif code == 0:
            self.state.status = Status.DONE
        else:
            self.state.status = Status.FAILED
            with self._log.open(errors="replace") as log:
                last = deque((line.rstrip() for line in log if line.strip()), _KEPT_LINES)
            self.state.message = "\n".join(last) or f"ended with status {code}"

    def _read_metrics(self) -> None:
        folder = Path(self.state.run)
        if not self.state.steps:
            self.state.steps = _total_steps(folder / "run.json")
        path = folder / "metrics.jsonl"
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._read)
            fresh = file.read()
        # A line may be half written.
        whole, newline, _ = fresh.rpartition(b"\n")
        self._read += len(whole) + len(newline)
        for line in whole.splitlines():
            values = json.loads(line)
            self.state.step = int(values.get("step", self.state.step))
            self.state.metrics |= {
                name: float(value)
                for name, value in values.items()
                if isinstance(value, (int, float)) and name != "step"
            }


def _total_steps(path: Path) -> int:
    try:
        return int(json.loads(path.read_text()).get("steps", 0))
    except (OSError, ValueError):
        return 0


def _die_with_parent() -> None:
    """Runs in the child: have the kernel stop it should its owner be killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
