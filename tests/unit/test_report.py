"""The report of run folders: what it holds, what it leaves out, and that it says so."""

import json
import math
import shutil

import pytest

from manip_training import report
from manip_training.report import write_report

GIT = {"revision": "0123456789abcdef0123456789abcdef01234567", "dirty": False}
FIGURES = {
    "train_images_per_s": {
        "value": 812.5,
        "unit": "images/s",
        "command": "bench | model",
        "reach": ">= 500",
    },
    "train_peak_gb": {"value": 61.0, "unit": "GB", "command": "bench | model", "reach": "≤ 40 GB"},
    "agree_bf16_mm": {"value": 0.25, "command": "bench agree"},
}


@pytest.fixture
def run(tmp_path):
    """A whole run folder."""
    return make_run(tmp_path / "runs" / "first-2026-11-23")


def make_run(folder, steps: int = 40):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("model: {preset: tiny}\n")
    facts = {
        "command": "manip train seed=3",
        "git": GIT,
        "seed": 3,
        "device": "NVIDIA H100",
        "started": "2026-11-23 10:00:00 +0000",
    }
    (folder / "run.json").write_text(json.dumps(facts))
    lines = [{"step": s, "loss": 5 * math.exp(-s / 10) + 0.1} for s in range(1, steps + 1)]
    lines += [{"step": s, "eval/pa_mpjpe_mm": 20 - s / 4} for s in range(10, steps + 1, 10)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    held = {
        "mpjpe_root_mm": 11.25,
        "pck_auc": 0.75,
        "command": "manip eval first",
        "protocol": {"dataset": "synthetic", "split": "test", "samples": 64},
        "counts": {"mpjpe_root_mm": 64},
        "per_joint": {"PA": {"wrist": 3.0}},
    }
    (folder / "eval" / "test").mkdir(parents=True)
    (folder / "eval" / "test" / "metrics.json").write_text(json.dumps(held))
    (folder / "figures.json").write_text(json.dumps(FIGURES))
    return folder


def written(tmp_path, *folders) -> tuple[str, dict, list[str]]:
    out = tmp_path / "docs"
    problems = write_report(folders, out / "results.md", out / "results.json")
    return (
        (out / "results.md").read_text(),
        json.loads((out / "results.json").read_text()),
        problems,
    )


def row(text: str, id_: str) -> list[str]:
    """Cells of the one table row of a figure."""
    (line,) = [line for line in text.splitlines() if line.startswith("|") and f"(`{id_}`)" in line]
    return [cell.strip() for cell in line.replace("\\|", "¦").strip("|").split("|")]


def test_every_figure_stands_in_table_and_json_with_how_it_was_made(tmp_path, run):
    text, values, problems = written(tmp_path, run)
    assert problems == []
    name = "first-2026-11-23"
    assert values == {
        f"{name}/test/mpjpe_root_mm": 11.25,
        f"{name}/test/pck_auc": 0.75,
        "train_images_per_s": 812.5,
        "train_peak_gb": 61.0,
        "agree_bf16_mm": 0.25,
    }
    head = row(text, f"{name}/test/mpjpe_root_mm")
    assert head[0].startswith("joint error, root-relative")
    assert head[1:] == ["11.25 mm", "", "1", "0123456789", "NVIDIA H100"]
    assert row(text, "train_images_per_s")[1:4] == ["812.5 images/s", ">= 500, met", "1"]
    assert row(text, "train_peak_gb")[2] == "≤ 40 GB, **missed**"
    assert row(text, "agree_bf16_mm")[1:4] == ["0.2500 mm", "", "2"]
    for part in (
        "1. `manip eval first`",
        "1. `bench | model`",
        "2. `bench agree`",
        "Trained for 40 steps by `manip train seed=3`",
        "seed 3",
        "started 2026-11-23",
        "dataset synthetic, split test, samples 64",
        "of 2 with a bound, 1 keep it",
        "these do not: `train_peak_gb`",
    ):
        assert part in text, part
    assert f"![Learning curves of {name}](images/learning_{name}.png)" in text
    assert (tmp_path / "docs" / "images" / f"learning_{name}.png").stat().st_size > 5000


def test_the_same_folders_make_the_same_bytes(tmp_path, run):
    other = make_run(tmp_path / "runs" / "second", steps=300)
    for out in ("one", "two"):
        write_report([run, other], tmp_path / out / "r.md", tmp_path / out / "r.json")
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*")]
    assert len(files) == 4
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_ids_that_two_sources_use_get_their_names(tmp_path, run):
    other = make_run(tmp_path / "runs" / "second")
    text, values, _ = written(tmp_path, run, other)
    assert "train_images_per_s" not in values
    assert values["second/train_images_per_s"] == 812.5
    assert row(text, "first-2026-11-23/train_peak_gb")[2].endswith("**missed**")
    assert len(values) == 10


def test_figures_on_their_own_are_taken_as_file_and_as_folder(tmp_path, run):
    bench = tmp_path / "bench"
    bench.mkdir()
    figures = {
        "latency_ms_p50": {
            "value": 31,
            "unit": "ms",
            "command": "make bench",
            "git": "abc",
            "device": "two cores",
            "reach": "< 45",
        }
    }
    (bench / "figures.json").write_text(json.dumps(figures))
    for given in (bench, bench / "figures.json"):
        text, values, problems = written(tmp_path, given)
        assert values == {"latency_ms_p50": 31.0} and problems == []
        assert "## bench\n" in text
        assert row(text, "latency_ms_p50")[1:] == ["31.00 ms", "< 45, met", "1", "abc", "two cores"]


def test_an_evaluation_may_tell_its_own_revision_and_device(tmp_path, run):
    (run / "eval" / "test").rename(run / "eval-test")
    path = run / "eval-test" / "metrics.json"
    held = json.loads(path.read_text()) | {"git": GIT | {"dirty": True}, "device": "cpu"}
    path.write_text(json.dumps(held))
    text, _, _ = written(tmp_path, run)
    assert row(text, "first-2026-11-23/eval-test/pck_auc")[4:] == [
        "0123456789 with changes",
        "cpu",
    ]
    assert row(text, "train_peak_gb")[5] == "NVIDIA H100"


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("config.yaml", None, "config.yaml missing"),
        ("run.json", None, "run.json missing"),
        ("run.json", "{", "run.json is damaged: Expecting"),
        ("run.json", "[1]", "run.json is damaged: it holds no object"),
        ("config.yaml", "a: [", "config.yaml is damaged"),
        ("config.yaml", "word", "config.yaml is damaged: it holds no mapping"),
        ("metrics.jsonl", "", "metrics.jsonl holds no step"),
        ("metrics.jsonl", 'x\n{"step": 1}\n', "metrics.jsonl is damaged in line 1"),
        ("metrics.jsonl", '{"loss": 1}\n', "metrics.jsonl is damaged in line 1: it names no step"),
    ],
)
def test_a_damaged_run_is_named_and_skipped(tmp_path, run, file, content, reason):
    broken = shutil.copytree(run, tmp_path / "runs" / "broken")
    if content is None:
        (broken / file).unlink()
    else:
        (broken / file).write_text(content)
    text, values, problems = written(tmp_path, run, broken)
    assert len(problems) == 1 and problems[0].startswith(f"broken: {reason}")
    assert f"- {problems[0]}" in text
    assert "## broken" not in text
    assert len(values) == 5


def test_damage_beside_a_sound_run_costs_only_that_part(tmp_path, run):
    (run / "eval" / "bad").mkdir()
    (run / "eval" / "bad" / "metrics.json").write_text('{"pck_auc": NaN}')
    (run / "figures.json").write_text('{"a": {"value": "fast"}}')
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 41, "lo')
    text, values, problems = written(tmp_path, run)
    name = "first-2026-11-23"
    assert problems == [
        f"{name}: the last line of metrics.jsonl, which is torn",
        f"{name}, bad: metrics.json holds no figure",
        f"{name}: figures.json is damaged: a has no finite number as its value",
    ]
    assert all(f"- {problem}" in text for problem in problems)
    assert set(values) == {f"{name}/test/mpjpe_root_mm", f"{name}/test/pck_auc"}


def test_losses_that_were_not_finite_do_not_stop_the_report(tmp_path, run):
    lines = [{"step": s, "loss": None if s % 3 else 1.0 / s} for s in range(1, 30)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, _, problems = written(tmp_path, run)
    assert problems == []


def test_bad_calls_are_named(tmp_path, run):
    with pytest.raises(ValueError, match=r"nothing to report: no run folder and no figures\.json"):
        write_report([])
    twin = make_run(tmp_path / "elsewhere" / run.name)
    with pytest.raises(ValueError, match=f"got two of .'{run.name}'"):
        write_report([run, twin])
    _, values, problems = written(tmp_path, tmp_path / "nowhere")
    assert values == {} and problems == ["nowhere: there is no such folder"]


def test_the_command_takes_all_runs_by_default(tmp_path, run, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (run.parent / "empty").mkdir()
    report.main([])
    said = capsys.readouterr().out
    assert "left out: empty: config.yaml, run.json, metrics.jsonl missing" in said
    assert f"written to {report.OUT_MD} and {report.OUT_JSON}" in said
    assert len(json.loads(report.OUT_JSON.read_text())) == 5
