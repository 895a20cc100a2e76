"""Where figures go: metrics.jsonl always, TensorBoard or Weights & Biases where wanted."""

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from manip_training.config import TrainConfig
from manip_training.run_folder import RunFolder


class Logger(Protocol):
    """Takes a line of figures: names to numbers, ``step`` among them."""

    def log(self, line: dict) -> None:
        """Keep a line."""

    def close(self) -> None:
        """Nothing more comes."""


class FileLogger:
    """One JSON object a line, on the disk when :meth:`log` returns; not-a-number becomes null."""

    def __init__(self, path: Path, say: Callable[[str], None]):
        self._path, self._say = path, say
        self._told = False

    def log(self, line: dict) -> None:
        """Append a line; a disk that is full costs the line, not the training."""
        text = json.dumps({name: _finite(value) for name, value in line.items()}) + "\n"
        try:
            with self._path.open("a") as file:
                file.write(text)
        except OSError as error:
            if not self._told:
                self._say(f"{self._path} cannot be written, its lines are lost: {error}")
            self._told = True

    def close(self) -> None:
        """Every line is written already."""


class TensorBoardLogger:
    """Numbers as TensorBoard's scalars, in the run folder."""

    def __init__(self, folder: Path, first_step: int):
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder, purge_step=first_step)

    def log(self, line: dict) -> None:
        """Keep a line."""
        for name, value in line.items():
            if name != "step" and isinstance(value, (int, float)):
                self._writer.add_scalar(name, value, line["step"])

    def close(self) -> None:
        """Flush."""
        self._writer.close()


class WandbLogger:
    """A run of Weights & Biases: the active one of a sweep, else one named as the folder.

    Offline, everything is kept in the run folder and ``wandb sync`` uploads it later.
    """

    def __init__(self, folder: Path, config: TrainConfig):
        import wandb

        self._run = wandb.run or wandb.init(
            project=config.run.wandb_project,
            name=folder.name,
            id=folder.name,
            resume="allow" if config.run.wandb_mode == "online" else None,
            dir=str(folder),
            mode=config.run.wandb_mode,
        )
        self._run.config.update(config.to_dict(), allow_val_change=True)

    def log(self, line: dict) -> None:
        """Keep a line."""
        self._run.log({k: v for k, v in line.items() if k != "step"}, step=line["step"])

    def close(self) -> None:
        """Wait until all is kept."""
        self._run.finish()


def make_loggers(
    folder: RunFolder, config: TrainConfig, first_step: int, say: Callable[[str], None]
) -> list[Logger]:
    """The file, and what ``config.run.logger`` names.

    Raises:
        ValueError: The package for it is not installed.
    """
    made: list[Logger] = [FileLogger(folder.metrics, say)]
    try:
        if config.run.logger == "tensorboard":
            made.append(TensorBoardLogger(folder.path / "tensorboard", first_step))
        elif config.run.logger == "wandb":
            made.append(WandbLogger(folder.path, config))
    except ImportError as error:
        raise ValueError(
            f"run.logger={config.run.logger} needs a package that is missing: {error}"
        ) from error
    return made


class Progress:
    """A bar on a terminal; elsewhere a line every ``seconds``."""

    def __init__(self, *, seconds: float = 10.0, shown: bool = True):
        self._steps, self._seconds, self._shown = 0, seconds, shown
        self._last = time.monotonic()
        self._bar = None

    def start(self, first: int, steps: int) -> None:
        """``first`` of ``steps`` are done already."""
        self._steps = steps
        if self._shown and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=steps, initial=first, unit="step", dynamic_ncols=True)

    def step(self, line: dict) -> None:
        """One step is done."""
        if not self._shown:
            return
        told = f"loss {line['loss']:.4g}  lr {line['lr']:.3g}  {line['images_per_s']:.1f} images/s"
        if self._bar is not None:
            self._bar.set_postfix_str(told, refresh=False)
            self._bar.update()
        elif time.monotonic() - self._last >= self._seconds or line["step"] == self._steps:
            self._last = time.monotonic()
            self.say(f"step {line['step']} of {self._steps}  {told}")

    def say(self, text: str) -> None:
        """A line of words, which does not tear the bar."""
        if not self._shown:
            return
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """No more steps."""
        if self._bar is not None:
            self._bar.close()


def _finite(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value
