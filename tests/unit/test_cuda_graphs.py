"""Recorded work: what may be recorded at all, and on a GPU that it computes the same."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from manip_model.build import build_model
from manip_model.hand_model import HandModel
from manip_training.config import compose
from manip_training.cuda_graphs import RecordedStep, RecordedWorld
from manip_training.objective import Objective
from manip_training.parts import make_world
from manip_training.samples import Piece, Stream

WORDS = ["preset=tiny", "+experiment=rendered", "model.image_size=112", "train.batch=4"]
# Places that look at values on a CPU alone.
CPU_ALONE = "camera.py"
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class _HostLooks(TorchDispatchMode):
    """Notes where the host looks at values, or hands some over: a GPU would be waited for."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function)
        if any(look in name for look in ("lift_fresh", "scalar_dense", "nonzero")):
            import traceback

            stack = [f.filename for f in traceback.extract_stack() if "manip_" in f.filename]
            if not (stack and stack[-1].endswith(CPU_ALONE)):
                self.found.append(f"{name} in {stack[-1:]}")
        return function(*args, **(kwargs or {}))


def put_together(device, *words):
    config = compose([*WORDS, f"train.device={device}", *words])
    world = make_world(config.data, torch.device(device), size=112)
    stream = Stream(world, HandModel.open(), 100, world.object_slots)
    torch.manual_seed(0)
    model = build_model(config.model, stream.hand_model).to(device).train()
    return stream, Objective(model, config)


@pytest.mark.parametrize("generation", ("transformer", "convolutional", "first_generation"))
def test_a_step_on_rendered_pictures_is_never_waited_for(generation):
    stream, objective = put_together("cpu", f"model.generation={generation}")
    told = torch.tensor([True, False, True, True])

    def step(number):
        objective.losses(stream.piece(Piece(0, number, 4, 0, 1), torch.device("cpu")), told)[
            "total"
        ].backward()

    # Constants are made once.
    step(0)
    with _HostLooks() as looks:
        step(1)
    assert not looks.found


@GPU
def test_a_recorded_world_shows_the_same_pictures():
    stream, _ = put_together("cuda")
    drawn = [stream.world.batch(4, seed) for seed in (3, 4, 3)]
    recorded = RecordedWorld(stream.world, 4, torch.device("cuda"))
    for seed, expected in zip((3, 4, 3), drawn, strict=True):
        found = recorded.batch(seed)
        assert (found["image"] != expected["image"]).float().mean() < 1e-3
        assert torch.allclose(found["joints"], expected["joints"], atol=1e-6)
    assert not torch.equal(drawn[0]["joints"], drawn[1]["joints"])


@GPU
def test_a_recorded_world_outlives_the_name_of_the_plain_one():
    device = torch.device("cuda")
    stream, _ = put_together("cuda")
    expected = stream.world.batch(4, 3)["joints"]
    recorded = RecordedWorld(put_together("cuda")[0].world, 4, device)
    # Whatever was let go would be overwritten now.
    garbage = [torch.full((n,), 2**40, device=device) for n in (10, 100, 1000, 10_000) * 50]
    assert torch.allclose(recorded.batch(3)["joints"], expected, atol=1e-6) and garbage


@GPU
def test_a_recorded_step_has_the_losses_and_gradients_of_its_batch():
    device = torch.device("cuda")
    stream, objective = put_together("cuda", "train.precision=fp32")
    model = objective.model
    told = torch.tensor([True, False, True, True], device=device)
    first, second = (stream.piece(Piece(0, n, 4, 0, 1), device) for n in range(2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recorded = RecordedStep(objective.losses, model, first, told)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    for batch in (second, first):
        model.load_state_dict(before)
        found = {name: value.clone() for name, value in recorded(batch, told).items()}
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        model.load_state_dict(before)
        model.zero_grad(set_to_none=True)
        plain = objective.losses(batch, told)
        plain["total"].backward()
        for name, value in plain.items():
            assert torch.allclose(found[name], value, rtol=1e-3, atol=1e-5), name
        whole = torch.cat([gradients[n].flatten() for n in gradients])
        expected = torch.cat([dict(model.named_parameters())[n].grad.flatten() for n in gradients])
        assert (whole - expected).norm() < 0.02 * expected.norm()
