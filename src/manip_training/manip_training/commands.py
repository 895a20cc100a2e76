"""What ``manip train``, ``eval``, ``report``, ``debug``, ``sweep`` and ``compare`` do.

Also without the ``manip`` command, as torchrun needs it:
``torchrun --nproc-per-node 2 -m manip_training.commands train key=value …``.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import hydra
import torch
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from manip_core.resources import find
from manip_model.checkpoint import load_model
from manip_training.config import TrainConfig, compose, flat, register, word_of
from manip_training.distributed import choose_device
from manip_training.interrupts import INTERRUPTED, TrainingError
from manip_training.run_folder import FIGURES, RUNS, as_typed, facts, model_of

USER_ERROR = 2


def train_main(argv: list[str]) -> int:
    """``manip train [key=value …]``; Hydra's own flags work, ``--help``, ``--cfg job``, ``-m``.

    Returns:
        Exit status: 0, or 130 where a signal ended the run. Of several runs the worst.

    Raises:
        ValueError, FileNotFoundError, TrainingError: Of the first run that failed.
    """
    statuses, errors = [], []

    @hydra.main(version_base="1.3", config_path=None, config_name="train")
    def job(composed) -> None:
        from manip_training.train import train

        # Hydra would print a trace and end the process; and of many runs one may fail.
        try:
            config = TrainConfig.from_hydra(composed)
            own = HydraConfig.get()
            if own.mode == RunMode.MULTIRUN and not config.run.folder:
                folder = Path(own.runtime.output_dir).relative_to(Path.cwd())
                config = replace(config, run=replace(config.run, folder=str(folder)))
            if INTERRUPTED not in statuses:
                statuses.append(train(config).status)
        except (ValueError, FileNotFoundError, TrainingError) as error:
            errors.append(error)

    register()
    before = sys.argv
    sys.argv = ["manip train", *argv]
    try:
        job()
    except SystemExit as end:
        # Hydra ends so after --help, and after an error that it has told.
        return int(end.code or 0)
    finally:
        sys.argv = before
    if errors:
        raise errors[0]
    return max(statuses, default=0)


def eval_main(argv: list[str]) -> int:
    """``manip eval MODEL``: measure a model file, or the best of a run folder."""
    parser = argparse.ArgumentParser(prog="manip eval", description=eval_main.__doc__)
    parser.add_argument("model", type=Path, help="a model file or a run folder")
    parser.add_argument("--split", help="train, val or test; the run's validation split by default")
    parser.add_argument("--out", type=Path, help="folder for the files; by default the run's")
    parser.add_argument("--batch", type=int, default=32, help="pictures at a time")
    parser.add_argument("--limit", type=int, default=0, help="at most so many samples; 0 for all")
    parser.add_argument("--side-given", action="store_true", help="tell the model the side")
    parser.add_argument("overrides", nargs="*", help="key=value of the data: data.root=…")
    options = parser.parse_intermixed_args(argv)
    from manip_training.parts import evaluate_on, open_samples

    path = model_of(options.model)
    config = _config_beside(path, options.overrides)
    device = choose_device(config.train.device)
    model = load_model(path, device)
    split = options.split or config.data.validation_split
    size = model.config.image_size
    samples = open_samples(config.data, split, options.limit, device, size)
    evaluation = evaluate_on(
        model,
        samples,
        device,
        batch=options.batch,
        side_given=options.side_given,
        pictures=4,
        command=as_typed("manip", "eval", *argv),
    )
    about = facts(config.train.seed, device, processes=1)
    evaluation.write(
        options.out or path.parents[1] / "eval" / split,
        {name: about[name] for name in ("git", "device")},
    )
    return 0


def photos_main(argv: list[str]) -> int:
    """``manip photos MODEL --photos DIR``: what a model sees in photos, beside MediaPipe."""
    parser = argparse.ArgumentParser(prog="manip photos", description=photos_main.__doc__)
    parser.add_argument("model", type=Path, help="a model file, a run folder or an exported folder")
    parser.add_argument("--photos", type=Path, required=True, help="a folder of pictures, or one")
    parser.add_argument("--out", type=Path, default=RUNS / "photos", help="folder for the files")
    options = parser.parse_args(argv)
    from manip_training import photos

    device = choose_device("auto")
    model = load_model(model_of(options.model), device)
    figures, picture = photos.measure(model, options.photos, device)
    options.out.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(options.out / "photos.png"), picture)
    about = facts(seed=0, device=device, processes=1)
    made = {"command": as_typed("manip", "photos", *argv)}
    made |= {name: about[name] for name in ("git", "device")}
    held = {name: {"value": value, **made} for name, value in figures.items()}
    (options.out / FIGURES).write_text(json.dumps(held, indent=2))
    for name, value in figures.items():
        print(f"{name:34s}{value:10.2f}")
    return 0


def temporal_main(argv: list[str]) -> int:
    """``manip temporal --out FILE``: train temporal fusion, for ``smoothing:=temporal``."""
    parser = argparse.ArgumentParser(prog="manip temporal", description=temporal_main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="file of weights, .npz")
    parser.add_argument("--films", default="", help="folder of scripts/watch_films.py")
    parser.add_argument("--glimpses", default="", help="the same, of its option --glimpses")
    parser.add_argument("--steps", type=int, default=3000, help="of the optimiser")
    parser.add_argument("--seed", type=int, default=0, help="of everything")
    parser.add_argument("--start", default="", help="file of weights to go on from")
    parser.add_argument("--lr", type=float, default=2e-3, help="greatest rate")
    options = parser.parse_args(argv)
    from manip_training.temporal.fit import FitConfig, fit, save

    if options.out.suffix != ".npz":
        raise ValueError(f"--out must end with .npz, got {options.out}")
    config = FitConfig(
        steps=options.steps,
        films=options.films,
        glimpses=options.glimpses,
        seed=options.seed,
        start=options.start,
        lr=options.lr,
    )
    network = fit(config)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save(network, options.out)
    print(f"{options.out} written")
    return 0


def transition_main(argv: list[str]) -> int:
    """``manip transition --out FILE``: train the model of the hands between two moments."""
    parser = argparse.ArgumentParser(prog="manip transition", description=transition_main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="file of weights, .npz")
    parser.add_argument("--steps", type=int, default=1700, help="of the optimiser")
    parser.add_argument("--seed", type=int, default=0, help="of everything")
    parser.add_argument("--refine", type=Path, help="its refinement by diffusion, of these weights")
    options = parser.parse_args(argv)
    from manip_training.transition import fit, refine

    if options.out.suffix != ".npz":
        raise ValueError(f"--out must end with .npz, got {options.out}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.refine:
        config = refine.RefineConfig(steps=options.steps, seed=options.seed)
        refine.write(config, options.refine, options.out)
    else:
        config = fit.FitConfig(steps=options.steps, seed=options.seed)
        fit.save(fit.fit(config), options.out)


def action_main(argv: list[str]) -> int:
    """``manip action --out FILE``: train the action decoder, for ``action:=true``."""
    parser = argparse.ArgumentParser(prog="manip action", description=action_main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="file of weights, .npz")
    parser.add_argument("--steps", type=int, default=15000, help="of the optimiser")
    parser.add_argument("--seed", type=int, default=0, help="of everything")
    parser.add_argument("--start", default="", help="file of weights to go on from")
    parser.add_argument("--lr", type=float, default=2e-3, help="greatest rate")
    parser.add_argument("--keep", type=float, default=0.0, help="share of the start in the end")
    options = parser.parse_args(argv)
    from manip_training.action.fit import ActionFitConfig, fit, save

    if options.out.suffix != ".npz":
        raise ValueError(f"--out must end with .npz, got {options.out}")
    config = ActionFitConfig(
        steps=options.steps,
        seed=options.seed,
        start=options.start,
        lr=options.lr,
        keep=options.keep,
    )
    network = fit(config)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save(network, options.out)
    print(f"{options.out} written")
    return 0


def synth_main(argv: list[str]) -> int:
    """``manip synth --out DIR --count N``: rendered hands with their labels, on disk."""
    parser = argparse.ArgumentParser(prog="manip synth", description=synth_main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder; new, empty, or unfinished")
    parser.add_argument("--count", type=int, required=True, help="pictures")
    parser.add_argument("--per-shard", type=int, default=1000, help="pictures in one tar file")
    parser.add_argument("--split", default="train", help="train, or val for the unlike world")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same pictures")
    parser.add_argument("--sheet", type=Path, help="also draw the first pictures with their labels")
    parser.add_argument("overrides", nargs="*", help="key=value of the world: data.world.…=…")
    options = parser.parse_intermixed_args(argv)
    from manip_training.parts import make_world
    from manip_training.synthetic import shards
    from manip_training.synthetic.sheet import sheet

    config = compose(["data.name=rendered", *options.overrides])
    world = make_world(config.data, choose_device(config.train.device), options.split)
    if options.sheet:
        options.sheet.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(options.sheet), sheet(world.batch(40, options.seed), columns=10)[..., ::-1])
    shards.write(
        world, options.out, count=options.count, per_shard=options.per_shard, seed=options.seed
    )
    print(f"{options.count} pictures in {options.out}")
    return 0


def sweep_main(argv: list[str]) -> int:
    """``manip sweep [--offline --count N] [key=value …]``: many trials of config/sweep.yaml."""
    parser = argparse.ArgumentParser(prog="manip sweep", description=sweep_main.__doc__)
    parser.add_argument("--config", type=Path, help="a sweep in W&B's format")
    parser.add_argument("--offline", action="store_true", help="draw the points here, without W&B")
    parser.add_argument("--count", type=int, default=0, help="trials; needed offline")
    parser.add_argument("--seed", type=int, default=0, help="of the points, offline")
    parser.add_argument("--out", type=Path, help="folder, offline; runs/sweep-DATE by default")
    parser.add_argument("--project", default="manip", help="of W&B")
    parser.add_argument("overrides", nargs="*", help="key=value that all trials have")
    options = parser.parse_intermixed_args(argv)
    from manip_training import sweep

    space = sweep.read_sweep(options.config or find("config/sweep.yaml"))
    if not options.offline:
        sweep.run_online(space, options.overrides, count=options.count, project=options.project)
        return 0
    if options.count < 1 and space["method"] != "grid":
        raise ValueError(f"--count must be 1 or more, got {options.count}")
    trials = sweep.run_offline(
        space, options.overrides, count=options.count, seed=options.seed, folder=options.out
    )
    print(sweep.table(trials, space["metric"]["name"]))
    return INTERRUPTED if any(trial.ended == "stopped" for trial in trials) else 0


def debug_main(argv: list[str]) -> int:
    """``manip debug [--samples N] [key=value …]``: one training step under the magnifying glass."""
    parser = argparse.ArgumentParser(prog="manip debug", description=debug_main.__doc__)
    parser.add_argument("--samples", type=int, default=2, help="pictures in the batch")
    parser.add_argument("--real", action="store_true", help="of the data set, not random ones")
    parser.add_argument("overrides", nargs="*", help="key=value as for manip train")
    options = parser.parse_intermixed_args(argv)
    from manip_model.build import build_model
    from manip_training.debug import profile_step
    from manip_training.losses import compute_losses
    from manip_training.parts import open_samples
    from manip_training.random_batch import random_batch

    config = compose(options.overrides)
    device = choose_device(config.train.device)
    torch.manual_seed(config.train.seed)
    model = build_model(config.model)
    if options.real:
        size = config.model.image_size
        samples = open_samples(config.data, config.data.split, options.samples, device, size)
        batch = samples.batch(torch.arange(len(samples)), device)
    else:
        batch = random_batch(options.samples, model.hand_model, config.train.seed, device)
    profile = profile_step(
        model.to(device),
        batch,
        lambda output, batch: compute_losses(output, batch, config.loss, model.sigma_gammas()),
    )
    print(profile.table())
    return 0


def report_main(argv: list[str]) -> int:
    """``manip report``: see :mod:`manip_training.report`."""
    from manip_training import report

    return report.main(argv) or 0


def compare_main(argv: list[str]) -> int:
    """``manip compare VARIANT … [--seeds N] [key=value …]``: one training, one thing changed."""
    from manip_training.compare import VARIANTS, compare
    from manip_training.train import train

    parser = argparse.ArgumentParser(prog="manip compare", description=compare_main.__doc__)
    parser.add_argument("words", nargs="+", help=f"of {', '.join(VARIANTS)}; and key=value for all")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each variant")
    parser.add_argument("--out", type=Path, default=RUNS / "compare", help="folder of the runs")
    options = parser.parse_intermixed_args(argv)
    variants = [word for word in options.words if "=" not in word]
    overrides = [word for word in options.words if "=" in word]
    device = choose_device(compose(overrides).train.device)
    about = facts(seed=0, device=device, processes=1)
    made = {"command": as_typed("manip", "compare", *argv)}
    made |= {name: about[name] for name in ("git", "device")}
    print(compare(variants, options.out, options.seeds, overrides, train, made))
    return 0


def export_main(argv: list[str]) -> int:
    """``manip export MODEL --out DIR``: see :mod:`manip_training.export_command`."""
    from manip_training import export_command

    return export_command.main(argv)


COMMANDS = {
    "train": train_main,
    "eval": eval_main,
    "report": report_main,
    "debug": debug_main,
    "sweep": sweep_main,
    "compare": compare_main,
    "photos": photos_main,
    "temporal": temporal_main,
    "transition": transition_main,
    "action": action_main,
    "synth": synth_main,
    "export": export_main,
}


def main(argv: list[str] | None = None) -> int:
    """Entry point: a command and its arguments; errors of the user's making in one plain line."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] not in COMMANDS:
        print(
            f"name one of {', '.join(COMMANDS)}, got {' '.join(argv) or 'nothing'}", file=sys.stderr
        )
        return USER_ERROR
    command, *rest = argv
    try:
        return COMMANDS[command](rest)
    except (ValueError, FileNotFoundError, TrainingError) as error:
        print(f"manip {command}: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        # Before there was anything to save.
        return INTERRUPTED


def _config_beside(path: Path, overrides: list[str]) -> TrainConfig:
    """The config of the run that a model file lies in, or the default one; then the overrides."""
    beside = path.parents[1] / "config.yaml" if len(path.parents) > 1 else path
    given = []
    if beside.is_file():
        data = TrainConfig.from_dict(yaml.safe_load(beside.read_text())).to_dict()["data"]
        given = [f"{name}={word_of(value)}" for name, value in flat(data, "data.").items()]
    return compose([*given, *overrides])


if __name__ == "__main__":
    sys.exit(main())
