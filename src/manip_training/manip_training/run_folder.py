"""The folder of a run: config.yaml, run.json, metrics.jsonl, checkpoints/last.pt and best.pt."""

import json
import os
import platform
import shlex
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import torch
import yaml

from manip_model import checkpoint
from manip_model.shards import INDEX
from manip_training.config import RunConfig, TrainConfig, differences

RUNS = Path("runs")
# Figures that a report collects from a folder: name -> {"value", "command"}.
FIGURES = "figures.json"


class RunFolder:
    """Where one run is kept.

    Attributes:
        path: The folder; it exists.
        config, facts, metrics, last, best: Paths of the files in it.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.facts = self.path / "run.json"
        self.metrics = self.path / "metrics.jsonl"
        self.last = self.path / "checkpoints" / "last.pt"
        self.best = self.path / "checkpoints" / "best.pt"
        self.last.parent.mkdir(parents=True, exist_ok=True)

    def start(self, config: TrainConfig, facts: dict) -> None:
        """Write config.yaml and run.json; of a resumed run, add to the latter."""
        _write_text(self.config, yaml.safe_dump(config.to_dict(), sort_keys=False))
        held = facts
        if self.last.exists() and self.facts.exists():
            held = json.loads(self.facts.read_text())
            held.setdefault("resumed", []).append(facts)
        _write_text(self.facts, json.dumps(held, indent=2) + "\n")

    def cut_metrics(self, step: int) -> None:
        """Drop the metrics after ``step``, and lines that a killed process left torn."""
        if not self.metrics.exists():
            return
        kept = [line for line in read_metrics(self.metrics) if line.get("step", 0) <= step]
        _write_text(self.metrics, "".join(f"{json.dumps(line)}\n" for line in kept))


def read_metrics(path: str | Path) -> list[dict]:
    """The lines of a metrics.jsonl, without a last one that is not whole (yet)."""
    found = []
    for line in Path(path).read_text().splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def choose(config: RunConfig, runs: Path = RUNS) -> tuple[Path, Path | None]:
    """Folder and, where the run goes on from one, checkpoint.

    Raises:
        ValueError: The folder holds a run that would be overwritten.
        FileNotFoundError: There is no checkpoint at ``config.resume``.
    """
    fresh = runs / f"{config.name}-{datetime.now():%Y-%m-%d-%H%M%S}"
    folder = Path(config.folder) if config.folder else fresh
    if config.resume == "auto":
        found = RunFolder(folder).last if config.folder else _newest(runs, config.name)
        if found is not None and found.exists():
            return found.parents[1], found
        return folder, None
    if config.resume:
        given = Path(config.resume)
        found = given if given.is_file() else given / "checkpoints" / "last.pt"
        if not found.is_file():
            raise FileNotFoundError(f"nothing to resume: no checkpoint at {found}")
        return (folder if config.folder else found.parents[1]), found
    if (folder / "checkpoints" / "last.pt").exists():
        raise ValueError(
            f"{folder} holds a run already: choose another run.folder, or go on with it by "
            "run.resume=auto"
        )
    return folder, None


def _newest(runs: Path, name: str) -> Path | None:
    """The youngest last.pt of a run of this name; folders end in the date."""
    found = runs.glob(f"{name}-[0-9]*/checkpoints/last.pt")
    return max(found, key=lambda path: path.parents[1].name, default=None)


def read_checkpoint(path: Path, config: TrainConfig) -> tuple[dict, TrainConfig]:
    """A training checkpoint of the same config, for going on; the config with its ``auto`` settled.

    Raises:
        ValueError: Not one, or of another config; the message names the fields that differ.
    """
    held = checkpoint.read(path)
    if "training" not in held:
        raise ValueError(
            f"{path} holds a model without its training: resume from last.pt, or start a new run "
            f"from these weights with train.init={path}"
        )
    saved = held["training"]["config"]
    settled = {
        name: saved["train"][name]
        for name in ("batch", "precision")
        if getattr(config.train, name) == "auto"
    }
    config = replace(config, train=replace(config.train, **settled))
    if changed := differences(saved, config.to_dict()):
        raise ValueError(
            f"{path} is of another config ({'; '.join(changed)}): give the same, or start a new "
            f"run from its weights with train.init={path}"
        )
    return held, config


def facts(seed: int, device: torch.device, processes: int) -> dict:
    """What one needs to know to run it again; no host name, and no path of this machine."""
    cuda = device.type == "cuda"
    return {
        "started": f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}",
        "command": f"{Path(sys.argv[0]).name} {as_typed(*sys.argv[1:])}",
        "git": git_revision(),
        "seed": seed,
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "processes": processes,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
    }


def git_revision() -> dict | None:
    """Revision of the source tree and whether it had changes; None where it is not in git."""
    here = Path(__file__).resolve().parent
    try:
        revision = _git(here, "rev-parse", "HEAD")
        return {"revision": revision, "dirty": bool(_git(here, "status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()


def as_typed(*words: str) -> str:
    """A command as a shell takes it; no path of this machine, only its last part."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    """An argument as a shell takes it, absolute paths cut to their last part."""
    name, equals, value = str(word).rpartition("=")
    return shlex.quote(f"{name}{equals}{Path(value).name}" if Path(value).is_absolute() else word)


def _write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def model_of(path: Path) -> Path:
    """The model that is meant: of a run folder the best one, or the last where none is."""
    if not path.is_dir() or (path / INDEX).is_file():
        return path
    best, last = (path / "checkpoints" / name for name in ("best.pt", "last.pt"))
    if best.exists() or not last.exists():
        return best
    print(f"{best.name} is not there yet: taking {last.name}", file=sys.stderr)
    return last
