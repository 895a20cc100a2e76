"""The kernels of both devices against the specification, and against each other."""

import ctypes
import os
import subprocess
from pathlib import Path

import pytest
import torch

from manip_training.synthetic import gpu_kernels, reference
from manip_training.synthetic.gpu_kernels import GpuKernels
from manip_training.synthetic.kernel_build import KERNELS, put
from manip_training.synthetic.kernel_scene import KernelScene
from manip_training.synthetic.rasteriser import Rasteriser
from manip_training.synthetic.render_input import MATERIAL, Rendered
from render_fixtures import PATTERNS, scene_of, sphere, table_scene

CPU = torch.device("cpu")
EMULATION = Path(__file__).parents[1] / "cuda_on_cpu.cpp"


def differences(one: Rendered, other: Rendered) -> torch.Tensor:
    """``(B, S, S)`` the largest of the colours, in steps of 8 bits."""
    return (one.image.int() - other.image.int()).abs().amax(dim=1)


def test_one_sample_a_pixel_is_what_is_specified():
    scene = table_scene(64, 3)
    made, specified = Rasteriser(64, 1).render(scene), reference.draw(scene, 64, 1)
    off = differences(made, specified)
    # Single ones: where a comparison with the shadow map, or an edge, falls the other way.
    assert off.float().mean() < 0.02
    assert (off > 2).float().mean() < 0.002
    assert (made.part != specified.part).float().mean() < 0.001
    agree = (made.part == specified.part) & (specified.part > 0)
    relative = (made.depth - specified.depth).abs() / specified.depth.clamp(min=0.1)
    assert (relative[agree] > 1e-5).float().mean() < 0.002


def test_shading_a_pixel_once_deviates_little_from_what_is_specified():
    scene = table_scene(72, 3)
    made, specified = Rasteriser(72).render(scene), reference.draw(scene, 72, 2)
    off = differences(made, specified)
    assert off.float().mean() < 0.8
    assert (off > 8).float().mean() < 0.03
    assert (made.image.double().mean() - specified.image.double().mean()).abs() < 0.25
    assert (made.part != specified.part).float().mean() < 0.005


@pytest.mark.parametrize("kind", range(1, len(PATTERNS)), ids=PATTERNS[1:])
def test_patterns_are_what_is_specified(kind):
    ball = sphere((0.0, 0.0, 0.3), 0.06, rings=12)
    ball.material = {"pattern": kind, "frequency": 60.0, "contrast": 1.0, "second_red": 1.0}
    ball.material |= {"bump": 0.4, "specular": 0.3, "wrap": 0.3}
    scene = scene_of(ball, size=48, images=2)
    scene.lights[:, 0] = torch.tensor([-0.6, -0.48, -0.64, 1.0, 0.9, 0.8])
    scene.sky[:], scene.ground[:] = 0.3, 0.1
    made, specified = Rasteriser(48, 1).render(scene), reference.draw(scene, 48, 1)
    assert (differences(made, specified) > 1).float().mean() < 0.002
    plain = scene_of(ball, size=48, images=2)
    plain.material[..., MATERIAL.index("pattern")] = 0
    assert differences(made, Rasteriser(48, 1).render(plain)).float().mean() > 2


class Emulated:
    """The GPU's kernels, run by this processor."""

    def __init__(self, path: Path):
        self._library = ctypes.CDLL(str(path))

    def launch(self, kernel, grid, block, scene: KernelScene) -> None:
        sizes = [(ctypes.c_uint * 3)(*each) for each in (grid, block)]
        assert self._library.launch(kernel.encode(), *sizes, ctypes.byref(scene)) == 0, kernel


@pytest.fixture(scope="module")
def emulated(tmp_path_factory) -> Emulated:
    path = tmp_path_factory.mktemp("kernels") / "cuda_on_cpu.so"
    compiler = os.environ.get("CXX", "c++")
    flags = ("-O1", "-std=c++17", "-shared", "-fPIC", f"-I{KERNELS}")
    subprocess.run([compiler, *flags, str(EMULATION), "-o", str(path)], check=True)
    return Emulated(path)


@pytest.mark.parametrize("supersample", [1, 2, 3])
def test_the_gpus_kernels_draw_what_the_cpus_do(emulated, monkeypatch, supersample):
    # Five images, two in work at a time: the last round is half empty.
    monkeypatch.setattr(gpu_kernels, "AT_ONCE", 2)
    scene = table_scene(40, 5)
    scene.vertices[3, ::7] = float("nan")
    expected = Rasteriser(40, supersample).render(scene)
    other = Rasteriser(40, supersample)
    other._kernels[CPU] = GpuKernels(CPU, emulated)
    for _ in range(2):
        made = other.render(scene)
        off = differences(made, expected)
        assert (off > 1).float().mean() < 1e-3
        assert (made.part != expected.part).float().mean() < 1e-3
        same = made.part == expected.part
        assert (made.depth - expected.depth)[same].abs().max() < 1e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_what_the_cpu_does_also_from_a_graph():
    scene = table_scene(96, 6)
    expected = Rasteriser(96).render(scene)
    rasteriser, there = Rasteriser(96), scene.to("cuda")
    made = rasteriser.render(there)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        replayed = rasteriser.render(there)
    graph.replay()
    for out in (made, replayed):
        out = Rendered(**{name: value.cpu() for name, value in vars(out).items()})
        off = differences(out, expected)
        assert off.float().mean() < 0.1
        assert (off > 4).float().mean() < 0.003
        assert (out.part != expected.part).float().mean() < 1e-3


def test_what_fails_to_be_built_leaves_nothing(tmp_path):
    def fail(name: str) -> None:
        Path(name).write_text("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        put(tmp_path / "folder" / "made", fail)
    assert not list((tmp_path / "folder").iterdir())
    put(tmp_path / "made", lambda name: Path(name).write_text("whole"))
    assert (tmp_path / "made").read_text() == "whole"
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "made"}
