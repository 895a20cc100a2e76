"""Weights and their :class:`ModelConfig` in one file, so that one path is enough to load a model.

A training checkpoint is such a file with one entry more, and a shipped folder
(:mod:`manip_model.shards`) holds the same in eight bits; :func:`load_model` reads all three.
"""

import contextlib
import os
import pickle
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from manip_model.backbone import under_own_names
from manip_model.build import build_model
from manip_model.config import ModelConfig
from manip_model.hand_model import HandModel, load_hand_model
from manip_model.pose_network import PoseNetwork
from manip_model.shipped import read_shipped

FORMAT = "manip-model-1"


def save_model(
    path: str | Path, weights: Mapping[str, Tensor], config: ModelConfig, *, hand: str, **more
) -> None:
    """Write a model to ``path``, whole or not at all; see :func:`write`.

    Args:
        path: Of the file.
        weights: ``model.state_dict()``, not folded.
        config: Of the model.
        hand: ``kind`` of the hand model it was trained with, ``"open"`` or ``"mano"``.
        more: Further plain values and tensors: reading the file must run no code.
    """
    held = {"format": FORMAT, "config": config.to_dict(), "hand": hand, "weights": dict(weights)}
    write(path, held | more)


def load_model(
    path: str | Path,
    device: torch.device | str = "cpu",
    hand_model: HandModel | None = None,
) -> PoseNetwork:
    """The model in a file or a shipped folder, ready for use.

    Args:
        path: As :func:`save_model`, a training run or ``manip export`` wrote it.
        device: Where the model shall be.
        hand_model: The hand it speaks of; None: one of the kind it was trained with.

    Returns:
        The model in evaluation mode.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not a model file, weights that do not fit its config, or trained with MANO,
            which is not here; the message says which.
    """
    held = read(path)
    config = ModelConfig.from_dict(held["config"])
    hand_model = hand_model or _hand_of(held["hand"], path)
    # All weights are in the file: nothing must be fetched to build the layers.
    model = build_model(replace(config, pretrained=""), hand_model)
    put_weights(model, held["weights"], path)
    return model.to(device).eval()


def _hand_of(kind: str, path: str | Path) -> HandModel:
    if kind == "open":
        return HandModel.open()
    found = load_hand_model()
    if found.kind != kind:
        raise ValueError(
            f"{path} was trained with the hand {kind!r}, and there is only {found.kind!r}: let "
            "MANO_DIR point at MANO's files"
        )
    return found


def read_config(path: str | Path) -> ModelConfig:
    """The config of the model in a file; errors as for :func:`load_model`."""
    return ModelConfig.from_dict(read(path)["config"])


def put_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str | Path) -> None:
    """Load weights by name; ``ValueError`` names what does not fit, and ``source``."""
    own = model.state_dict()
    weights = under_own_names(weights, own)
    problems = [f"{name} is missing" for name in own if name not in weights]
    problems += [f"{name} is unknown" for name in weights if name not in own]
    problems += [
        f"{name} is {tuple(weights[name].shape)} instead of {tuple(value.shape)}"
        for name, value in own.items()
        if name in weights and weights[name].shape != value.shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ValueError(f"{source} does not fit the model: {'; '.join(problems[:3])}{more}")
    model.load_state_dict(weights)


def read(path: str | Path) -> dict:
    """The contents of a model file or of a shipped folder, on the CPU; errors as for
    :func:`load_model`."""
    path = Path(path)
    if path.is_dir():
        return read_shipped(path)
    if not path.is_file():
        raise FileNotFoundError(f"no model file at {path}")
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a model file: {_first_line(error)}") from error
    if not isinstance(held, dict) or held.get("format") != FORMAT:
        found = held.get("format") if isinstance(held, dict) else type(held).__name__
        raise ValueError(f"{path} is not a model file: its format is {found!r}, not {FORMAT!r}")
    return held


def write(path: str | Path, held: dict) -> None:
    """Write a file whole or not at all: whatever was at ``path`` stays until the new one is safe.

    Raises:
        OSError: The disk is full or cannot be written; nothing of the attempt is left behind.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(held, file)
            file.flush()
            os.fsync(file.fileno())
        # Readable as the umask has it; mkstemp's files are their owner's alone.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        # The zip writer within torch turns a failed write into a RuntimeError.
        if isinstance(error, RuntimeError):
            free = shutil.disk_usage(path.parent).free // 2**20
            raise OSError(
                f"{path} could not be written, {free} MiB are free there: {_first_line(error)}"
            ) from error
        raise
    _sync_folder(path.parent)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself durable; some file systems refuse, and then nothing is lost."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
