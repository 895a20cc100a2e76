"""``manip export``: a trained model as it ships, calibrated on rendered pictures."""

import argparse
from pathlib import Path

from manip_model.checkpoint import load_model
from manip_model.export import BUDGET_MM, Pictures, export
from manip_training.run_folder import model_of
from manip_training.synthetic.world import SyntheticWorld
from manip_training.synthetic.world_config import WorldConfig

_PICTURES, _SEED = 96, 2026


def rendered_pictures(size: int, count: int = _PICTURES, seed: int = _SEED) -> Pictures:
    """Rendered hands, ``size`` pixels wide, to calibrate on."""
    world = SyntheticWorld(WorldConfig(), size=size)
    batch = world.batch(count, seed=seed)
    return Pictures(**{name: batch[name] for name in ("image", "camera", "side", "joints")})


def main(argv: list[str]) -> int:
    """``manip export MODEL --out DIR``: weights of eight bits and a graph, for any runtime."""
    parser = argparse.ArgumentParser(prog="manip export", description=main.__doc__)
    parser.add_argument("model", type=Path, help="a model file, or a run folder: its best")
    parser.add_argument("--out", type=Path, required=True, help="folder, such as assets/amt/small")
    parser.add_argument("--pictures", type=int, default=_PICTURES, help="to calibrate on")
    parser.add_argument("--seed", type=int, default=_SEED, help="of those")
    parser.add_argument(
        "--budget-mm",
        type=float,
        default=BUDGET_MM,
        help="by so much rounding activations may let the error grow; layers stay exact until then",
    )
    options = parser.parse_args(argv)
    model = load_model(model_of(options.model))
    pictures = rendered_pictures(model.config.image_size, options.pictures, options.seed)
    print(export(model, pictures, options.out, budget_mm=options.budget_mm, say=print))
    return 0
