"""Everything the README states, measured: prints one table and writes ``bench.json``.

``python tests/bench/run.py [video] [clip] [retarget] [setup] [model] [overfit] [render] [training]
[small] [inference]``, all by default; and ``temporal``, ``transition``, ``action``, ``grasp``,
``pantomime``, ``approach`` and ``physics``, by name alone.
Figures of parts that are not run again keep their last value in ``bench.json``. Those of networks
and physics go to ``docs/measured`` as well, where ``manip report`` finds them.
"""

import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))
OUT = ROOT / "bench.json"

# What is to be reached: figure, comparison, bound.
REACH = {
    "video_tracked_fraction": (">=", 0.98),
    "video_dropped_fraction": ("<=", 0.01),
    "pinch_closed_fraction": (">=", 0.90),
    "false_pinch_fraction": ("<=", 0.01),
    "flex_right_fraction": (">=", 0.95),
    "latency_ms_p50": ("<=", 45.0),
    "latency_ms_p95": ("<=", 70.0),
    "latency_ms_p99": ("<=", 100.0),
    "retarget_ms_p50": ("<=", 1.0),
    "retarget_ms_p99": ("<=", 2.0),
    "retarget_speedup_vs_dex_retargeting": (">=", 5.0),
    "grasp_self_collisions": ("<=", 0.0),
    "grasp_limit_violations": ("<=", 0.0),
    "sim_realtime_factor": (">=", 0.99),
    "clip_wrist_rot_deg_p95": ("<=", 15.0),
    "clip_wrist_path_error_fraction": ("<=", 0.2),
    "graph_peak_mb": ("<=", 2000.0),
    "fuzz_violations": ("<=", 0.0),
    "reaction_ms_max": ("<=", 100.0),
    "reengage_step_max": ("<=", 1.0),
    "jitter_ms_p99": ("<=", 4.0),
    "export_replay_rad_max": ("<", 1e-3),
    "overfit_mpjpe_mm": ("<=", 3.0),
    "overfit_object_position_mm": ("<=", 5.0),
    "overfit_object_rotation_deg": ("<=", 5.0),
    "overfit_contact_f1": (">=", 0.95),
    "debug_large_s": ("<=", 60.0),
    "debug_large_host_mb": ("<=", 2000.0),
    "large_ratio_to_backbone": (">=", 0.7),
    "cache_samples_s_cuda": (">=", 10_000.0),
    "render_images_s": (">=", 20_000.0),
    "train_ratio_to_backbone": (">=", 0.8),
    "synth_mpjpe_mm": ("<", 8.0),
    "synth_pa_mpjpe_mm": ("<", 5.0),
    "infer_gpu_ms": ("<=", 3.0),
    "infer_cpu_fps": (">=", 25.0),
    "temporal_mpjpe_ratio": ("<=", 0.85),
    "temporal_accel_ratio": ("<=", 0.5),
    "temporal_still_jitter_mm": ("<", 1.0),
    "temporal_cpu_ms": ("<=", 5.0),
    "mjx_grad_rel_error_free": ("<", 1e-3),
    "mjx_grad_rel_error_contact": ("<", 5e-2),
    "transition_ratio_5": ("<=", 1.0),
    "transition_ratio_10": ("<=", 1.0),
    "transition_ratio_15": ("<=", 0.7),
    "merge_seam_ratio": ("<=", 1.0),
    "action_accuracy": (">", 0.85),
    "grasp_success_assist": (">", 0.85),
    "grasp_physics_ratio": (">=", 1.0),
    "agree_folded_mm": ("<=", 0.01),
    "agree_eager_attention_mm": ("<=", 0.01),
    "agree_compiled_mm": ("<=", 0.01),
    "agree_bf16_mm": ("<=", 2.0),
}

# Not among those that are run where none is named: they take long, or need what few have.
BY_NAME = ("temporal", "transition", "action", "grasp", "pantomime", "approach", "physics")
# Alone, these run on one thread, as the graph's nodes do: numpy's threads wait for each other where
# others use the machine.
ONE_THREAD = {"temporal", "action"}
# Parts whose figures a report collects, and what their numbers were drawn from.
REPORTED = {
    "overfit": "seed 0",
    "model": "seed 0",
    "render": "",
    "training": "",
    "small": "",
    "inference": "seed 7",
    "temporal": "films 11000 to 11029",
    "transition": "seeds 50000, 60000 and 60001",
    "action": "seeds 20000 to 20002",
    "grasp": "seed 0",
    "pantomime": "seed 0",
    "approach": "seeds 0 to 9",
    "physics": "seed 0",
}


def parts() -> dict:
    """The benchmarks by name; imported late, so that one can be run without what others need."""

    def video():
        from bench_graph import measure_video

        return measure_video()

    def clip():
        from bench_graph import measure_clip

        return measure_clip()

    def retarget():
        from bench_retarget import bench_grasps, bench_video

        return bench_grasps() | bench_video()

    def setup():
        from bench_setup import measure_setup

        return measure_setup()

    def model():
        from bench_model import measure_model

        return measure_model()

    def overfit():
        from bench_model import measure_overfit

        return measure_overfit(ROOT / "runs/overfit")

    def render():
        from bench_render import measure_render

        return measure_render()

    def training():
        from bench_training import measure_training

        return measure_training()

    def small():
        from bench_small import measure_small

        return measure_small()

    def inference():
        from bench_inference import measure_inference

        return measure_inference()

    def temporal():
        from bench_temporal import measure_temporal

        return measure_temporal()

    def physics():
        from bench_physics import measure_physics

        return measure_physics()

    def transition():
        from bench_transition import measure_transition

        return measure_transition()

    def action():
        from bench_action import measure_action

        return measure_action()

    def pantomime():
        from bench_grasp import PANTOMIME, PANTOMIMED, measure_grasp

        return {
            name.replace("grasp_", "pantomime_", 1): value
            for name, value in measure_grasp(PANTOMIMED, PANTOMIME).items()
        }

    def approach():
        from bench_approach import measure_approach

        return measure_approach()

    def grasp():
        from bench_grasp import CONTESTANTS, RENDERED, measure_grasp

        return measure_grasp() | measure_grasp(RENDERED, CONTESTANTS, rendered=True)

    def safety():
        from bench_safety import measure_safety

        return measure_safety()

    def jitter():
        from bench_jitter import measure_jitter

        return measure_jitter()

    def export():
        from bench_export import measure

        return measure()

    return {
        **{"safety": safety, "jitter": jitter, "export": export},
        **{"video": video, "clip": clip, "retarget": retarget, "setup": setup},
        **{"model": model, "overfit": overfit, "render": render, "training": training},
        **{"small": small, "inference": inference, "temporal": temporal},
        **{
            "transition": transition,
            "action": action,
            "grasp": grasp,
            "pantomime": pantomime,
            "approach": approach,
            "physics": physics,
        },
    }


def shortened(value: float) -> float:
    """To four decimals, or, of what is small, to four digits."""
    return round(value, 4) if abs(value) >= 0.1 else float(f"{value:.4g}")


def leave_for_report(name: str, figures: dict[str, float]) -> None:
    """Write the figures of a part as ``manip report`` reads them."""
    import torch

    from manip_training.run_folder import git_revision

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    made = {"git": git_revision(), "device": device}
    folder = ROOT / f"docs/measured/bench-{name}"
    seeds = f"  # {REPORTED[name]}" if REPORTED[name] else ""
    folder.mkdir(parents=True, exist_ok=True)
    held = {
        key: {
            "value": value,
            "command": f"python tests/bench/run.py {name}{seeds}",
            "reach": " ".join(map(str, REACH[key])) if key in REACH else "",
            **made,
        }
        for key, value in figures.items()
    }
    (folder / "figures.json").write_text(json.dumps(held, indent=1) + "\n")


def verdict(name: str, value: float) -> str:
    """The bound of a figure and whether it is met; empty for one that is only reported."""
    if name not in REACH:
        return ""
    comparison, bound = REACH[name]
    met = {">=": value >= bound, ">": value > bound, "<=": value <= bound, "<": value < bound}
    met = met[comparison]
    return f"{comparison} {bound:g}  {'met' if met else 'MISSED'}"


def main() -> None:
    """Run the chosen parts, print the table, write ``bench.json``."""
    available = parts()
    chosen = sys.argv[1:] or [name for name in available if name not in BY_NAME]
    unknown = sorted(set(chosen) - set(available))
    if unknown:
        sys.exit(f"no such benchmark {unknown}; there are {', '.join(available)}")
    if set(chosen) <= ONE_THREAD:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    figures = json.loads(OUT.read_text()) if OUT.exists() else {}
    for name in chosen:
        print(f"[bench] {name}", flush=True)
        try:
            found = {key: shortened(float(value)) for key, value in available[name]().items()}
            figures |= found
            if name in REPORTED:
                leave_for_report(name, found)
        except FileNotFoundError as error:
            # The data of a part may not be on this machine; the others do not need it.
            print(f"[bench] {name} left out: {error}", flush=True)
        OUT.write_text(json.dumps(figures, indent=1) + "\n")
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name:<{width}}  {value:>12.4g}  {verdict(name, value)}".rstrip())
    print(f"written to {OUT.name}")


if __name__ == "__main__":
    main()
