"""The ``manip`` command: what it offers, and what it says when something is missing."""

import sys

import pytest

from manip_bringup import cli, graph


def run(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        cli.main(list(words))
    return ended.value.code, capsys.readouterr()


def test_help_names_every_command(capsys):
    cli.main(["--help"])
    said = capsys.readouterr().out
    for name in (*cli.GRAPHS, *cli.TRAINING, "replay", "snapshot"):
        assert f"manip {name}" in said


def test_an_unknown_command_is_answered_with_the_known_ones(capsys):
    code, said = run(capsys, "trian")
    assert code == 2 and "train, eval, compare" in said.err


def test_training_without_its_packages_says_what_to_run(capsys, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("manip_training")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hydra", None)
    code, said = run(capsys, "train")
    assert code == 2
    assert said.err == (
        "manip train: training needs hydra, which is not installed: run make setup-train\n"
    )


def test_a_wrong_setting_of_a_run_is_one_line(capsys, tmp_path):
    code, said = run(capsys, "eval", str(tmp_path / "no_run"))
    assert code == 2 and said.err.startswith("manip eval: no model file at")
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "openvino or onnxruntime or torch"),
        (["runtime:=onnxruntime"], "onnxruntime"),
        (["runtime:=torch"], "torch"),
    ],
)
def test_the_transformer_without_its_packages_says_what_to_run(capsys, monkeypatch, words, said):
    monkeypatch.setattr(graph, "find_spec", lambda name: None)
    code, output = run(capsys, "sim", "estimator:=amt", *words)
    extra = "train" if said == "torch" else "amt"
    assert code == 2
    assert output.err == (
        f"manip sim: estimator amt needs {said}, which is not installed: "
        f"run scripts/setup.sh {extra}\n"
    )


def test_one_runtime_is_enough_for_the_transformer(monkeypatch):
    monkeypatch.setattr(graph, "find_spec", lambda name: name == "onnxruntime" or None)
    graph.check_installed({"estimator": "amt", "runtime": "auto"})
    graph.check_installed({"estimator": "mediapipe", "runtime": "torch"})
    with pytest.raises(ValueError, match="needs openvino"):
        graph.check_installed({"estimator": "amt", "runtime": "openvino"})
