"""A trained network as it ships: weights of eight bits in shards, and a graph that refers to them.

The graph is ONNX; it holds no weights of its own, but names ranges of the safetensors files
(:mod:`manip_model.shards`) as external data. Torch is needed here, and nowhere where it runs.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from manip_model.camera import CropCamera
from manip_model.doubt import Signs, signs
from manip_model.graph_names import GRAPH, INPUTS, OUTPUTS
from manip_model.graph_weights import refer_to_shards
from manip_model.pose_network import PoseNetwork
from manip_model.quantise import EightBits, Rounding, calibrate, exact_inputs, linear_layers, put
from manip_model.shards import SPREAD, STEP, write_shards

# Has all that is used here, and both runtimes have all of it.
_OPSET = 20
# Tensors that are no matrices ship as float16 from so many numbers on: positions, queries, the
# patches' filters.
_HALF = 1 << 13
# What rounding activations may cost: by so much the mean error of joints may grow [mm].
BUDGET_MM = 0.3
# So many of the worst layers are tried with their inputs left as they are.
_LEFT_OUT = (0, 3, 6, 12, 24, 48)
_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What a network is calibrated and checked on.

    Attributes:
        image: ``(N, 3, S, S)`` uint8 RGB crops.
        camera: ``(N, 4)`` fx, fy, cx, cy [px].
        side: ``(N,)`` 0 left, 1 right.
        joints: ``(N, 21, 3)`` the truth [m].
    """

    image: Tensor
    camera: Tensor
    side: Tensor
    joints: Tensor

    def __post_init__(self):
        # A graph takes what it was traced with.
        object.__setattr__(self, "camera", self.camera.float())
        count = len(self.image)
        shapes = [tuple(x.shape) for x in (self.camera, self.side, self.joints)]
        if count < 3 or shapes != [(count, 4), (count,), (count, 21, 3)]:
            raise ValueError(
                "pictures must be (N, 3, S, S), 3 or more, with cameras (N, 4), sides (N,) and "
                f"joints (N, 21, 3); got {tuple(self.image.shape)}, {shapes}"
            )

    def batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Pictures, cameras and sides, a few at a time."""
        for first in range(0, len(self.image), _BATCH):
            some = slice(first, first + _BATCH)
            yield self.image[some], self.camera[some], self.side[some]

    def part(self, some: slice) -> "Pictures":
        """Some of them."""
        values = (self.image, self.camera, self.side, self.joints)
        image, camera, side, joints = (x[some] for x in values)
        return Pictures(image=image, camera=camera, side=side, joints=joints)


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What :func:`export` wrote, and what eight bits cost.

    Attributes:
        folder: Where it lies.
        megabytes: Of all its files.
        layers, rounded: Matrices of eight bits, and those whose inputs are rounded as well.
        error_mm, weights_mm, total_mm: Mean error of joints, relative to the wrist, on the pictures
            that check: of the network as it was, with eight bits in weights, and in activations.
    """

    folder: Path
    megabytes: float
    layers: int
    rounded: int
    error_mm: float
    weights_mm: float
    total_mm: float

    def __str__(self) -> str:
        return (
            f"{self.folder}: {self.megabytes:.1f} MB; {self.layers} matrices of 8 bits, "
            f"{self.rounded} with inputs of 8 bits; error of joints {self.error_mm:.2f} mm, with "
            f"rounded weights {self.weights_mm:.2f} mm, with rounded activations "
            f"{self.total_mm:.2f} mm"
        )


def export(
    model: PoseNetwork,
    pictures: Pictures,
    folder: str | Path,
    *,
    budget_mm: float = BUDGET_MM,
    say: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write the shards, the index and the graph.

    Args:
        model: Left as it is. Its hand must be the open one: the graph holds the hand's mesh, and
            MANO's licence forbids to pass that on.
        pictures: A third of them sets the levels, the others check them. They should look like
            those that the network will see, and none of them is in what is written.
        folder: Where to.
        budget_mm: By so much rounding activations may let the mean error grow; layers of large
            error keep theirs as they are until it is met.
        say: Hears what is going on.

    Raises:
        ValueError: Another hand.
        ImportError: The exporter's packages are not there.
    """
    if model.hand_model.kind != "open":
        raise ValueError(
            f"only a model of the open hand can be shipped, this one is of {model.hand_model.kind}"
        )
    _need_exporter()
    folder = Path(folder)
    plain = copy.deepcopy(model).cpu().float().eval().fold_()
    plain.settle(torch.device("cpu"), torch.float32)
    third = max(len(pictures.image) // 3, 1)
    layers = calibrate(plain, pictures.part(slice(third)).batches(), _see)
    check = pictures.part(slice(third, None))
    say(f"levels set on {third} pictures")
    chosen, shipped, errors = _within_budget(plain, layers, check, budget_mm)

    stored = _stored(shipped, chosen)
    rounded = sum(layer.input_step is not None for layer in chosen.values())
    limits = _signs(shipped, check).limits()
    facts = {
        "config": model.config.to_dict(),
        "hand": model.hand_model.kind,
        "limits": {name: round(limit, 4) for name, limit in limits.items()},
        "eight_bits": {
            "layers": len(chosen),
            "rounded": rounded,
            **{name: round(value, 3) for name, value in errors.items()},
        },
    }
    where = write_shards(folder, stored, facts)
    graph = _trace(shipped, pictures)
    refer_to_shards(graph, shipped.state_dict(), chosen, where)
    (folder / GRAPH).write_bytes(graph.SerializeToString())
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    return Exported(
        folder=folder,
        megabytes=size,
        layers=len(chosen),
        rounded=rounded,
        **errors,
    )


def _need_exporter() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{error}: exporting needs the packages onnx and onnxscript, which "
            "scripts/setup.sh train installs"
        ) from error


def _see(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]):
    image, camera, side = batch
    return model(image, camera, side)


@torch.no_grad()
def _error_mm(model: nn.Module, pictures: Pictures) -> float:
    """Mean error of joints relative to the wrist [mm]."""
    joints = torch.cat([_see(model, batch).joints for batch in pictures.batches()])
    wrong = (joints - joints[:, :1]) - (pictures.joints - pictures.joints[:, :1])
    return 1e3 * float(wrong.norm(dim=-1).mean())


@torch.no_grad()
def _signs(model: nn.Module, pictures: Pictures) -> Signs:
    """What crops of hands show of the signs that there is none."""
    names = ("joints", "joints_log_variance", "keypoints_px", "keypoint_logits")
    seen = [_see(model, batch) for batch in pictures.batches()]
    fields = [torch.cat([getattr(one, name) for one in seen]).numpy() for name in names]
    return signs(*fields, pictures.camera.numpy())


def _within_budget(
    plain: PoseNetwork, layers: dict[str, EightBits], check: Pictures, budget_mm: float
) -> tuple[dict[str, EightBits], PoseNetwork, dict[str, float]]:
    """The layers with as many rounded inputs as the budget allows, the network with their weights,
    and the errors of :class:`Exported`."""
    before = _error_mm(plain, check)
    for count in _LEFT_OUT:
        chosen = exact_inputs(layers, plain, count)
        shipped = copy.deepcopy(plain)
        put(shipped, chosen)
        _halve(shipped)
        exact = _error_mm(shipped, check)
        with Rounding(shipped, chosen):
            total = _error_mm(shipped, check)
        if total - exact <= budget_mm:
            break
    return chosen, shipped, {"error_mm": before, "weights_mm": exact, "total_mm": total}


@torch.no_grad()
def _halve(model: PoseNetwork) -> None:
    """Round what ships as float16."""
    layers = linear_layers(model)
    for name, value in model.state_dict().items():
        if name.removesuffix(".weight") not in layers and value.numel() >= _HALF:
            value.copy_(value.half())


def _stored(model: PoseNetwork, layers: dict[str, EightBits]) -> dict[str, np.ndarray]:
    """Everything that goes into the shards."""
    stored = {}
    for name, value in model.state_dict().items():
        layer = layers.get(name.removesuffix(".weight"))
        if name.endswith(".weight") and layer is not None:
            stored[name] = layer.levels.T.contiguous().numpy()
            stored[name + STEP] = layer.step.numpy()
            if layer.spread is not None:
                stored[name + SPREAD] = layer.spread.numpy()
        else:
            stored[name] = (value.half() if value.numel() >= _HALF else value.float()).numpy()
    return stored


class _Graph(nn.Module):
    """The network with its outputs as a tuple, as graphs have them."""

    def __init__(self, model: PoseNetwork):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, camera: Tensor, side: Tensor, hint: Tensor):
        """The tensors that ``OUTPUTS`` names."""
        found = self.model(image, CropCamera(camera), side, hint)
        return tuple(getattr(found, name) for name in OUTPUTS)


def _trace(model: PoseNetwork, pictures: Pictures):
    """The network as ONNX, with its weights in it and for any number of pictures."""
    given = (pictures.image[:2], pictures.camera[:2], pictures.side[:2], pictures.side[:2])
    any_number = torch.export.Dim("batch", min=1, max=64)
    with torch.no_grad():
        program = torch.onnx.export(
            _Graph(model).eval(),
            given,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            opset_version=_OPSET,
            dynamo=True,
            external_data=False,
            dynamic_shapes=tuple({0: any_number} for _ in given),
            verbose=False,
        )
    return program.model_proto
