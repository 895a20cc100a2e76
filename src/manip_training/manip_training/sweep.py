"""Many trials of a space of settings, in W&B's own sweep format, with W&B or without."""

import csv
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import yaml

from manip_training.config import TrainConfig, compose
from manip_training.interrupts import INTERRUPTED
from manip_training.run_folder import RUNS
from manip_training.train import Outcome, train

METHODS = ("random", "bayes", "grid")


@dataclass(frozen=True)
class Trial:
    """One point of the space and what came of it.

    Attributes:
        folder: Name of its run folder.
        values: Settings by name.
        figure: Of the metric; not a number where there is none.
        ended: ``"done"``, ``"stopped"``, or why it failed.
    """

    folder: str
    values: dict
    figure: float
    ended: str


def read_sweep(path: str | Path) -> dict:
    """A sweep in W&B's format.

    Raises:
        FileNotFoundError: No such file.
        ValueError: It lacks something, or has a method or distribution that we do not know.
    """
    path = Path(path)
    try:
        held = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    for name in ("method", "metric", "parameters"):
        if not isinstance(held, dict) or name not in held:
            raise ValueError(f"{path} is no sweep: {name} is missing")
    if held["method"] not in METHODS:
        raise ValueError(
            f"{path}: method must be one of {', '.join(METHODS)}, got {held['method']!r}"
        )
    if set(held["metric"]) < {"name", "goal"} or held["metric"]["goal"] not in (
        "minimize",
        "maximize",
    ):
        raise ValueError(f"{path}: metric must have a name and a goal, minimize or maximize")
    for name, space in held["parameters"].items():
        try:
            draw(space, random.Random(0))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: {name}: {error}") from error
    return held


def draw(space: dict, chance: random.Random):
    """A value of one parameter; as W&B, min and max alone mean uniform.

    Raises:
        ValueError: A distribution that we do not know.
    """
    if "value" in space:
        return space["value"]
    if "values" in space:
        return chance.choices(space["values"], weights=space.get("probabilities"))[0]
    low, high = space["min"], space["max"]
    whole = isinstance(low, int) and isinstance(high, int)
    kind = space.get("distribution", "int_uniform" if whole else "uniform")
    if kind == "int_uniform":
        return chance.randint(low, high)
    if kind == "uniform":
        return chance.uniform(low, high)
    if kind == "log_uniform_values":
        # W&B's format knows "log_uniform" as well, whose limits are exponents.
        return math.exp(chance.uniform(math.log(low), math.log(high)))
    raise ValueError(
        "distribution must be one of int_uniform, uniform, log_uniform_values, "
        f"or there are value or values; got {kind!r}"
    )


def points(sweep: dict, count: int, seed: int) -> list[dict]:
    """``count`` points of the space, the same for the same seed; of a grid all, or the first."""
    spaces = sweep["parameters"]
    if sweep["method"] == "grid":
        lists = []
        for name, space in spaces.items():
            if "value" not in space and "values" not in space:
                raise ValueError(f"{name} must have values to be searched as a grid")
            lists.append(space.get("values", [space.get("value")]))
        found = [dict(zip(spaces, one, strict=True)) for one in itertools.product(*lists)]
        return found[:count] if count else found
    chance = random.Random(seed)
    return [{name: draw(space, chance) for name, space in spaces.items()} for _ in range(count)]


def run_offline(
    sweep: dict,
    base: list[str],
    *,
    count: int,
    seed: int = 0,
    folder: Path | None = None,
    run: Callable[[TrainConfig], Outcome] = train,
) -> list[Trial]:
    """Train at points of the space, one after the other, and write ``summary.csv``.

    Where W&B would search with a model of what it saw (``bayes``), points are random here.

    Args:
        sweep: See :func:`read_sweep`.
        base: ``key=value`` words that all trials have.
        count: Trials.
        seed: Of the points.
        folder: Where the run folders and the summary go; None: ``runs/sweep-DATE``.
        run: Trains.

    Returns:
        The trials, best first.

    Raises:
        ValueError: A point that is no config, before anything is trained.
    """
    folder = folder or RUNS / f"sweep-{datetime.now():%Y-%m-%d-%H%M%S}"
    metric, goal = sweep["metric"]["name"], sweep["metric"]["goal"]
    chosen = points(sweep, count, seed)
    configs = [compose([*base, *words(values)]) for values in chosen]
    trials = []
    for number, (values, config) in enumerate(zip(chosen, configs, strict=True)):
        name = f"trial-{number:03d}"
        config = replace(config, run=replace(config.run, folder=str(folder / name)))
        print(f"{name} of {len(configs)}: {' '.join(words(values))}")
        figure, ended = math.nan, "done"
        try:
            outcome = run(config)
            figure = outcome.figures.get(metric.removeprefix("eval/"), math.nan)
            ended = "stopped" if outcome.status == INTERRUPTED else "done"
        except (ValueError, RuntimeError) as error:
            # One point that cannot be trained, or does not fit the memory, is a result as well.
            ended = (str(error).splitlines() or [type(error).__name__])[0]
            print(f"{name} failed: {ended}")
        trials.append(Trial(name, values, figure, ended))
        _write_summary(folder / "summary.csv", _sorted(trials, goal), metric)
        if ended == "stopped":
            break
    return _sorted(trials, goal)


def run_online(sweep: dict, base: list[str], *, count: int, project: str) -> None:
    """Let W&B choose the points, on its servers, and train at them.

    Raises:
        ValueError: wandb is not installed.
    """
    try:
        import wandb
    except ImportError as error:
        raise ValueError(f"a sweep with W&B needs the package wandb: {error}") from error

    def trial() -> None:
        with wandb.init() as active:
            chosen = {name: active.config[name] for name in sweep["parameters"]}
            fixed = ["run.logger=wandb", "run.wandb_mode=online", f"run.name=sweep-{active.id}"]
            train(compose([*base, *words(chosen), *fixed]))

    identity = wandb.sweep(sweep, project=project)
    wandb.agent(identity, function=trial, count=count or None, project=project)


def words(values: dict) -> list[str]:
    """Settings as ``manip train`` takes them."""
    return [f"{name}={value}" for name, value in values.items()]


def table(trials: list[Trial], metric: str) -> str:
    """The trials as aligned text."""
    names = list(trials[0].values) if trials else []
    rows = [["trial", metric, *names, "ended"]]
    for one in trials:
        shown = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in one.values.values()]
        rows.append([one.folder, f"{one.figure:.4g}", *shown, one.ended])
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, wide, strict=True)).rstrip()
        for row in rows
    )


def _sorted(trials: list[Trial], goal: str) -> list[Trial]:
    sign = 1 if goal == "minimize" else -1
    last = math.inf
    return sorted(trials, key=lambda t: last if math.isnan(t.figure) else sign * t.figure)


def _write_summary(path: Path, trials: list[Trial], metric: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", metric, *trials[0].values, "ended"])
        for one in trials:
            writer.writerow([one.folder, one.figure, *one.values.values(), one.ended])
