"""What run folders and figures.json files hold: figures, how they were made, learning curves."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from manip_training.eval_report import GROUPS, unit_of
from manip_training.run_folder import FIGURES

RUN_FILES = ("config.yaml", "run.json", "metrics.jsonl")
# An evaluation lies in eval/NAME or in eval-NAME.
EVALUATIONS = ("eval/*/metrics.json", "eval-*/metrics.json")
# What is plotted over the steps where it was logged.
CURVES = {
    "loss": "training loss",
    "hand_mpjpe_mm": "joint error in training [mm]",
    "eval/mpjpe_root_mm": "validation: joint error, root-relative [mm]",
    "eval/pa_mpjpe_mm": "validation: joint error, PA [mm]",
}
_LABELS = {id_: label for group in GROUPS.values() for id_, label in group.items()}
_BOUND = re.compile(r"(<=|>=|<|>|≤|≥)\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)")
_MET = {
    "<=": float.__le__,
    "≤": float.__le__,
    ">=": float.__ge__,
    "≥": float.__ge__,
    "<": float.__lt__,
    ">": float.__gt__,
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number: what it is, what it was to reach, and how to get it again."""

    id: str
    label: str
    value: float
    unit: str
    reach: str
    command: str
    git: str
    device: str

    @property
    def met(self) -> bool | None:
        """Whether the value keeps its bound; None where none is stated."""
        bound = _BOUND.search(self.reach)
        return _MET[bound[1]](self.value, float(bound[2])) if bound else None


@dataclass
class Table:
    """Figures that belong together, under a heading, after some lines on how they were made."""

    heading: str
    figures: list[Figure]
    lines: list[str] = field(default_factory=list)


@dataclass
class Source:
    """What a run folder, or a figures.json on its own, has to tell."""

    name: str
    lines: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    curves: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


def read_source(path: Path, problems: list[str]) -> Source:
    """A run folder, or a figures.json, or a folder with nothing else of a run.

    Args:
        path: Which.
        problems: Parts that are missing or damaged, and without which the rest can do, are added.

    Raises:
        ValueError: Nothing of it can be used; the message says what is missing or damaged.
    """
    if path.is_file():
        return _read_figures_alone(path)
    if not path.is_dir():
        raise ValueError("there is no such folder")
    missing = [name for name in RUN_FILES if not (path / name).is_file()]
    if len(missing) == len(RUN_FILES) and (path / FIGURES).is_file():
        return _read_figures_alone(path / FIGURES)
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    return _read_run(path, problems)


def _read_figures_alone(path: Path) -> Source:
    return Source(name_of(path), tables=[Table("", _figures(path, {}))])


def _read_run(path: Path, problems: list[str]) -> Source:
    name = name_of(path)
    try:
        config = yaml.safe_load((path / "config.yaml").read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"config.yaml is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(config, dict):
        raise ValueError("config.yaml is damaged: it holds no mapping")
    facts = _object(path / "run.json")
    lines, torn = _metrics(path / "metrics.jsonl")
    if torn:
        problems.append(f"{name}: the last line of metrics.jsonl, which is torn")
    source = Source(name, curves=_curves(lines))
    steps = max(line["step"] for line in lines)
    command, seed, device, started = (
        facts.get(key, "?") for key in ("command", "seed", "device", "started")
    )
    source.lines = [
        f"Trained for {steps} steps by `{command}`, git {_git(facts)}, seed {seed}, on {device}, "
        f"started {started}."
    ]
    found = sorted({file for pattern in EVALUATIONS for file in path.glob(pattern)})
    for file in found:
        try:
            source.tables.append(_evaluation(file, f"{name}/{file.parent.name}", facts))
        except ValueError as error:
            problems.append(f"{name}, {file.parent.name}: {error}")
    if (path / FIGURES).is_file():
        try:
            source.tables.append(Table("Figures", _figures(path / FIGURES, facts)))
        except ValueError as error:
            problems.append(f"{name}: {error}")
    return source


def _evaluation(path: Path, prefix: str, facts: dict) -> Table:
    held = _object(path)
    made = facts | {key: held[key] for key in ("git", "device") if key in held}
    figures = [
        Figure(
            id=f"{prefix}/{id_}",
            label=_LABELS.get(id_, ""),
            value=float(value),
            unit=unit_of(id_),
            reach="",
            command=held.get("command") or "?",
            git=_git(made),
            device=str(made.get("device", "?")),
        )
        for id_, value in held.items()
        if _is_number(value)
    ]
    if not figures:
        raise ValueError(f"{path.name} holds no figure")
    protocol = held.get("protocol")
    protocol = protocol if isinstance(protocol, dict) else {}
    told = [f"{k.replace('_', ' ')} {v}" for k, v in protocol.items() if k != "command"]
    return Table(f"Evaluation {path.parent.name}", figures, [f"Protocol: {', '.join(told)}."])


def _figures(path: Path, facts: dict) -> list[Figure]:
    figures = []
    for id_, held in _object(path).items():
        if not isinstance(held, dict) or not _is_number(held.get("value")):
            raise ValueError(f"{path.name} is damaged: {id_} has no finite number as its value")
        made = facts | held
        figures.append(
            Figure(
                id=id_,
                label=str(held.get("label", "")),
                value=float(held["value"]),
                unit=str(held.get("unit", unit_of(id_))),
                reach=str(held.get("reach") or ""),
                command=str(held.get("command") or "?"),
                git=_git(made),
                device=str(made.get("device", "?")),
            )
        )
    return figures


def _metrics(path: Path) -> tuple[list[dict], bool]:
    """The logged lines, and whether a last one was dropped because it is not whole."""
    texts = path.read_text(errors="replace").splitlines()
    lines = []
    for number, text in enumerate(texts, 1):
        try:
            line = json.loads(text)
        except json.JSONDecodeError as error:
            if number == len(texts):
                break
            raise ValueError(f"metrics.jsonl is damaged in line {number}: {error}") from error
        if not isinstance(line, dict) or not _is_number(line.get("step")):
            raise ValueError(f"metrics.jsonl is damaged in line {number}: it names no step")
        lines.append(line)
    if not lines:
        raise ValueError("metrics.jsonl holds no step")
    return lines, len(lines) < len(texts)


def _curves(lines: list[dict]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    curves = {}
    for key, title in CURVES.items():
        points = [(line["step"], line[key]) for line in lines if _is_number(line.get(key))]
        if len(points) > 1:
            steps, values = np.array(points, dtype=float).T
            curves[title] = steps, values
    return curves


def _object(path: Path) -> dict:
    """A JSON object; ``ValueError`` where the file holds none."""
    try:
        held = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error
    if not isinstance(held, dict):
        raise ValueError(f"{path.name} is damaged: it holds no object")
    return held


def _git(facts: dict) -> str:
    """Short revision, and whether there were changes besides."""
    git = facts.get("git")
    if isinstance(git, dict):
        return str(git.get("revision", "?"))[:10] + (" with changes" if git.get("dirty") else "")
    return str(git)[:10] if git else "?"


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)


def name_of(path: Path) -> str:
    """Of a run its folder's name, of a figures.json that of the folder it lies in."""
    path = path.resolve()
    return path.parent.name if path.name == FIGURES else path.name
