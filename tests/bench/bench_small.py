"""How well the shipped network sees: rendered hands that training did not show it, and photos.

``python tests/bench/run.py small``. Photos are those of ``MANIP_DATA/real_photos``, where there are
any; they have no truth, so MediaPipe's hand is what the network's is compared with.
"""

import os
from pathlib import Path

import torch

from manip_core.resources import find
from manip_model.checkpoint import load_model
from manip_training import photos
from manip_training.config import compose
from manip_training.parts import evaluate_on, open_samples

SHIPPED = "assets/amt/small"
_SAMPLES = 1000
# Of the evaluation's figures, those that are reported, and what they are called there.
_REPORTED = {
    "mpjpe_root_mm": "synth_mpjpe_mm",
    "pa_mpjpe_mm": "synth_pa_mpjpe_mm",
    "mpjpe_scale_mm": "synth_mpjpe_scale_mm",
    "side_accuracy": "synth_side_accuracy",
    "object_position_mm": "synth_object_position_mm",
    "object_recall": "synth_object_recall",
    "contact_f1": "synth_contact_f1",
}


def measure_small() -> dict[str, float]:
    """Errors on the held-out world, and beside MediaPipe on photos."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load_model(find(SHIPPED), device)
    config = compose(["preset=small", "+experiment=rendered"])
    samples = open_samples(config.data, "val", _SAMPLES, device, model.config.image_size)
    measured = evaluate_on(model, samples, device, batch=25).figures
    figures = {name: measured[key] for key, name in _REPORTED.items() if key in measured}
    folder = Path(os.environ.get("MANIP_DATA", "")) / "real_photos"
    if os.environ.get("MANIP_DATA") and folder.is_dir():
        figures |= photos.measure(model, folder, device)[0]
    return figures
