"""The pose transformer: does it learn, agree with itself, how large and how fast is it.

``python tests/bench/run.py model overfit``. What needs a GPU is measured where there is one.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch

from manip_model import float8
from manip_model.build import build_model
from manip_model.config import preset
from manip_model.hand_model import load_hand_model
from manip_model.pose_network import PoseNetwork
from manip_training.batch import Batch
from manip_training.config import compose
from manip_training.data.cache import DeviceCache, cache_bytes
from manip_training.debug import profile_step
from manip_training.losses import LossWeights, compute_losses
from manip_training.random_batch import random_batch
from manip_training.train import train

_GB = 1e9
# Samples in the cache whose delivery is timed: more than any processor's own memory holds.
_CACHED, _BATCH = 4096, 256


def measure_agreement() -> dict[str, float]:
    """Largest difference of any joint between two ways of computing the same, in [mm]."""
    hand_model = load_hand_model()
    batch = random_batch(4, hand_model)
    image, camera = batch["image"], batch["camera"]

    def fresh(**changes) -> PoseNetwork:
        torch.manual_seed(0)
        model = build_model(preset("tiny", **changes), hand_model).eval()
        model.settle("cpu", torch.float32)
        return model

    with torch.no_grad():
        exact = fresh()(image, camera).joints

        def error_mm(joints: torch.Tensor) -> float:
            return 1e3 * (joints - exact).norm(dim=-1).max().item()

        figures = {
            "agree_folded_mm": error_mm(fresh().fold_()(image, camera).joints),
            "agree_eager_attention_mm": error_mm(fresh(attention="eager")(image, camera).joints),
            "agree_compiled_mm": error_mm(torch.compile(fresh())(image, camera).joints),
        }
        with torch.autocast("cpu", torch.bfloat16):
            figures["agree_bf16_mm"] = error_mm(fresh()(image, camera).joints)
    return figures


def measure_large() -> dict[str, float]:
    """Parameters of ``large``, and what a training step of one picture keeps."""
    hand_model = load_hand_model()
    batch = random_batch(1, hand_model)
    figures = {}
    for checkpointing in (False, True):
        model = build_model(preset("large", checkpointing=checkpointing), hand_model)
        figures["large_parameters_m"] = sum(p.numel() for p in model.parameters()) / 1e6
        profile = profile_step(model, batch, _loss(model))
        kept = sum(part.activations for part in profile.modules)
        name = "checkpointed" if checkpointing else "plain"
        figures[f"large_activations_mb_{name}"] = kept / 1e6
        del model
    return figures


def measure_debug() -> dict[str, float]:
    """``manip debug`` on ``large`` as a user calls it: time, and memory beyond the model."""
    manip = Path(__file__).resolve().parents[2] / ".venv/bin/manip"
    began = time.perf_counter()
    ran = subprocess.run(
        [str(manip), "debug", "preset=large"], capture_output=True, text=True, check=True
    )
    seconds = time.perf_counter() - began
    line = next(one for one in ran.stdout.splitlines() if "host memory beyond" in one)
    megabytes = float(line.split(":")[1].split("MB")[0])
    return {"debug_large_s": seconds, "debug_large_host_mb": megabytes}


class _RandomSamples:
    """A data set of random pictures, as many as asked for from a few."""

    def __init__(self, size: int):
        self._some = random_batch(16, load_hand_model())
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> dict:
        return {name: value[index % 16].numpy() for name, value in self._some.items()}


def measure_cache(seconds: float = 3.0) -> dict[str, float]:
    """Samples that the cache delivers in a second, and how many fit in a gigabyte."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cache = DeviceCache(_RandomSamples(_CACHED), device, headroom=0)
    order = torch.randperm(_CACHED, device=device)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        first = done % (_CACHED - _BATCH)
        cache.batch(order[first : first + _BATCH])
        done += _BATCH
        if device.type == "cuda":
            torch.cuda.synchronize()
    figures = {
        f"cache_samples_s_{device.type}": done / (time.perf_counter() - began),
        "cache_samples_per_gb": _GB / cache_bytes(1),
    }
    return figures


def measure_gpu(batch_size: int = 64, steps: int = 20) -> dict[str, float]:
    """A compiled training step of ``large`` in bf16 and in fp8 beside that of its bare backbone.

    Raises:
        FileNotFoundError: There is no GPU.
    """
    if not torch.cuda.is_available():
        raise FileNotFoundError("no GPU on this machine")
    hand_model = load_hand_model()
    batch = random_batch(batch_size, hand_model, device="cuda")
    image, camera, side = batch["image"], batch["camera"], batch["side"]

    def rate(net: torch.nn.Module, step) -> float:
        """Images/s of ``step``, which returns what is minimised."""
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-5, fused=True)
        for number in range(steps + 5):
            if number == 5:
                torch.cuda.synchronize()
                began = time.perf_counter()
            with torch.autocast("cuda", torch.bfloat16):
                value = step()
            value.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        return steps * batch_size / (time.perf_counter() - began)

    def whole(eight_bits: bool) -> float:
        model = build_model(preset("large"), hand_model).cuda().train()
        model.settle("cuda", torch.bfloat16)
        if eight_bits:
            float8.enable_(model)
        loss, compiled = _loss(model), torch.compile(model)
        return rate(model, lambda: loss(compiled(image, camera, side), batch)["total"])

    def bare() -> float:
        model = build_model(preset("large", sigma_reparam=False), hand_model).backbone
        model = model.cuda().train()
        model.choose(torch.device("cuda"), torch.bfloat16)
        compiled = torch.compile(model)
        return rate(model, lambda: compiled(image).tokens.float().square().mean())

    backbone = bare()
    torch.cuda.reset_peak_memory_stats()
    all_heads = whole(False)
    figures = {
        "large_images_s": all_heads,
        "large_backbone_images_s": backbone,
        "large_ratio_to_backbone": all_heads / backbone,
        "large_step_gpu_mb": torch.cuda.max_memory_allocated() / 1e6,
    }
    if torch.cuda.get_device_capability() >= (8, 9):
        figures["large_fp8_ratio_to_bf16"] = whole(True) / all_heads
    return figures


def measure_overfit(folder: Path) -> dict[str, float]:
    """Learn 64 generated samples by heart, from scratch, and measure on them.

    What ``manip train preset=tiny +experiment=overfit`` does, in ``folder``.
    """
    shutil.rmtree(folder, ignore_errors=True)
    words = ["preset=tiny", "+experiment=overfit", f"run.folder={folder}"]
    began = time.perf_counter()
    figures = train(compose(words)).figures
    return {
        "overfit_minutes": (time.perf_counter() - began) / 60,
        "overfit_mpjpe_mm": figures["mpjpe_root_mm"],
        "overfit_mpjpe_abs_mm": figures["mpjpe_abs_mm"],
        "overfit_object_position_mm": figures["object_position_mm"],
        "overfit_object_rotation_deg": figures["object_rotation_deg"],
        "overfit_object_recall": figures["object_recall"],
        "overfit_contact_f1": figures["contact_f1"],
    }


def _loss(model: PoseNetwork):
    def loss(output, batch: Batch) -> dict[str, torch.Tensor]:
        return compute_losses(output, batch, LossWeights(), model.sigma_gammas())

    return loss


def measure_model() -> dict[str, float]:
    """All of the above."""
    figures = measure_agreement() | measure_large() | measure_debug() | measure_cache()
    try:
        figures |= measure_gpu()
    except FileNotFoundError as error:
        print(f"[bench] on a GPU: left out: {error}", file=sys.stderr)
    return figures
