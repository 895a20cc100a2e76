"""Everything that shapes a training run: the one home of its defaults, known to Hydra by name.

``manip train preset=tiny model.width=64 optim.lr=1e-3`` changes single values; the presets are
those of :mod:`manip_model.config`.
"""

from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from manip_core.preprocessing import BOX_SCALE
from manip_model.config import PRESETS, ModelConfig
from manip_training.collapse import WatchConfig
from manip_training.data.augment import AugmentConfig
from manip_training.losses import LossWeights
from manip_training.synthetic.world import WorldConfig

PRECISIONS = ("auto", "fp32", "bf16", "fp8")
DEVICES = ("auto", "cpu", "cuda")
STRATEGIES = ("ddp", "fsdp")
# The data set that a synthetic world renders.
RENDERED = "rendered"
# One that the same world wrote to disk.
SHARDS = "shards"
LOGGERS = ("plain", "tensorboard", "wandb")
WANDB_MODES = ("offline", "online")

# Where a run is computed, how and how long, but not what: a checkpoint goes on with these changed.
# (A run of another length goes on at its own length's learning rate.)
FREE_TO_CHANGE = (
    "run",
    "data.root",
    "data.cache",
    "data.workers",
    "model.attention",
    "model.checkpointing",
    "train.device",
    "train.compile",
    "train.cuda_graph",
    "train.distributed",
    "train.accumulate",
    "train.memory_share",
    "train.init",
    "train.steps",
    "train.epochs",
    "optim.fused",
)


@dataclass(frozen=True, kw_only=True)
class TreeConfig:
    """Size of a generated data set; see :func:`manip_training.data.generate.generate_tree`."""

    subjects: int = 4
    sequences: int = 10
    serials: int = 2
    frames: int = 20
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is trained and validated on; see :class:`manip_training.data.dexycb.DexYCB`.

    Attributes:
        name: ``"dexycb"``, ``"generated"``, ``"shards"`` of ``manip synth``, or ``"rendered"``:
            made anew for every batch.
        root: Its folder; empty for $DEX_YCB_DIR, or for ``data/generated``.
        setup: Of DexYCB's splits, ``s0`` to ``s3``.
        split, validation_split: For training and for validation.
        side: ``"left"``, ``"right"`` or ``"both"`` hands.
        stride: Every so many frames.
        limit, validation_limit: At most so many samples; 0 for all.
        box_scale: Side of the crop over the extent of the keypoints.
        cache: ``"device"`` keeps the samples where the model is, ``"host"`` in main memory.
        workers: Processes that read them at the start.
        tree: What is generated where ``root`` is empty yet.
        world: What is rendered; validation has the variant that training does not see.
        epoch: Rendered samples that count as an epoch.
    """

    name: str = "generated"
    root: str = ""
    setup: str = "s0"
    split: str = "train"
    validation_split: str = "val"
    side: str = "both"
    stride: int = 1
    limit: int = 0
    validation_limit: int = 2000
    box_scale: float = BOX_SCALE
    cache: str = "device"
    workers: int = 4
    tree: TreeConfig = field(default_factory=TreeConfig)
    world: WorldConfig = field(default_factory=WorldConfig)
    epoch: int = 100_000

    def __post_init__(self):
        _at_least("limit", self.limit, 0)
        _at_least("validation_limit", self.validation_limit, 0)
        _at_least("workers", self.workers, 0)
        _at_least("epoch", self.epoch, 1)
        _one_of("cache", self.cache, ("device", "host"))


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW, its schedule, and the moving average of the weights.

    Attributes:
        lr: Peak learning rate, after warm-up.
        backbone_factor: Of ``lr``, for the backbone; 0 for a tenth where ``model.pretrained`` names
            its weights, else for all of it.
        betas: Of AdamW.
        weight_decay: Of matrices; norms, biases, gammas and embeddings have none.
        clip: Largest norm of the gradient; 0 for no limit.
        warmup: Share of all steps in which the rate rises from 0.
        floor: Share of ``lr`` at which the cosine ends.
        fused: One kernel for the whole optimiser, where the device has it.
        ema: Decay of the average that is evaluated and kept; 0 for none.
    """

    lr: float = 5e-4
    backbone_factor: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.05
    clip: float = 1.0
    warmup: float = 0.05
    floor: float = 0.01
    fused: bool = True
    ema: float = 0.999

    def __post_init__(self):
        object.__setattr__(self, "betas", tuple(self.betas))
        _positive("lr", self.lr)
        for name in ("backbone_factor", "weight_decay", "clip"):
            _at_least(name, getattr(self, name), 0)
        for name in ("warmup", "floor", "ema"):
            _within(name, getattr(self, name), 0, 1)
        for beta in self.betas:
            _within("each of betas", beta, 0, 1)


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long and how the loop runs.

    Attributes:
        epochs: Passes over the training samples, where ``steps`` is 0.
        steps: Optimiser steps; 0 to count epochs.
        batch: Samples of one optimiser step, over all processes; ``"auto"`` fills the memory.
        accumulate: Parts in which each process computes its share of a batch.
        memory_share: Of the free memory, what ``batch=auto`` may fill.
        precision: One of ``PRECISIONS``; ``"auto"`` is bf16 where the device is a GPU that has it.
        compile: The transformer's layers go through ``torch.compile``.
        cuda_graph: On one GPU, a step's passes are recorded once and replayed.
        device: One of ``DEVICES``.
        distributed: How the processes of ``torchrun`` share the work: one of ``STRATEGIES``.
        seed: Of weights, data order and augmentation.
        bad_steps: So many steps in a row may be skipped because a loss was not finite.
        init: A model file whose weights the run starts from (of a convolutional one, those of the
            spatial prior); empty for fresh ones.
        learn: Parts of the network that learn, such as ``object_head+contact_head``; all others
            stay as they are. Empty for all.
    """

    epochs: int = 50
    steps: int = 0
    batch: int | str = 64
    accumulate: int = 1
    memory_share: float = 0.8
    precision: str = "auto"
    compile: bool = False
    cuda_graph: bool = True
    device: str = "auto"
    distributed: str = "ddp"
    seed: int = 0
    bad_steps: int = 10
    init: str = ""
    learn: str = ""

    def __post_init__(self):
        if isinstance(self.batch, str) and self.batch != "auto":
            raise ValueError(f"batch must be a number or auto, got {self.batch!r}")
        if self.batch != "auto":
            _at_least("batch", self.batch, 1)
        for name, lowest in (("epochs", 1), ("steps", 0), ("accumulate", 1), ("bad_steps", 0)):
            _at_least(name, getattr(self, name), lowest)
        _at_least("seed", self.seed, 0)
        _positive("memory_share", self.memory_share)
        _within("memory_share", self.memory_share, 0, 1)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("device", self.device, DEVICES)
        _one_of("distributed", self.distributed, STRATEGIES)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Where a run is kept and what it tells.

    Attributes:
        name: Of the run, the first part of its folder's name.
        folder: Empty for ``runs/NAME-DATE``.
        resume: A run folder or checkpoint to go on from; ``"auto"`` for the one in ``folder``, or
            the newest of this name, where there is one; empty to start anew.
        log_every: Steps from one line of metrics to the next.
        eval_every: Steps from one validation to the next; 0 for the end alone.
        save_every: Steps from one checkpoint to the next; 0 for the end alone.
        metric: Which validation figure chooses the best checkpoint; smaller is better.
        logger: One of ``LOGGERS``; metrics.jsonl is always written.
        wandb_mode: One of ``WANDB_MODES``.
        wandb_project: Name of the project there.
    """

    name: str = "train"
    folder: str = ""
    resume: str = ""
    log_every: int = 10
    eval_every: int = 1000
    save_every: int = 500
    metric: str = "pa_mpjpe_mm"
    logger: str = "plain"
    wandb_mode: str = "offline"
    wandb_project: str = "manip"

    def __post_init__(self):
        if not self.name or "/" in self.name:
            raise ValueError(f"name must be a word without /, got {self.name!r}")
        for name, lowest in (("log_every", 1), ("eval_every", 0), ("save_every", 0)):
            _at_least(name, getattr(self, name), lowest)
        _one_of("logger", self.logger, LOGGERS)
        _one_of("wandb_mode", self.wandb_mode, WANDB_MODES)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The whole of a training run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossWeights = field(default_factory=LossWeights)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: LoopConfig = field(default_factory=LoopConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def to_dict(self) -> dict:
        """Plain values, as a checkpoint or a YAML file holds them."""
        return _plain(asdict(self))

    @classmethod
    def from_dict(cls, values: dict) -> "TrainConfig":
        """The inverse of :meth:`to_dict`; ``ValueError`` names what is unknown."""
        return _build(cls, values, "")

    @classmethod
    def from_hydra(cls, config: DictConfig) -> "TrainConfig":
        """Of what Hydra composed; ``ValueError`` where values are unsound."""
        return cls.from_dict(OmegaConf.to_container(config, resolve=True))


def compose(overrides: list[str]) -> TrainConfig:
    """The config that ``manip train`` has with these ``key=value`` words.

    Raises:
        ValueError: A word that is no such thing, an unknown key or an unsound value.
    """
    register()
    try:
        with hydra.initialize(version_base="1.3", config_path=None):
            return TrainConfig.from_hydra(hydra.compose("train", overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(str(error)) from error


def differences(saved: dict, now: dict) -> list[str]:
    """``name: saved → now`` of what would make another run of it; see ``FREE_TO_CHANGE``."""
    old, new = flat(saved), flat(now)
    return [
        f"{name}: {old.get(name, 'nothing')} → {new.get(name, 'nothing')}"
        for name in sorted(old.keys() | new.keys())
        if not any(name == free or name.startswith(f"{free}.") for free in FREE_TO_CHANGE)
        and old.get(name) != new.get(name)
    ]


_UNCHANGED = dict.fromkeys(
    (
        *("roll", "zoom", "shift", "mirror", "brightness", "contrast"),
        *("colour", "noise", "blur", "occlusion"),
    ),
    0,
)
# Settings that belong together, chosen by ``+experiment=NAME``.
EXPERIMENTS = {
    # Pictures as they are.
    "unchanged": {"augment": _UNCHANGED},
    # Learn 64 samples by heart: whatever cannot do that has a fault.
    "overfit": {
        "data": {
            **{"name": "generated", "root": "data/overfit", "stride": 5, "limit": 64},
            **{"validation_split": "train", "validation_limit": 64},
            "tree": {"subjects": 4, "sequences": 10, "serials": 2, "frames": 6},
        },
        "augment": _UNCHANGED,
        "optim": {"lr": 1.5e-3, "betas": [0.9, 0.99], "weight_decay": 0.0, "ema": 0.99},
        "train": {"batch": 16, "steps": 3000},
        "run": {"name": "overfit", "log_every": 20, "eval_every": 0},
    },
    # Hands that are rendered as they are needed; the world blurs, dims and mirrors them itself.
    "rendered": {
        "data": {"name": "rendered", "validation_limit": 1000},
        "augment": _UNCHANGED,
        "optim": {"lr": 5e-4, "betas": [0.9, 0.98], "weight_decay": 0.05, "warmup": 0.02},
        "train": {"precision": "bf16"},
        "run": {"name": "rendered", "log_every": 20},
    },
}


def register() -> None:
    """Tell Hydra of the config ``train``, its schema, and the groups ``preset``, ``experiment``."""
    store = ConfigStore.instance()
    store.store(name="train_schema", node=_schema(TrainConfig()))
    for name, config in PRESETS.items():
        store.store(group="preset", name=name, node=_schema(config), package="model")
    for name, changes in EXPERIMENTS.items():
        store.store(group="experiment", name=name, node=changes, package="_global_")
    # Files of Hydra's own are off: the run folder holds config and log.
    quiet = [{f"override hydra/{kind}_logging": "none"} for kind in ("job", "hydra")]
    several = "runs/${run.name}-${now:%Y-%m-%d-%H%M%S}"
    store.store(
        name="train",
        node={
            "defaults": ["train_schema", {"preset": "small"}, "_self_", *quiet],
            "hydra": {
                "run": {"dir": "."},
                "output_subdir": None,
                "sweep": {"dir": several, "subdir": "${hydra.job.num}"},
                "job": {"name": "train"},
                "help": {"app_name": "manip train"},
            },
        },
    )


def _schema(config: Any) -> DictConfig:
    """A typed node that overrides may change, though the dataclass is frozen."""
    return _thaw(OmegaConf.structured(config))


def _thaw(node: DictConfig) -> DictConfig:
    OmegaConf.set_readonly(node, None)
    for name in node:
        child = node._get_node(name)
        if isinstance(child, DictConfig):
            _thaw(child)
    return node


def _build(cls: type, values: dict, where: str):
    known = {one.name: one for one in fields(cls)}
    if unknown := sorted(set(values) - set(known)):
        names = ", ".join(where + name for name in unknown)
        raise ValueError(f"unknown settings {names}; there are {', '.join(known)}")
    built = {}
    for name, value in values.items():
        kind = known[name].type
        nested = is_dataclass(kind) and isinstance(value, dict)
        built[name] = _build(kind, value, f"{where}{name}.") if nested else value
    try:
        return cls(**built)
    except ValueError as error:
        raise ValueError(f"{where}{error}" if where else str(error)) from error


def _plain(value):
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def flat(values: dict, where: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``, ``where`` before every name."""
    found = {}
    for name, value in values.items():
        inner = isinstance(value, dict)
        found |= flat(value, f"{where}{name}.") if inner else {where + name: value}
    return found


def word_of(value: Any) -> str:
    """A value as the right side of a ``key=value`` word."""
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(word_of, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def _at_least(name: str, value: float, lowest: float) -> None:
    if not value >= lowest:
        raise ValueError(f"{name} must be {lowest} or more, got {value}")


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be more than 0, got {value}")


def _within(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise ValueError(f"{name} must lie within {lowest} and {highest}, got {value}")
