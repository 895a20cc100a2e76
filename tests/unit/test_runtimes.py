"""Of the runtimes that work here the fastest is taken, and all that was tried is told."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from manip_model.shards import FORMAT
from manip_perception import runtimes
from manip_perception.runtimes import Runtime, Unusable, choose_runtime, make_runtime


class Sleeper(Runtime):
    """Takes its time."""

    size, largest = 28, 2

    def __init__(self, name, seconds):
        self.name, self.seconds, self.calls, self.closed = name, seconds, 0, False

    def _infer(self, images, cameras, sides, hints):
        self.calls += 1
        time.sleep(self.seconds)
        return {}

    def close(self):
        self.closed = True


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "index.json").write_text(json.dumps({"format": FORMAT, "shards": {}}))
    return tmp_path


@pytest.fixture
def made(monkeypatch):
    """Runtimes that take so many milliseconds, or why they are unusable, in place of the real."""
    found = {}

    def put(**kinds):
        def maker(name, kind):
            def make(folder, threads, largest):
                if isinstance(kind, str):
                    raise Unusable(kind)
                if isinstance(kind, Exception):
                    raise kind
                found[name] = Sleeper(name, 1e-3 * kind)
                return found[name]

            return make

        monkeypatch.setattr(
            runtimes, "RUNTIMES", {name: maker(name, kind) for name, kind in kinds.items()}
        )
        monkeypatch.setattr(runtimes, "_MEASURED", 0.05)
        return found

    return put


def test_the_fastest_is_taken_and_the_others_closed(made, folder):
    found = made(slow=12, quick=2, missing="the package missing is not installed")
    runtime, said = choose_runtime(folder)
    assert runtime is found["quick"] and not runtime.closed
    assert found["slow"].closed
    assert said.startswith("runtime quick, ")
    assert "missing: the package missing is not installed" in said
    for name, least in (("slow", 12), ("quick", 2)):
        number = float(said.split(f"{name}{', ' if name == 'quick' else ': '}")[1].split(" ms")[0])
        assert number >= least


def test_a_library_that_cannot_load_the_network_is_passed_over(made, folder):
    found = made(openvino=RuntimeError("Exception from core.cpp:\nno such layer\n\n"), quick=2)
    runtime, said = choose_runtime(folder)
    assert runtime is found["quick"]
    assert "openvino: it cannot load the network: no such layer" in said


def test_torch_on_the_cpu_is_only_tried_where_nothing_else_works(made, folder):
    found = made(openvino=3, torch_cpu=1)
    assert choose_runtime(folder)[0].name == "openvino"
    assert "torch_cpu" not in found
    made(openvino="not installed", torch_cpu=1)
    assert choose_runtime(folder)[0].name == "torch_cpu"


def test_the_one_asked_for_is_taken_or_refused_with_the_reason(made, folder):
    found = made(quick=1, slow=8, broken="no GPU")
    runtime, said = choose_runtime(folder, "slow")
    assert runtime is found["slow"] and "slow" in said
    assert "quick" not in found
    with pytest.raises(Unusable, match="no GPU"):
        choose_runtime(folder, "broken")
    with pytest.raises(ValueError, match="quick, slow, broken, got 'abacus'"):
        choose_runtime(folder, "abacus")


def test_nothing_usable_names_every_reason(made, folder):
    made(a="no package", b="no GPU")
    with pytest.raises(Unusable, match="a: no package; b: no GPU"):
        choose_runtime(folder)


def test_no_model_is_said_before_anything_is_loaded(made, tmp_path):
    found = made(quick=1)
    with pytest.raises(FileNotFoundError, match="no shipped model"):
        choose_runtime(tmp_path)
    assert not found


def test_names_list_the_choices_and_packages_are_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="torch_cuda, openvino, onnxruntime, torch_cpu"):
        make_runtime(tmp_path, "abacus")
    monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Unusable, match="the package openvino is not installed"):
        make_runtime(tmp_path, "openvino")
    with pytest.raises(Unusable, match="the package torch is not installed"):
        make_runtime(tmp_path, "torch_cuda")


def test_threads_are_those_asked_for_or_all_there_are():
    assert runtimes.usable_threads(3) == 3
    assert runtimes.usable_threads(0) >= 1


def test_arrays_are_brought_to_the_form_that_graphs_take():
    class Keeper(Sleeper):
        def _infer(self, *given):
            return dict(zip(("image", "camera", "side", "hint"), given, strict=True))

    images = np.zeros((2, 28, 28, 3), np.uint8).transpose(0, 3, 1, 2)
    found = Keeper("k", 0).infer(images, np.ones((2, 4)), np.array([0, 1], np.int32), [-1, 1])
    assert [x.dtype for x in found.values()] == [np.uint8, np.float32, np.int64, np.int64]
    assert all(x.flags.c_contiguous for x in found.values())


def test_nothing_of_it_needs_torch_but_the_runtimes_of_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import manip_perception.amt_estimator, manip_model.graph_names\n"
        "import manip_perception.runtime_openvino, manip_perception.runtime_onnx\n"
    )
    for package in ("openvino", "onnxruntime"):
        pytest.importorskip(package)
    path = os.pathsep.join(sys.path)
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
