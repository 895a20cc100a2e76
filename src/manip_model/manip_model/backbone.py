"""DINOv2 as a multi-scale feature extractor: four depths, fused to one width."""

import logging
import math
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import Dinov2Config, Dinov2Model

from manip_model.attention import choose_attention
from manip_model.config import ModelConfig
from manip_model.features import Features, Normalise, cell_shares

_log = logging.getLogger(__name__)

# The summary also hears what is where, coarsely: of so many cells along each side, so much each.
# Averages alone do not know it, and attention takes long to learn where to look.
_LAYOUT_CELLS, _LAYOUT_WIDTH = 8, 32
_POSITIONS = "embeddings.position_embeddings"
# transformers renamed DINOv2's projections between 5.17 and 5.23.
_RENAMED = (
    (".attention.attention.query.", ".attention.q_proj."),
    (".attention.attention.key.", ".attention.k_proj."),
    (".attention.attention.value.", ".attention.v_proj."),
    (".attention.output.dense.", ".attention.o_proj."),
)


class Backbone(nn.Module):
    """DINOv2 with its first layers frozen where pretrained.

    Attributes:
        attention: The attention implementation in use.
        frozen: How many layers are frozen; the embeddings are with them.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.taps = config.taps
        self.checkpointing = config.checkpointing
        self.normalise = Normalise(config.image_size)
        self.dino = load_dino(config)
        self.pretrained = bool(config.pretrained)
        frozen = config.frozen_layers
        if frozen < 0:
            frozen = config.layers // 2 if self.pretrained else 0
        self.frozen = frozen
        if frozen:
            self.dino.embeddings.requires_grad_(False)
            for layer in self.dino.encoder.layer[:frozen]:
                layer.requires_grad_(False)
        # Taken out only for its masked pictures, which have no place here.
        self.dino.embeddings.mask_token = None
        self.dino.layernorm = nn.Identity()
        self.norms = nn.ModuleList(nn.LayerNorm(config.hidden) for _ in config.taps)
        self.fuse = nn.Linear(len(config.taps) * config.hidden, config.width)
        self.fuse_summary = nn.Linear(2 * len(config.taps) * config.hidden, config.width)
        self.narrow = nn.Linear(config.width, _LAYOUT_WIDTH)
        self.layout = nn.Linear(_LAYOUT_WIDTH * _LAYOUT_CELLS**2, config.width)
        self.register_buffer("cells", cell_shares(_LAYOUT_CELLS, config.grid), persistent=False)
        self.asked, self.attention = config.attention, ""

    def choose(self, device: torch.device, dtype: torch.dtype) -> str:
        """Settle the attention implementation for where the model runs; returns what was chosen."""
        self.attention, said = choose_attention(self.asked, device, dtype)
        self.dino.set_attn_implementation(self.attention)
        _log.info(said)
        return said

    def forward(self, image: Tensor) -> Features:
        """Features of ``(B, 3, S, S)``, ``width`` wide."""
        dtype = self.dino.embeddings.patch_embeddings.projection.weight.dtype
        x = self.normalise(image, dtype)
        taken = []
        with torch.no_grad() if self.frozen else nullcontext():
            x = self.dino.embeddings(x)
        for number, layer in enumerate(self.dino.encoder.layer, start=1):
            if number <= self.frozen:
                with torch.no_grad():
                    x = _first(layer(x))
            elif self.checkpointing and torch.is_grad_enabled():
                x = _first(checkpoint(layer, x, use_reentrant=False))
            else:
                x = _first(layer(x))
            if number in self.taps:
                taken.append(self.norms[len(taken)](x))
        all_scales = torch.cat(taken, dim=-1)
        patches = all_scales[:, 1:]
        whole = torch.cat((all_scales[:, 0], patches.mean(1)), dim=-1)
        tokens = self.fuse(patches)
        narrow = Features(F.gelu(self.narrow(tokens)), whole).map()
        cells = self.cells.to(narrow.dtype)
        summary = self.fuse_summary(whole) + self.layout((cells @ narrow @ cells.mT).flatten(1))
        return Features(tokens, summary)


def sine_positions(grid: int, width: int) -> Tensor:
    """``(grid * grid, width)`` sines and cosines of row and column, a quarter of the width each.

    Vaswani et al. 2017, "Attention is all you need", in two dimensions.
    """
    if width % 4:
        raise ValueError(f"width must be a multiple of 4, got {width}")
    rates = 10000.0 ** -torch.linspace(0, 1, width // 4)
    angle = torch.arange(grid)[:, None] * rates
    line = torch.cat((angle.sin(), angle.cos()), dim=-1)
    rows = line[:, None].expand(grid, grid, -1)
    columns = line[None].expand(grid, grid, -1)
    return torch.cat((rows, columns), dim=-1).flatten(0, 1)


def at_resolution(weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Weights whose positions are resampled to the grid of ``model``, where it is another one.

    A network that was trained on small pictures so goes on with larger ones.

    Args:
        weights: By name, of a network that differs in ``image_size`` alone.
        model: It has the wanted grid.
    """
    own = model.state_dict()
    changed = {
        name: _resample(value, own[name].shape[1] - 1)
        for name, value in weights.items()
        if name.endswith(_POSITIONS) and name in own and own[name].shape != value.shape
    }
    return weights | changed


def under_own_names(weights: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """Weights that were saved under another version of transformers, by the ``names`` of this one.

    Args:
        weights: By name. What is in ``names`` already, or unknown to both versions, stays as it is.
        names: Those that the model at hand has.
    """
    return {_own_name(name, names): value for name, value in weights.items()}


def _own_name(name: str, names: Collection[str]) -> str:
    if name in names:
        return name
    for pair in _RENAMED:
        for theirs, ours in (pair, pair[::-1]):
            if (renamed := name.replace(theirs, ours)) in names:
                return renamed
    return name


def _resample(positions: Tensor, tokens: int) -> Tensor:
    """``(1, 1 + G*G, D)``: those of the ``tokens`` patches between the given ones; bicubic."""
    first, patches = positions[:, :1], positions[:, 1:]
    before, after = (math.isqrt(n) for n in (patches.shape[1], tokens))
    grid = patches.transpose(1, 2).unflatten(-1, (before, before)).float()
    grid = F.interpolate(grid, size=(after, after), mode="bicubic", antialias=after < before)
    return torch.cat((first, grid.flatten(2).transpose(1, 2).to(first.dtype)), dim=1)


def _first(out):
    """Layers of some versions of transformers return a tuple."""
    return out[0] if isinstance(out, tuple) else out


def load_dino(config: ModelConfig) -> Dinov2Model:
    """DINOv2 of the config's size, with the weights that ``config.pretrained`` names.

    Raises:
        FileNotFoundError: The weights are neither a local folder nor to be had from the hub.
        ValueError: They are of another size than the config.
    """
    if not config.pretrained:
        dino = Dinov2Model(
            Dinov2Config(
                hidden_size=config.hidden,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                image_size=config.image_size,
                patch_size=config.patch_size,
                # From scratch, full residual branches; pretrained files bring their own.
                layerscale_value=1.0,
            )
        )
        # The usual 0.02 of noise is lost beside patches of unit variance, and takes long to grow.
        positions = dino.embeddings.position_embeddings
        positions.data[0, 1:] = sine_positions(config.grid, config.hidden)
        return dino
    where = Path(config.pretrained).expanduser()
    try:
        dino = Dinov2Model.from_pretrained(where if where.exists() else config.pretrained)
    except OSError as error:
        raise FileNotFoundError(
            f"no DINOv2 weights at {config.pretrained!r}: give a folder with config.json and "
            f"model.safetensors, or a hub name such as facebook/dinov2-small, or leave "
            f"model.pretrained empty for random ones ({str(error).splitlines()[0]})"
        ) from error
    for name, theirs in (
        ("hidden", dino.config.hidden_size),
        ("layers", dino.config.num_hidden_layers),
        ("heads", dino.config.num_attention_heads),
        ("patch_size", dino.config.patch_size),
    ):
        if theirs != getattr(config, name):
            raise ValueError(
                f"the weights at {config.pretrained!r} have {name} {theirs}, "
                f"the model wants {getattr(config, name)}"
            )
    # Published weights are for larger pictures: their positions are resampled here, once.
    grid, embeddings = config.grid, dino.embeddings
    if embeddings.position_embeddings.shape[1] != grid**2 + 1:
        tokens = torch.zeros(1, grid**2 + 1, config.hidden)
        with torch.no_grad():
            resampled = embeddings.interpolate_pos_encoding(
                tokens, config.image_size, config.image_size
            )
        embeddings.position_embeddings = nn.Parameter(resampled.clone())
    return dino
