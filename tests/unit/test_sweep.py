"""Sweeps: the space is W&B's, its points sound configs, the table sorted."""

import csv
import math
from pathlib import Path

import pytest
import yaml

from manip_core.resources import find
from manip_training import commands, sweep
from manip_training.config import compose
from manip_training.train import Outcome

SPACE = {
    "method": "random",
    "metric": {"name": "eval/pa_mpjpe_mm", "goal": "minimize"},
    "parameters": {
        "optim.lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 5e-3},
        "train.batch": {"values": [16, 32, 64]},
    },
}


def test_the_shipped_space_is_sound_and_every_point_a_config():
    space = sweep.read_sweep(find("config/sweep.yaml"))
    assert {"optim.lr", "train.batch", "model.width"} <= set(space["parameters"])
    assert any(name.startswith("loss.") for name in space["parameters"])
    for values in sweep.points(space, 12, seed=1):
        config = compose(sweep.words(values))
        assert 1e-4 <= config.optim.lr <= 5e-3
        assert config.train.batch in (16, 32, 64)
        assert config.model.width in (512, 768, 1024)


def test_points_depend_on_the_seed_alone():
    assert sweep.points(SPACE, 5, 7) == sweep.points(SPACE, 5, 7)
    assert sweep.points(SPACE, 5, 7) != sweep.points(SPACE, 5, 8)
    assert sweep.points(SPACE, 9, 7)[:5] == sweep.points(SPACE, 5, 7)


def test_learning_rates_are_even_in_their_logarithm():
    rates = sorted(values["optim.lr"] for values in sweep.points(SPACE, 2001, 0))
    assert math.log(rates[1000]) == pytest.approx(math.log(math.sqrt(1e-4 * 5e-3)), abs=0.15)
    assert 1e-4 <= rates[0] < 1.05e-4 and 4.8e-3 < rates[-1] <= 5e-3


def test_a_grid_is_gone_through():
    grid = SPACE | {
        "method": "grid",
        "parameters": {"a": {"values": [1, 2]}, "b": {"value": 5}, "c": {"values": ["x", "y"]}},
    }
    assert len(sweep.points(grid, 0, 0)) == 4
    assert sweep.points(grid, 1, 0) == [{"a": 1, "b": 5, "c": "x"}]
    with pytest.raises(ValueError, match=r"optim\.lr must have values"):
        sweep.points(SPACE | {"method": "grid"}, 0, 0)


def _trainer(folder_status=0):
    """Trains nothing: the figure is the learning rate, and one trial fails."""

    def run(config):
        if config.train.batch == 64:
            raise RuntimeError("out of memory\nat length")
        figures = {"pa_mpjpe_mm": 1e4 * config.optim.lr}
        return Outcome(Path(config.run.folder), folder_status, 1, figures)

    return run


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_trials_are_sorted_by_the_metric_and_failures_last(goal, tmp_path):
    space = SPACE | {"metric": SPACE["metric"] | {"goal": goal}}
    trials = sweep.run_offline(space, [], count=12, folder=tmp_path, run=_trainer())
    sound = [trial.figure for trial in trials if not math.isnan(trial.figure)]
    assert sound == sorted(sound, reverse=goal == "maximize")
    assert 0 < len(sound) < 12
    assert {trial.ended for trial in trials[len(sound) :]} == {"out of memory"}
    with (tmp_path / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == [trial.folder for trial in trials]
    assert float(rows[0]["optim.lr"]) == trials[0].values["optim.lr"]
    shown = sweep.table(trials, "eval/pa_mpjpe_mm").splitlines()
    assert len(shown) == 13 and shown[1].startswith(trials[0].folder)


def test_a_signal_ends_the_sweep(tmp_path):
    small = SPACE | {"parameters": {"train.batch": {"values": [16]}}}
    trials = sweep.run_offline(small, [], count=3, folder=tmp_path, run=_trainer(130))
    assert [trial.ended for trial in trials] == ["stopped"]


def test_the_command_needs_a_count_and_a_sound_file(tmp_path):
    with pytest.raises(ValueError, match="--count must be 1 or more, got 0"):
        commands.sweep_main(["--offline"])
    for spoilt, message in (
        ({"method": "magic"}, "method must be one of random, bayes, grid, got 'magic'"),
        ({"metric": {"name": "x", "goal": "up"}}, "goal, minimize or maximize"),
        ({"parameters": {"a": {"distribution": "odd", "min": 0, "max": 1}}}, "a: distribution"),
        ({"parameters": {"a": {"min": 0}}}, "a: 'max'"),
    ):
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(SPACE | spoilt))
        with pytest.raises(ValueError, match=message):
            sweep.read_sweep(tmp_path / "s.yaml")
    (tmp_path / "s.yaml").write_text("- a list")
    with pytest.raises(ValueError, match="method is missing"):
        sweep.read_sweep(tmp_path / "s.yaml")
    with pytest.raises(ValueError, match="bad"):
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(SPACE))
        commands.sweep_main(
            ["--offline", "--count", "1", "--config", str(tmp_path / "s.yaml"), "bad.key=1"]
        )
