"""The folder of a run, the config that it holds, and the command that makes it."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from manip_model.config import PRESETS
from manip_training import commands, loggers, parts, train
from manip_training.config import TrainConfig, compose, differences
from manip_training.run_folder import RunFolder, choose, facts, read_metrics
from manip_training.train import Outcome
from micro_training import MICRO, micro


def test_a_config_survives_yaml_and_hydra(tmp_path):
    config = compose(["preset=tiny", "model.width=64", "optim.betas=[0.8,0.9]", "train.batch=auto"])
    assert config.model == replace(PRESETS["tiny"], width=64)
    assert config.optim.betas == (0.8, 0.9)
    text = yaml.safe_dump(config.to_dict())
    assert TrainConfig.from_dict(yaml.safe_load(text)) == config


def test_unknown_settings_are_named():
    values = TrainConfig().to_dict()
    values["optim"]["rate"] = 1
    with pytest.raises(ValueError, match=r"unknown settings optim\.rate"):
        TrainConfig.from_dict(values)
    for word in ("optim.rate=1", "preset=huge", "train.steps=many", "nonsense"):
        with pytest.raises(ValueError):
            compose([word])


def test_differences_name_what_changes_a_run_and_not_how_it_is_computed():
    a = TrainConfig()
    b = replace(
        a,
        run=replace(a.run, log_every=3),
        train=replace(a.train, compile=True, device="cpu", seed=4),
        model=replace(a.model, checkpointing=True),
    )
    assert differences(a.to_dict(), b.to_dict()) == ["train.seed: 0 → 4"]


def test_facts_tell_the_revision_and_no_paths(monkeypatch, tmp_path):
    words = ["manip train", f"data.root={tmp_path}/dex ycb", "optim.lr=1e-3"]
    monkeypatch.setattr(sys, "argv", words)
    found = facts(3, torch.device("cpu"), 1)
    assert found["command"] == "manip train 'data.root=dex ycb' optim.lr=1e-3"
    assert str(tmp_path) not in json.dumps(found)
    assert found["git"] is None or len(found["git"]["revision"]) == 40
    assert isinstance((found["git"] or {"dirty": True})["dirty"], bool)


def test_metrics_after_a_step_and_torn_lines_are_dropped(tmp_path):
    folder = RunFolder(tmp_path)
    lines = [json.dumps({"step": step, "loss": step / 3}) for step in (1, 2, 3)]
    folder.metrics.write_text("\n".join(lines) + '\n{"step": 4, "lo')
    assert [line["step"] for line in read_metrics(folder.metrics)] == [1, 2, 3]
    folder.cut_metrics(2)
    assert folder.metrics.read_text() == "\n".join(lines[:2]) + "\n"
    assert {one.name for one in tmp_path.iterdir()} == {"metrics.jsonl", "checkpoints"}


def test_lines_are_json_even_where_numbers_are_none(tmp_path):
    said = []
    logger = loggers.FileLogger(tmp_path / "metrics.jsonl", said.append)
    logger.log({"step": 1, "loss": float("nan"), "norm": float("inf"), "lr": 0.1})
    assert read_metrics(tmp_path / "metrics.jsonl") == [
        {"step": 1, "loss": None, "norm": None, "lr": 0.1}
    ]
    lost = loggers.FileLogger(tmp_path, said.append)
    lost.log({"step": 1})
    lost.log({"step": 2})
    assert len(said) == 1 and "cannot be written" in said[0]


def test_resume_auto_takes_the_newest_run_of_its_name(tmp_path):
    config = compose(["run.name=a", "run.resume=auto"]).run
    folder, found = choose(config, tmp_path)
    assert folder.parent == tmp_path and folder.name.startswith("a-2") and found is None
    for name in ("a-2026-01-01-000000", "a-2026-02-01-000000", "a-2026-03-01-000000", "ab-2027"):
        RunFolder(tmp_path / name)
    for name in ("a-2026-01-01-000000", "a-2026-02-01-000000", "ab-2027"):
        (tmp_path / name / "checkpoints" / "last.pt").touch()
    folder, found = choose(config, tmp_path)
    assert folder == tmp_path / "a-2026-02-01-000000"
    assert found == folder / "checkpoints" / "last.pt"


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Configs that ``manip train`` would have trained, and a folder of its own."""
    configs = []

    def record(config):
        configs.append(config)
        return Outcome(Path(config.run.folder), 0, 0, {})

    monkeypatch.setattr(train, "train", record)
    monkeypatch.chdir(tmp_path)
    return configs


def test_the_command_trains_what_its_words_say(trained, tmp_path):
    before = list(sys.argv)
    assert commands.train_main(["preset=tiny", "optim.lr=0.002", "train.steps=7"]) == 0
    assert (trained[0].model, trained[0].optim.lr) == (PRESETS["tiny"], 0.002)
    assert sys.argv == before
    # Hydra leaves nothing of its own.
    assert list(tmp_path.iterdir()) == []


def test_several_runs_have_folders_of_their_own(trained, tmp_path):
    assert commands.train_main(["-m", "preset=tiny,small", "run.name=two"]) == 0
    assert [config.model for config in trained] == [PRESETS["tiny"], PRESETS["small"]]
    folders = [Path(config.run.folder) for config in trained]
    assert [folder.name for folder in folders] == ["0", "1"]
    assert folders[0].parent == folders[1].parent and folders[0].parent.parent == Path("runs")
    assert [one.name for one in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize(
    ("words", "part"), [(["--cfg", "job"], "weight_decay: 0.05"), (["--help"], "manip train")]
)
def test_hydras_own_flags_work(words, part, trained, tmp_path, capsys):
    assert commands.train_main(words) == 0
    assert part in capsys.readouterr().out
    assert not trained and list(tmp_path.iterdir()) == []


def test_errors_are_one_plain_line(trained, capsys):
    assert commands.main(["train", "optim.lr=-1"]) == commands.USER_ERROR
    assert capsys.readouterr().err == "manip train: optim.lr must be more than 0, got -1.0\n"
    assert commands.main(["dance"]) == commands.USER_ERROR
    assert "got dance" in capsys.readouterr().err
    assert commands.main(["eval", "nowhere.pt"]) == commands.USER_ERROR
    assert "nowhere.pt" in capsys.readouterr().err


@pytest.fixture
def ended(monkeypatch, tmp_path):
    """The folder of a run that was trained for one step; whoever opens samples gets its own."""
    config = compose([*MICRO, "train.steps=1", f"run.folder={tmp_path / 'ended'}"])
    own = micro(config)
    assert train.train(config, parts=own).status == 0
    monkeypatch.setattr(parts, "open_samples", lambda *asked: own.validation)
    return tmp_path / "ended"


def test_an_evaluation_keeps_its_facts_and_no_path_of_this_machine(ended, tmp_path, capsys):
    words = [str(ended), f"data.root={tmp_path}/dex", "--batch", "4"]
    assert commands.main(["eval", *words]) == 0
    assert "not there yet" not in capsys.readouterr().err
    written = ended / "eval" / "val"
    held = json.loads((written / "metrics.json").read_text())
    assert held["command"] == "manip eval ended data.root=dex --batch 4"
    assert held["device"] and held["mpjpe_root_mm"] > 0
    assert held["git"] is None or len(held["git"]["revision"]) == 40
    for name in ("metrics.json", "table.txt"):
        assert str(tmp_path) not in (written / name).read_text()


def test_a_network_of_small_pictures_is_evaluated_on_such(tmp_path):
    small = ["preset=tiny", "+experiment=rendered", "model.image_size=112", "train.device=cpu"]
    small += ["data.validation_limit=2", "train.batch=2", "train.steps=1"]
    assert commands.main(["train", *small, f"run.folder={tmp_path}"]) == 0
    assert commands.main(["eval", str(tmp_path), "--limit", "3"]) == 0
    held = json.loads((tmp_path / "eval" / "val" / "metrics.json").read_text())
    assert held["mpjpe_root_mm"] > 0


def test_a_run_without_a_best_model_is_evaluated_by_its_last_one(ended, tmp_path, capsys):
    (ended / "checkpoints" / "best.pt").unlink()
    words = ["eval", str(ended), "--out", str(tmp_path / "out")]
    assert commands.main(words) == 0
    assert "best.pt is not there yet: taking last.pt" in capsys.readouterr().err
    assert (tmp_path / "out" / "metrics.json").is_file()
    (ended / "checkpoints" / "last.pt").unlink()
    assert commands.main(words) == commands.USER_ERROR
    assert "no model file at" in capsys.readouterr().err


def test_a_comparison_keeps_its_facts_and_no_path_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setattr(
        train, "train", lambda config: Outcome(Path(config.run.folder), 0, 1, {"contact_f1": 0.5})
    )
    words = ["no_refinement", f"data.root={tmp_path}/dex", "--out", str(tmp_path)]
    assert commands.main(["compare", *words]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    held = figures["compare_no_refinement_contact_f1"]
    assert held["value"] == 0.5 and held["device"]
    assert held["command"] == f"manip compare no_refinement data.root=dex --out {tmp_path.name}"
    assert held["git"] is None or len(held["git"]["revision"]) == 40


def test_tensorboard_reads_what_was_logged(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = compose(["run.logger=tensorboard"])
    kept = loggers.make_loggers(RunFolder(tmp_path), config, 1, print)
    for logger in kept:
        logger.log({"step": 3, "loss": 0.25})
        logger.close()
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert [(e.step, e.value) for e in read.Scalars("loss")] == [(3, 0.25)]


def test_wandb_offline_keeps_the_run_in_its_folder(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    # Any word to the network fails at once.
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    config = compose(["run.logger=wandb"])
    for logger in loggers.make_loggers(RunFolder(tmp_path), config, 1, print):
        logger.log({"step": 3, "loss": 0.25})
        logger.close()
    assert wandb.run is None
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
