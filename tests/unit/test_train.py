"""The training loop on a very small network: it learns, and is never disturbed.

Run as a script, this file trains that network with ``key=value`` words, so that tests can kill it.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from manip_model import checkpoint
from manip_training import objective
from manip_training.config import compose
from manip_training.distributed import Team
from manip_training.interrupts import INTERRUPTED, TrainingError
from manip_training.run_folder import RunFolder, read_metrics
from manip_training.train import train
from micro_training import MICRO, micro

PLAIN = [f"augment.{name}=0" for name in ("roll", "zoom", "shift", "brightness", "contrast")]
PLAIN += [f"augment.{name}=0" for name in ("colour", "noise", "blur", "occlusion")]
# Batch norms see each part of a batch by itself.
NO_NORMS = ("model.prior_width=0",)
LONG = ("train.steps=14", "run.save_every=4")
# Losses that are means over all labels of a part of a batch, of which not all have as many.
PLAIN += [f"loss.{name}=0" for name in ("hand_coarse", "contact", "diversity", "reprojection")]
# What depends on the clock.
CLOCK = {"images_per_s"}


def run(folder, *words, callbacks=()):
    config = compose([*MICRO, f"run.folder={folder}", *words])
    return train(config, parts=micro(config), callbacks=callbacks)


def curve(folder) -> list[dict]:
    lines = read_metrics(Path(folder) / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in lines]


def losses(folder) -> list[float]:
    return [line["loss"] for line in curve(folder) if "loss" in line]


def weights(folder) -> dict:
    return checkpoint.read(Path(folder) / "checkpoints" / "last.pt")["training"]["weights"]


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def script(*words, processes=1):
    """Start this file as a script, with as many threads as the tests have."""
    root = Path(__file__).parents[2]
    sources = [root / "src" / name for name in ("manip_core", "manip_model", "manip_training")]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--standalone"]
    path = map(str, (*sources, root / "tests", os.environ.get("PYTHONPATH", "")))
    return subprocess.Popen(
        [sys.executable, *(torchrun if processes > 1 else []), __file__, *words],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run of 14 steps that nothing disturbs."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("unbroken")
    outcome = run(folder, *LONG)
    assert (outcome.status, outcome.step) == (0, 14)
    return folder


def test_a_run_learns_and_leaves_all_its_files(unbroken):
    lines = [line for line in curve(unbroken) if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, 15))
    first, last = (sum(line["loss"] for line in part) for part in (lines[:4], lines[-4:]))
    assert last < 0.97 * first
    assert any(name.startswith("grad/backbone") for name in lines[0])
    looks = [line["step"] for line in lines if "watch/spread_ratio" in line]
    assert looks == [5, 10]
    assert 0 < lines[4]["watch/attention/least"] <= lines[4]["watch/attention/mean"] <= 1
    assert any("eval/pa_mpjpe_mm" in line for line in curve(unbroken))
    for name in ("config.yaml", "run.json", "checkpoints/last.pt", "checkpoints/best.pt"):
        assert (unbroken / name).is_file()
    best = checkpoint.load_model(unbroken / "checkpoints" / "best.pt")
    assert not best.training
    facts = json.loads((unbroken / "run.json").read_text())
    assert (facts["seed"], facts["steps"], facts["device"]) == (0, 14, "cpu")
    assert os.uname().nodename not in (unbroken / "run.json").read_text().split()
    assert str(unbroken.parent) not in (unbroken / "run.json").read_text()


def test_a_killed_run_goes_on_as_if_it_had_not_been(unbroken, tmp_path):
    words = (f"run.folder={tmp_path}", *LONG)
    victim = script(*words)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and victim.poll() is None:
        metrics = tmp_path / "metrics.jsonl"
        if metrics.exists() and len(read_metrics(metrics)) > 9:
            break
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL, victim.stdout.read()
    died_at = curve(tmp_path)[-1]["step"]
    saved = checkpoint.read(tmp_path / "checkpoints" / "last.pt")["training"]["step"]
    assert 4 <= saved <= died_at < 14
    outcome = run(tmp_path, *words[1:], "run.resume=auto")
    assert (outcome.status, outcome.step) == (0, 14)
    assert curve(tmp_path) == curve(unbroken)
    assert same(weights(tmp_path), weights(unbroken))
    ema, other = (
        checkpoint.read(folder / "checkpoints" / "last.pt")["weights"]
        for folder in (tmp_path, unbroken)
    )
    assert same(ema, other)
    assert not same(ema, weights(tmp_path))
    assert len(json.loads((tmp_path / "run.json").read_text())["resumed"]) == 1


class Signaller:
    """Sends this process a signal after a step."""

    def __init__(self, step, number):
        self.step, self.number, self.seen = step, number, []

    def on_step(self, metrics):
        self.seen.append(metrics["step"])
        if metrics["step"] == self.step:
            os.kill(os.getpid(), self.number)

    def stop_requested(self):
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_a_saved_step(number, unbroken, tmp_path, capsys):
    before = signal.getsignal(number)
    signaller = Signaller(7, number)
    outcome = run(tmp_path, *LONG, callbacks=[signaller])
    assert (outcome.status, outcome.step) == (INTERRUPTED, 8)
    assert signaller.seen == list(range(1, 9))
    assert "stopped after step 8 of 14" in capsys.readouterr().err
    assert signal.getsignal(number) is before
    outcome = run(tmp_path, *LONG, f"run.resume={tmp_path}")
    assert outcome.status == 0
    assert curve(tmp_path) == curve(unbroken)


def test_a_callback_can_end_the_run(tmp_path):
    outcome = run(tmp_path, callbacks=[Enough(1)])
    assert (outcome.status, outcome.step) == (INTERRUPTED, 2)


def test_a_checkpoint_of_another_config_is_refused_by_name(tmp_path):
    run(tmp_path, "train.steps=1")
    with pytest.raises(ValueError, match=r"optim\.lr: 0\.003 → 0\.001; train\.seed: 0 → 3"):
        run(tmp_path, "train.steps=1", "train.seed=3", "optim.lr=1e-3", "run.resume=auto")
    with pytest.raises(ValueError, match="holds a run already"):
        run(tmp_path, "train.steps=1")
    best = tmp_path / "checkpoints" / "best.pt"
    with pytest.raises(ValueError, match="without its training"):
        run(tmp_path, "train.steps=1", f"run.resume={best}")
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        run(tmp_path, f"run.resume={tmp_path / 'nowhere'}")
    assert run(tmp_path, "train.steps=1", "run.resume=auto", "run.log_every=3").step == 1


def test_a_new_run_may_start_from_weights(tmp_path):
    run(tmp_path / "a", "train.steps=2")
    best = tmp_path / "a" / "checkpoints" / "best.pt"
    run(tmp_path / "b", "train.steps=1", "optim.lr=1e-12", "optim.ema=0", f"train.init={best}")
    start, after = checkpoint.read(best)["weights"], weights(tmp_path / "b")
    assert all(
        torch.allclose(start[name], after[name], atol=1e-6)
        for name in start
        if not name.endswith((".u", ".v", ".running_mean", ".running_var", ".num_batches_tracked"))
    )


def test_parts_may_learn_while_the_others_stay(tmp_path):
    run(tmp_path / "a", "train.steps=2")
    words = f"train.init={tmp_path / 'a' / 'checkpoints' / 'best.pt'}", "train.steps=2"
    run(tmp_path / "b", *words, "train.learn=object_head+contact_head", "run.eval_every=1")
    start = checkpoint.read(tmp_path / "a" / "checkpoints" / "best.pt")["weights"]
    after = weights(tmp_path / "b")
    moved = {name.split(".")[0] for name in start if not torch.equal(start[name], after[name])}
    assert moved == {"object_head", "contact_head"}
    with pytest.raises(ValueError, match="no part of the network is called 'eyes'"):
        run(tmp_path / "c", "train.steps=1", "train.learn=eyes")


def test_a_transformer_may_start_from_a_convolutional_network(tmp_path):
    run(tmp_path / "a", "train.steps=2", "model.generation=convolutional")
    best = tmp_path / "a" / "checkpoints" / "best.pt"
    run(tmp_path / "b", "train.steps=1", "optim.lr=1e-12", "optim.ema=0", f"train.init={best}")
    start, after = checkpoint.read(best)["weights"], weights(tmp_path / "b")
    learnt = [n for n in start if n.startswith("prior.") and n.endswith((".weight", ".bias"))]
    assert len(learnt) > 30
    assert all(torch.allclose(start[name], after[name], atol=1e-6) for name in learnt)
    with pytest.raises(ValueError, match="does not fit"):
        run(tmp_path / "c", "train.steps=1", f"train.init={best}", "model.prior_width=16")


def _spoil(monkeypatch, spoils):
    """Make a loss not a number at some steps."""
    sound, calls = objective.compute_losses, iter(range(1, 1000))

    def spoilt(*args):
        found = sound(*args)
        if spoils(next(calls)):
            found |= {name: found[name] * float("nan") for name in ("total", "contact")}
        return found

    monkeypatch.setattr(objective, "compute_losses", spoilt)


def test_a_loss_that_is_no_number_is_skipped_and_named(monkeypatch, tmp_path, capsys):
    _spoil(monkeypatch, lambda call: call == 3)
    outcome = run(tmp_path, "run.eval_every=0")
    assert outcome.step == 6
    lines = [line for line in curve(tmp_path) if "loss" in line]
    assert [line.get("skipped") for line in lines] == [None, None, 1, None, None, None]
    assert lines[2]["loss"] is None and all(line["loss"] is not None for line in lines[3:])
    assert "step 3 skipped, number 1: not finite: contact" in capsys.readouterr().err
    assert all(v.isfinite().all() for v in weights(tmp_path).values() if v.is_floating_point())


def test_too_many_bad_losses_end_the_run(monkeypatch, tmp_path):
    _spoil(monkeypatch, lambda call: call > 2)
    with pytest.raises(TrainingError, match=r"3 steps in a row .* step 5 .*contact"):
        run(tmp_path, "train.bad_steps=2", "run.eval_every=0")


def test_predictions_that_collapse_end_the_run(tmp_path):
    words = ("watch.every=1", "watch.warmup=1", "watch.patience=3", "watch.spread=1")
    with pytest.raises(TrainingError, match=r"step \d: predictions have collapsed to the mean"):
        run(tmp_path, *words, "optim.lr=1e-9")


class SmallDisk:
    """A disk that can be full: a small one of memory, or any with a limit on the size of files."""

    def __init__(self, folder, mounted):
        self.folder, self.mounted = folder, mounted
        self.limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self):
        """From now on no checkpoint fits."""
        if not self.mounted:
            # What the system says then is as at the end of a quota; Python ignores the signal.
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, self.limit[1]))
            return
        with (self.folder / "ballast").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))

    def free(self):
        """There is room again."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limit)
        (self.folder / "ballast").unlink(missing_ok=True)


@pytest.fixture(params=["disk", "file limit"])
def small_disk(request, tmp_path):
    mounted = request.param == "disk"
    if mounted:
        mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "manip-test", str(tmp_path)]
        # In a container even root may have no right to do it.
        if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("no disk can be mounted here")
    disk = SmallDisk(tmp_path, mounted)
    yield disk
    disk.free()
    if mounted:
        subprocess.run(["umount", str(tmp_path)], check=True)


class Hindrance:
    """Fills the disk after step 3, looks at what is left after step 5, and makes room again."""

    def __init__(self, disk, last):
        self.disk, self.last, self.survivor = disk, last, None

    def on_step(self, metrics):
        if metrics["step"] == 3:
            self.disk.fill()
        if metrics["step"] == 5:
            self.survivor = checkpoint.read(self.last)["training"]["step"]
            self.disk.free()

    def stop_requested(self):
        return False


def test_a_full_disk_costs_a_checkpoint_not_the_training(small_disk, capsys):
    folder = small_disk.folder / "run"
    last = folder / "checkpoints" / "last.pt"
    hindrance = Hindrance(small_disk, last)
    words = ("run.save_every=2", "run.eval_every=0", "train.steps=5")
    outcome = run(folder, *words, callbacks=[hindrance])
    assert outcome.status == 0
    assert "step 4: not saved, the last good last.pt stays" in capsys.readouterr().err
    assert hindrance.survivor == 2
    assert checkpoint.read(last)["training"]["step"] == 5
    # The last step validates too; of the attempt that failed nothing is left.
    assert {one.name for one in last.parent.iterdir()} == {"last.pt", "best.pt"}


def test_accumulation_is_the_same_batch_in_parts(tmp_path):
    # Without the layers that update themselves at each pass, and the norms that see a part alone.
    words = (*PLAIN, *NO_NORMS, "model.sigma_reparam=false", "run.eval_every=0")
    for pieces in (1, 4):
        run(tmp_path / str(pieces), *words, f"train.accumulate={pieces}")
    whole, parted = (losses(tmp_path / str(pieces)) for pieces in (1, 4))
    assert whole == pytest.approx(parted, rel=1e-4)


def test_two_processes_train_as_one_does(tmp_path):
    words = (*PLAIN, *NO_NORMS, "run.eval_every=4")
    run(tmp_path / "one", *words)
    started = script(f"run.folder={tmp_path}/two", *words, processes=2)
    said, _ = started.communicate(timeout=110)
    assert started.returncode == 0, said
    one = losses(tmp_path / "one")
    for strategy in ("ddp", "fsdp"):
        folder = tmp_path / f"two-{strategy}"
        assert one == pytest.approx(losses(folder), rel=1e-4), strategy
        assert run(folder, *words, "run.resume=auto").step == 6
        alone, spread = weights(tmp_path / "one"), weights(folder)
        assert alone.keys() == spread.keys()
        assert all(alone[k].shape == spread[k].shape for k in alone)
        figures = [
            [v for line in curve(f) for k, v in line.items() if k == "eval/pa_mpjpe_mm"]
            for f in (tmp_path / "one", folder)
        ]
        assert figures[0] == pytest.approx(figures[1], rel=1e-3)
    assert RunFolder(tmp_path / "two-norms").last.is_file()


@pytest.mark.parametrize("fails", [False, True])
def test_the_first_process_makes_files_before_the_others_look(fails, monkeypatch):
    both, order = threading.Barrier(2, timeout=20), []
    monkeypatch.setattr(torch.distributed, "barrier", both.wait)

    def work(rank):
        with suppress(OSError), Team(torch.device("cpu"), rank=rank, size=2).first_alone():
            time.sleep(0.05 * (rank == 0))
            order.append(rank)
            if fails:
                raise OSError

    threads = [threading.Thread(target=work, args=(rank,)) for rank in (1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order == [0, 1]


def test_the_batch_may_be_automatic(tmp_path):
    assert run(tmp_path, "train.batch=auto", "train.steps=1").step == 1
    assert "batch: 16\n" in (tmp_path / "config.yaml").read_text()
    assert run(tmp_path, "train.batch=auto", "train.steps=1", "run.resume=auto").step == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.batch=64"], "batch is 64, but there are 20"),
        (["train.accumulate=3"], "multiple of 3"),
        (["train.precision=fp8"], "compute capability 8.9 or more, and this run is on cpu"),
        (["run.metric=beauty"], "run.metric must be one of .*pa_mpjpe_mm.* got 'beauty'"),
        (["optim.lr=-1"], r"optim\.lr must be more than 0, got -1"),
        (["optim.rate=1"], "rate"),
        (["train.batch=some"], "train.batch must be a number or auto, got 'some'"),
    ],
)
def test_what_cannot_be_trained_is_said_plainly(words, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, "train.steps=1", *words)


def test_bf16_is_close_to_single_precision(tmp_path):
    words = ("train.steps=1", "run.eval_every=0")
    for precision in ("fp32", "bf16"):
        run(tmp_path / precision, *words, f"train.precision={precision}")
    exact, rough = (curve(tmp_path / precision)[0]["loss"] for precision in ("fp32", "bf16"))
    assert exact != rough
    assert rough == pytest.approx(exact, rel=0.05)


class Enough:
    """Ends a run after some steps."""

    def __init__(self, steps):
        self.left = steps

    def on_step(self, metrics):
        self.left -= 1

    def stop_requested(self):
        return self.left <= 0


def main(words):
    """Train as the words say; with several processes in each way, broken off and gone on with."""
    if "WORLD_SIZE" not in os.environ:
        config = compose([*MICRO, *words])
        train(config, parts=micro(config))
        return
    for strategy in ("ddp", "fsdp"):
        for steps in (3, 100):
            ways = [f"train.distributed={strategy}", "run.resume=auto"]
            config = compose([*MICRO, *words, *ways])
            folder = f"{config.run.folder}-{strategy}"
            config = replace(config, run=replace(config.run, folder=folder))
            train(config, parts=micro(config), callbacks=[Enough(steps)])
    # With the norms of the prior, which see what each process has.
    ways = ["train.distributed=fsdp", "train.steps=1", "model.prior_width=8"]
    config = compose([*MICRO, *words, *ways])
    config = replace(config, run=replace(config.run, folder=f"{config.run.folder}-norms"))
    train(config, parts=micro(config))


if __name__ == "__main__":
    main(sys.argv[1:])
