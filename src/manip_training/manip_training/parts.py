"""What the loop trains and on what, put in place: model, samples, precision, compilation."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

from manip_core.preprocessing import BOX_SCALE
from manip_model.build import build_model
from manip_model.hand_model import HandModel
from manip_training.batch import IMAGE_SIZE
from manip_training.batch_size import undisturbed
from manip_training.config import RENDERED, SHARDS, DataConfig, TrainConfig
from manip_training.data import load_dataset, make_tree
from manip_training.data.cache import DeviceCache
from manip_training.data.primitives import primitive_points
from manip_training.distributed import layers_of
from manip_training.eval_report import Evaluation, Protocol
from manip_training.evaluate import Sequences, evaluate
from manip_training.samples import Samples, Source, Stream
from manip_training.synthetic.shards import Shards
from manip_training.synthetic.world import SyntheticWorld

GENERATED = "data/generated"
# Of a rendered split, where no limit is given; rendered so many at a time.
_RENDERED_SAMPLES = 2000
_RENDERED_AT_ONCE = 50
# Memory that the cache leaves on a machine without a GPU, in bytes.
_HOST_HEADROOM = 2 * 10**9

# The first compute capability whose tensor cores multiply float8: Ada (8.9) and Hopper (9.0);
# NVIDIA, "CUDA C++ Programming Guide", compute capabilities.
_FLOAT8_CAPABILITY = (8, 9)


@dataclass
class Parts:
    """A model, and the samples that it learns from and is judged by.

    Attributes:
        model: A :class:`manip_model.pose_network.PoseNetwork`, or what has its methods.
        training, validation: No validation is None.
    """

    model: nn.Module
    training: Source
    validation: Samples | None = None


def open_parts(config: TrainConfig, device: torch.device) -> Parts:
    """What the config names; errors as of :func:`open_samples` and the model's building."""
    data = config.data
    where = device if data.cache == "device" else torch.device("cpu")
    size = config.model.image_size
    if data.name == RENDERED:
        world = make_world(data, device, size=size)
        training: Source = Stream(world, HandModel.open(), data.epoch, world.object_slots)
    else:
        training = open_samples(data, data.split, data.limit, where, size)
    validation = open_samples(data, data.validation_split, data.validation_limit, where, size)
    torch.manual_seed(config.train.seed)
    return Parts(build_model(config.model, training.hand_model), training, validation)


def make_data(data: DataConfig) -> None:
    """Make the generated tree, where the config names it and it is not there yet."""
    if data.name == "generated":
        make_tree(data.root or GENERATED, asdict(data.tree))


def make_world(
    data: DataConfig, device: torch.device, split: str = "train", size: int = IMAGE_SIZE
) -> SyntheticWorld:
    """The world that training samples, or unlike ones for any other split, are rendered from.

    Args:
        data: What it shows.
        device: Where.
        split: ``train`` or another.
        size: Of the pictures [px].
    """
    variant = "train" if split == "train" else "val"
    return SyntheticWorld(replace(data.world, variant=variant), device, size)


def _rendered(
    data: DataConfig, split: str, limit: int, device: torch.device, image_size: int
) -> Samples:
    """Some rendered samples that stay the same."""
    world = make_world(data, device, split, image_size)
    count = limit or _RENDERED_SAMPLES
    batches = (
        world.batch(min(_RENDERED_AT_ONCE, count - first), seed=first)
        for first in range(0, count, _RENDERED_AT_ONCE)
    )
    return Samples(
        DeviceCache.of(batches, device),
        HandModel.open(),
        data.name,
        split,
        BOX_SCALE,
        object_points=primitive_points(),
        image_size=image_size,
    )


def open_samples(
    data: DataConfig,
    split: str,
    limit: int,
    device: torch.device,
    image_size: int,
) -> Samples:
    """Read a split into memory, or render it.

    Raises:
        FileNotFoundError: There is no such data; the message says how to get them.
        ValueError: No such split, no usable sample, or too little memory.
    """
    if data.name == RENDERED:
        return _rendered(data, split, limit, device, image_size)
    if data.name == SHARDS:
        dataset = Shards(data.root, split, limit)
    else:
        generated = data.name == "generated"
        dataset = load_dataset(
            data.name,
            tree=asdict(data.tree) if generated else None,
            root=data.root or (GENERATED if generated else None),
            setup=data.setup,
            split=split,
            side=data.side,
            limit=limit or None,
            box_scale=data.box_scale,
            stride=data.stride,
        )
    headroom = {} if device.type == "cuda" else {"headroom": _HOST_HEADROOM}
    try:
        workers = min(data.workers, os.cpu_count() or 1)
        cache = DeviceCache(dataset, device, workers=workers, **headroom)
    except MemoryError as error:
        raise ValueError(str(error)) from error
    follow = None
    if data.name != SHARDS:
        follow = Sequences(
            sequence_ids=dataset.sequence_ids[cache.kept],
            frame_times=dataset.frame_times[cache.kept],
        )
    return Samples(
        cache,
        dataset.hand_model,
        data.name,
        split,
        data.box_scale,
        follow,
        dataset.object_points,
        image_size,
    )


def evaluate_on(
    model: nn.Module,
    samples: Samples,
    device: torch.device,
    *,
    batch: int,
    precision: str = "fp32",
    side_given: bool = False,
    pictures: int = 0,
    command: str = "",
) -> Evaluation:
    """Measure ``model``, which is on ``device``, on all samples, ``batch`` at a time."""
    protocol = Protocol(
        dataset=samples.name,
        split=samples.split,
        boxes=f"ground truth keypoints, {samples.box_scale} x",
        # Who sees left hands in the mirror must know which they are.
        side_given=side_given or model.config.mirror_left,
        command=command,
    )
    return evaluate(
        _InPrecision(model, device, precision),
        samples.batches(batch, device),
        samples.hand_model,
        protocol,
        sequences=samples.sequences,
        object_points=samples.object_points,
        pictures=pictures,
    )


class _InPrecision(nn.Module):
    """A model under autocast; what is computed of its output is not."""

    def __init__(self, model: nn.Module, device: torch.device, precision: str):
        super().__init__()
        self.model, self.device, self.precision = model, device, precision

    def forward(self, *args, **kwargs):
        """As the model's."""
        with autocast(self.device, self.precision):
            return self.model(*args, **kwargs)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context for ``"fp32"``, ``"bf16"`` or ``"fp8"``, whose other layers are in bf16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision != "fp32")


def choose_precision(asked: str, device: torch.device) -> str:
    """``"fp32"``, ``"bf16"`` or ``"fp8"``, with ``"auto"`` settled for the device.

    Raises:
        ValueError: fp8 on a device, or in a torch, that cannot multiply it.
    """
    if asked == "auto":
        gpu = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if gpu else "fp32"
    if asked == "fp8":
        if device.type != "cuda":
            raise ValueError(
                f"train.precision=fp8 needs a GPU of compute capability 8.9 or more, "
                f"and this run is on {device.type}"
            )
        capability = torch.cuda.get_device_capability(device)
        if capability < _FLOAT8_CAPABILITY:
            raise ValueError(
                "train.precision=fp8 needs a GPU of compute capability 8.9 or more, "
                f"got {capability[0]}.{capability[1]} ({torch.cuda.get_device_name(device)})"
            )
        if not (hasattr(torch, "_scaled_mm") and hasattr(torch, "float8_e4m3fn")):
            raise ValueError(
                f"train.precision=fp8 needs a torch that multiplies float8, not {torch.__version__}"
            )
    return asked


def settle(
    config: TrainConfig, model: nn.Module, device: torch.device, say: Callable[[str], None]
) -> TrainConfig:
    """Make the model ready for its device and precision; returns the config with that settled."""
    precision = choose_precision(config.train.precision, device)
    if precision == "fp8":
        from manip_model import float8

        say(f"precision: {float8.enable_(model)} layers multiply in float8")
    # torch.set_float32_matmul_precision is left alone: TF32 would round to 10 bits what the hand
    # model and the rotations multiply in float32, outside autocast. Who wants speed takes bf16.
    if hasattr(model, "settle"):
        say(model.settle(device, torch.float32 if precision == "fp32" else torch.bfloat16))
    return replace(config, train=replace(config.train, precision=precision))


def enable_compile(
    model: nn.Module,
    loss: Callable[[], Tensor],
    device: torch.device,
    say: Callable[[str], None],
) -> bool:
    """Have every transformer layer of ``model`` compiled; returns whether that worked.

    Layer by layer, because they are alike: one is compiled for all, in seconds, where the network
    as a whole takes minutes. Compiling fails late, in the first pass, for example where there is no
    C++ compiler. So one is done here, of ``loss``, and where it fails all stays as it was, and
    ``say`` is told.
    """
    layers = [layer for layer in layers_of(model) if not layers_of(layer)]
    for layer in layers:
        layer.compile()
    try:
        with undisturbed(model, device):
            loss().backward()
        return True
    except Exception as error:
        # Only compilation is forgiven: what fails without it as well is raised in the first step.
        for layer in layers:
            layer._compiled_call_impl = None
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        say(f"torch.compile does not work here, going on without it: {reason}")
        return False


def not_compiled() -> contextlib.AbstractContextManager:
    """Within, compiled layers run as they are written: for a few passes of another shape."""
    return torch.compiler.set_stance("force_eager")
