"""How much of the bare backbone's speed the whole training step on rendered pictures keeps.

``python tests/bench/run.py training``. On a GPU both are compiled and in bf16; on a CPU neither is
compiled, which takes longer there than it gains.
"""

import time

import torch

from manip_model.build import build_model
from manip_model.hand_model import HandModel
from manip_training import optim
from manip_training.config import compose
from manip_training.cuda_graphs import record_step
from manip_training.objective import Objective
from manip_training.parts import enable_compile, make_world, settle
from manip_training.samples import Piece, Stream

_WARM_UP = 2


def measure_training() -> dict[str, float]:
    """Images/s of ``small``: its training step on rendered pictures, and its backbone's alone.

    Rendering, drawing of scenes, all heads, losses and the optimiser count; both learn all layers.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gpu = device.type == "cuda"
    size, steps = (256, 30) if gpu else (16, 3)
    words = [f"train.batch={size}", f"train.device={device.type}"]
    config = compose(["preset=small", "+experiment=rendered", *words])
    backbone = _backbone_rate(config, device, size, steps)
    rendered = _whole_rate(config, device, size, steps)
    suffix = "" if gpu else "_cpu"
    return {
        f"train_images_s{suffix}": rendered,
        f"train_backbone_images_s{suffix}": backbone,
        f"train_ratio_to_backbone{suffix}": rendered / backbone,
    }


def _backbone_rate(config, device: torch.device, size: int, steps: int) -> float:
    model = build_model(config.model)
    model.settle(device, torch.bfloat16)
    net = model.backbone.to(device).train()
    call = torch.compile(net) if device.type == "cuda" else net
    image = torch.randint(0, 256, (size, 3, 224, 224), dtype=torch.uint8, device=device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-5, fused=True)

    def step(number: int) -> None:
        with torch.autocast(device.type, torch.bfloat16):
            value = call(image).tokens.float().square().mean()
        value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return size / _seconds(step, steps, device)


def _whole_rate(config, device: torch.device, size: int, steps: int) -> float:
    world = make_world(config.data, device, size=config.model.image_size)
    stream = Stream(world, HandModel.open(), config.data.epoch, world.object_slots)
    model = build_model(config.model, stream.hand_model).to(device).train()
    config = settle(config, model, device, print)
    objective = Objective(model, config)
    optimizer = optim.make_optimizer(model, config.optim, pretrained=False)
    told = torch.ones(size, dtype=torch.bool, device=device)
    recorded = None
    if device.type == "cuda":
        first = stream.piece(Piece(0, 0, size, 0, 1), device)
        enable_compile(model, lambda: objective.losses(first, told)["total"], device, print)
        recorded = record_step(objective.losses, model, first, told)

    def step(number: int) -> None:
        batch = stream.piece(Piece(0, number, size, 0, 1), device)
        if recorded:
            recorded(batch, told)
        else:
            objective(batch, told, number)["total"].backward()
        stream.prepare(Piece(0, number + 1, size, 0, 1), device)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return size / _seconds(step, steps, device)


def _seconds(step, steps: int, device: torch.device) -> float:
    """Of one step, after some that do not count."""
    for number in range(_WARM_UP + steps):
        if number == _WARM_UP:
            if device.type == "cuda":
                torch.cuda.synchronize()
            began = time.perf_counter()
        step(number)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps
