"""A watch on training: do predictions still differ from one picture to the next?"""

import math
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn

from manip_core.hand_skeleton import Keypoint
from manip_model.outputs import ModelOutput
from manip_training.batch import Batch

# Labels that differ by less than this do not tell whether predictions may [m].
_LABELS_VARY = 2e-3


@dataclass(frozen=True, kw_only=True)
class WatchConfig:
    """When predictions count as collapsed.

    Attributes:
        every: Steps from one look to the next.
        spread: Below this ratio of the predictions' spread to the labels' they count as one.
        patience: So many looks in a row end the training; 0 never does.
        warmup: Steps before the first look that counts.
    """

    every: int = 50
    spread: float = 0.1
    patience: int = 10
    warmup: int = 500

    def __post_init__(self):
        for name, lowest in (("every", 1), ("patience", 0), ("warmup", 0)):
            if not getattr(self, name) >= lowest:
                raise ValueError(f"{name} must be {lowest} or more, got {getattr(self, name)}")
        if not 0 <= self.spread <= 1:
            raise ValueError(f"spread must lie within 0 and 1, got {self.spread}")


@dataclass
class WatchState:
    """What a watch has seen; part of a checkpoint.

    Attributes:
        low_in_a_row: Looks, up to the last, at which predictions counted as one.
        spread, articulation: Ratios at the last look at which labels varied.
        error_mm: Mean error of the wrist-relative joints at the last look.
        entropy: Of each attention layer, 0 to 1, when last measured.
    """

    low_in_a_row: int = 0
    spread: float = math.nan
    articulation: float = math.nan
    error_mm: float = math.nan
    entropy: dict[str, float] = field(default_factory=dict)


class CollapseWatch:
    """Keeps an eye on the spread of predictions, their error by joint, and attention entropy."""

    def __init__(self, config: WatchConfig):
        self.config = config
        self.state = WatchState()

    def due(self, step: int) -> bool:
        """Whether to look after this step, counted from 1."""
        return step % self.config.every == 0

    @torch.no_grad()
    def look(
        self, step: int, output: ModelOutput, batch: Batch, entropy: dict[str, float] | None = None
    ) -> dict[str, float]:
        """Look at a batch.

        Args:
            step: Of the training, counted from 1.
            output, batch: Predictions and truth; only hands with all joints labelled count.
            entropy: Mean entropy of each attention layer, 0 to 1, where measured.

        Returns:
            Figures to log: ``spread_ratio`` of the wrist-relative joints and ``articulation_ratio``
            of the distances among them, 1 where predictions vary as the labels do, each only where
            the labels vary; ``joint/…_mm``, the wrist-relative error of each keypoint;
            ``attention/mean`` and ``attention/least``.
        """
        state, figures = self.state, {}
        valid = batch["joints_valid"].all(-1)
        said, true = output.joints[valid].float(), batch["joints"][valid].float()
        if len(true):
            error = (_rooted(said) - _rooted(true)).norm(dim=-1).mean(0)
            said_spread, said_shape, true_spread, true_shape, *joints = torch.stack(
                (*_spreads(said), *_spreads(true), *error)
            ).tolist()
            state.error_mm = 1e3 * sum(joints) / len(joints)
            for keypoint, metres in zip(Keypoint, joints, strict=True):
                figures[f"joint/{keypoint.name.lower()}_mm"] = 1e3 * metres
            if true_shape > _LABELS_VARY:
                state.articulation = said_shape / true_shape
                figures["articulation_ratio"] = state.articulation
            if true_spread > _LABELS_VARY:
                state.spread = said_spread / true_spread
                figures["spread_ratio"] = state.spread
                self._count(step)
        if entropy:
            state.entropy = dict(entropy)
            values = entropy.values()
            figures["attention/mean"] = sum(values) / len(values)
            figures["attention/least"] = min(values)
        return figures

    def _count(self, step: int) -> None:
        # What is no number is not at least the limit either.
        low = not self.state.spread >= self.config.spread
        counts = low and step > self.config.warmup
        self.state.low_in_a_row = self.state.low_in_a_row + 1 if counts else 0

    def collapsed(self) -> str | None:
        """In plain words what is wrong and what to try, or None."""
        state = self.state
        if not self.config.patience or state.low_in_a_row < self.config.patience:
            return None
        least = min(state.entropy.items(), key=lambda item: item[1], default=None)
        attention = f"; least attention entropy {least[1]:.3f}, in {least[0]}" if least else ""
        return (
            f"predictions have collapsed to the mean: over {state.low_in_a_row} looks they spread "
            f"less than {self.config.spread} times as far as the labels, at last "
            f"{state.spread:.3f} times (articulation {state.articulation:.3f}), at "
            f"{state.error_mm:.1f} mm of error{attention}. Try a lower optim.lr, more warm-up, a "
            "larger loss.diversity, model.sigma_reparam=true, model.position_embedding=true where "
            "it is off, or look at the pictures and labels with manip debug"
        )

    def state_dict(self) -> dict:
        """Plain values."""
        return asdict(self.state)

    def load_state_dict(self, state: dict) -> None:
        """The inverse of :meth:`state_dict`."""
        self.state = WatchState(**state)


def _rooted(joints: Tensor) -> Tensor:
    return joints - joints[:, Keypoint.WRIST, None]


def _spreads(joints: Tensor) -> tuple[Tensor, Tensor]:
    """Standard deviations [m] over a batch: of wrist-relative joints, of distances among joints.

    The distances do not change as the hand turns. A network that has learnt how hands are turned
    and not how they are bent, as one that does not know where its patches are, has no spread there.
    """
    apart = torch.cdist(joints, joints, compute_mode="donot_use_mm_for_euclid_dist")
    return tuple(x.var(0, correction=0).mean().sqrt() for x in (_rooted(joints), apart))


def attention_entropy(weights: Tensor) -> Tensor:
    """Entropy of each head: 0 where it looks at one place, 1 where at all alike.

    Args:
        weights: ``(B, H, Q, K)``, sums over K are 1.

    Returns:
        ``(H,)``, means over the batch and the queries, in parts of log K.
    """
    if weights.ndim != 4 or weights.shape[-1] < 2:
        raise ValueError(f"weights must be (B, H, Q, K) with K > 1, got {tuple(weights.shape)}")
    entropy = torch.special.entr(weights.float()).sum(-1).mean((0, 2))
    return (entropy / math.log(weights.shape[-1])).clamp(0, 1)


def gradient_norms(model: nn.Module) -> dict[str, float]:
    """Norm of the gradient of each child of ``model`` that has one, and of all as ``"all"``.

    Where gradients are sharded over processes, all of them must call it.
    """
    squares = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            square = parameter.grad.detach().float().square().sum()
            whole = square.full_tensor() if hasattr(square, "full_tensor") else square
            squares.setdefault(name.partition(".")[0], []).append(whole)
    if not squares:
        return {}
    sums = torch.stack([torch.stack(parts).sum() for parts in squares.values()])
    norms = torch.cat((sums, sums.sum(0, keepdim=True))).sqrt().tolist()
    return dict(zip((*squares, "all"), norms, strict=True))
