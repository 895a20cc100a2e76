"""The training loop.

What happens at a step is a function of the config and the step's number alone: the order of the
samples of (seed, epoch), the augmentation of (seed, step, part). With the states in a checkpoint a
run that was killed goes on as if it had not been, bit for bit on the CPU.
"""

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from manip_model import checkpoint
from manip_model.backbone import at_resolution
from manip_training import distributed, optim, training_state
from manip_training.attention_probe import attention_entropies
from manip_training.batch import Batch
from manip_training.batch_size import automatic, undisturbed
from manip_training.collapse import CollapseWatch, gradient_norms
from manip_training.config import TrainConfig
from manip_training.cuda_graphs import RecordedStep, record_step
from manip_training.data.cache import mixed_seed
from manip_training.distributed import Team, join_team
from manip_training.interrupts import INTERRUPTED, TrainingError, interrupts
from manip_training.loggers import Logger, Progress, make_loggers
from manip_training.objective import Objective
from manip_training.parts import (
    Parts,
    enable_compile,
    evaluate_on,
    make_data,
    not_compiled,
    open_parts,
    settle,
)
from manip_training.run_folder import RunFolder, choose, facts, read_checkpoint
from manip_training.samples import Piece

# How often the network is told the side of a hand: it must learn to see it, and to believe it.
_TOLD = 0.5
# Crops in which the spread of attention is measured.
_PROBED = 8
# For batch=auto: larger batches than this gain nothing.
_LARGEST_BATCH = 1024


class Callback(Protocol):
    """Someone who follows a run."""

    def on_step(self, metrics: dict) -> None:
        """A step is done; ``metrics`` are its number and figures."""

    def stop_requested(self) -> bool:
        """Whether the run shall save and end."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its folder, exit status, steps done, and the last validation figures."""

    folder: Path
    status: int
    step: int
    figures: dict


def train(
    config: TrainConfig, *, callbacks: Sequence[Callback] = (), parts: Parts | None = None
) -> Outcome:
    """Run, or go on with, a training.

    Args:
        config: All of it.
        callbacks: Told of every step, in the first process alone.
        parts: Model and samples; None: those that the config names.

    Raises:
        ValueError, FileNotFoundError: The config cannot be followed; the message says why.
        TrainingError: Too many losses in a row were not finite.
    """
    crew = join_team(config.train.device, config.train.distributed)
    path, found = crew.share(choose(config.run))
    held = None
    if found:
        held, config = read_checkpoint(found, config)
    if parts is None:
        with crew.first_alone():
            make_data(config.data)
        parts = open_parts(config, crew.device)
    torch.manual_seed(config.train.seed)
    trainer = Trainer(config, crew, parts, RunFolder(path), held)
    try:
        with interrupts() as signals:
            trainer.callbacks = [signals, *(callbacks if crew.first else ())]
            return trainer.run()
    finally:
        trainer.close()


class Trainer:
    """The state of a run, and its steps.

    Attributes:
        step, steps: Optimiser steps done, and those that there will be.
        recorded: Losses and gradients as a CUDA graph, where there is one.
        bad, bad_in_a_row: Steps skipped because a loss or a gradient was not finite.
        best, figures: The best validation so far, and what the last one measured.
    """

    def __init__(
        self, config: TrainConfig, crew: Team, parts: Parts, folder: RunFolder, held: dict | None
    ):
        self.crew, self.parts, self.folder = crew, parts, folder
        self.callbacks: list[Callback] = []
        self.loggers: list[Logger] = []
        self.progress = Progress(shown=crew.first)
        self.say = self.progress.say
        self.model = parts.model.to(crew.device).train()
        self.config = settle(config, self.model, crew.device, self.say)
        self.wrapped = self.objective = Objective(self.model, self.config)
        if config.train.init and held is None:
            self._begin_with(config.train.init)
        if config.train.learn:
            self.model.learn_only_([name.strip() for name in config.train.learn.split("+")])
        self.step, self.best, self.bad, self.bad_in_a_row = 0, math.inf, 0, 0
        self.figures: dict = {}
        self._choose_batch()
        if config.train.compile:
            enable_compile(self.model, lambda: self._losses(0, 0)["total"], crew.device, self.say)
        self.wrapped = crew.wrap(self.objective)
        self.optimizer = optim.make_optimizer(
            self.model, config.optim, pretrained=bool(config.model.pretrained)
        )
        self.learning = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.ema = optim.Ema(self.model, config.optim.ema) if config.optim.ema else None
        self.watch = CollapseWatch(config.watch)
        self.recorded: RecordedStep | None = None
        if held:
            training_state.restore(self, held["training"])
            self.say(f"going on from step {self.step} in {folder.path}")
        if crew.first:
            about = facts(config.train.seed, crew.device, crew.size) | {"steps": self.steps}
            folder.start(self.config, about)
            folder.cut_metrics(self.step)
            self.loggers = make_loggers(folder, self.config, self.step + 1, self.say)
        self.recorded = self._record()
        self.progress.start(self.step, self.steps)

    def run(self) -> Outcome:
        """All steps that are left."""
        run, stopped = self.config.run, False
        while self.step < self.steps and not stopped:
            stopped = self._step()
            last = self.step == self.steps
            if last or (run.eval_every and self.step % run.eval_every == 0):
                self._evaluate()
            if last or stopped or (run.save_every and self.step % run.save_every == 0):
                self._save()
        finished = self.step == self.steps
        if finished:
            self.say(f"done: {self.step} steps, in {self.folder.path}")
        else:
            self.say(
                f"stopped after step {self.step} of {self.steps}; to go on: the same command with "
                f"run.resume={self.folder.path}"
            )
        return Outcome(
            self.folder.path, 0 if finished else INTERRUPTED, self.step, dict(self.figures)
        )

    def close(self) -> None:
        """Flush what is logged."""
        for logger in self.loggers:
            logger.close()
        self.progress.close()

    def _begin_with(self, path: str) -> None:
        """Take over the weights in a model file; of a convolutional one, the prior's alone."""
        start = checkpoint.read(path)
        weights = at_resolution(start["weights"], self.model)
        kind = start["config"]["generation"]
        if kind == "convolutional" != self.model.config.generation:
            prior = {name: value for name, value in weights.items() if name.startswith("prior.")}
            self.model.heed_prior_()
            weights = self.model.state_dict() | prior
        checkpoint.put_weights(self.model, weights, path)

    def _step(self) -> bool:
        """One optimiser step; returns whether the run shall end after it."""
        config, started = self.config, time.perf_counter()
        rate = optim.rate_factor(self.step, self.steps, config.optim)
        optim.set_rate(self.optimizer, rate)
        accumulate, parts = config.train.accumulate, []
        for part in range(accumulate):
            with self.crew.gradients(self.wrapped, last=part == accumulate - 1):
                losses = self._learn(self.step, part)
            parts.append({name: value.detach() for name, value in losses.items()})
        mine = {name: torch.stack([one[name] for one in parts]).mean() for name in parts[0]}
        asked = any(callback.stop_requested() for callback in self.callbacks)
        shared = torch.stack((mine["total"] / self.crew.size, mine["total"].new_tensor(asked)))
        norm = optim.global_norm(self.learning)
        # The only wait for the GPU in a step.
        loss, stop, norm = torch.stack((*self.crew.total(shared).unbind(), norm)).tolist()
        line = {
            "step": self.step + 1,
            "epoch": self.step // self.steps_per_epoch,
            "loss": loss,
            "lr": config.optim.lr * rate,
            "grad_norm": norm,
        }
        logged = (self.step + 1) % config.run.log_every == 0 or self.step + 1 == self.steps
        if logged:
            line |= {f"loss/{name}": v.item() for name, v in mine.items() if name != "total"}
            line |= {f"grad/{name}": v for name, v in gradient_norms(self.model).items()}
        if math.isfinite(loss) and math.isfinite(norm):
            optim.scale_gradients(self.learning, norm, config.optim.clip)
            self.optimizer.step()
            if self.ema:
                self.ema.update()
            self.bad_in_a_row = 0
        else:
            self._skip(mine, line)
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if self.watch.due(self.step):
            logged = True
            line |= self._look()
        line["images_per_s"] = config.train.batch / (time.perf_counter() - started)
        self.progress.step(line)
        if logged:
            self._log(line)
        for callback in self.callbacks:
            callback.on_step(line)
        return stop > 0

    def _learn(self, step: int, part: int) -> dict[str, Tensor]:
        """Losses of this process's ``part`` of the batch of ``step``, their gradients added."""
        if self.recorded is None:
            losses = self._losses(step, part)
            (losses["total"] / self.config.train.accumulate).backward()
            return losses
        batch, told, draw = self._samples(step, part)
        losses = self.recorded(self.objective.augmented(batch, draw), told)
        self._prepare_after(step, part)
        return losses

    def _losses(self, step: int, part: int) -> dict[str, Tensor]:
        """Losses of this process's ``part`` of the batch of ``step``."""
        losses = self.wrapped(*self._samples(step, part))
        self._prepare_after(step, part)
        return losses

    def _piece(self, step: int, part: int) -> Piece:
        """Of the batch of ``step``, this process's ``part``."""
        loop = self.config.train
        # The parts of all processes lie side by side.
        number = self.crew.rank * loop.accumulate + part
        return Piece(loop.seed, step, loop.batch, number, self.crew.size * loop.accumulate)

    def _samples(self, step: int, part: int) -> tuple[Batch, Tensor, int]:
        """Samples, which of them are told the side, and the number of their augmentation."""
        piece, device = self._piece(step, part), self.crew.device
        chance = torch.Generator().manual_seed(mixed_seed(piece.seed, step))
        told = torch.rand(piece.batch, generator=chance)[piece.number * piece.size :] < _TOLD
        batch = self.parts.training.piece(piece, device)
        return batch, told[: piece.size].to(device), step * piece.count + piece.number

    def _prepare_after(self, step: int, part: int) -> None:
        """Begin to make the samples that follow a ``part`` of ``step``."""
        last = part + 1 == self.config.train.accumulate
        after = self._piece(step + 1, 0) if last else self._piece(step, part + 1)
        self.parts.training.prepare(after, self.crew.device)

    def _record(self) -> RecordedStep | None:
        """Steps as a CUDA graph, where one GPU takes them whole."""
        loop = self.config.train
        alone = self.crew.size == 1 and loop.accumulate == 1
        if not (loop.cuda_graph and alone and self.crew.device.type == "cuda"):
            return None
        batch, told, draw = self._samples(self.step, 0)
        batch = self.objective.augmented(batch, draw)
        return record_step(self.objective.losses, self.model, batch, told, self.say)

    def _choose_batch(self) -> None:
        """Settle the size of a batch and the number of steps."""
        loop, count = self.config.train, len(self.parts.training)
        pieces = self.crew.size * loop.accumulate
        batch = loop.batch
        if batch == "auto":

            def loss(size: int) -> Tensor:
                batch = self.parts.training.batch(torch.arange(size), self.crew.device)
                return self.wrapped(batch, torch.ones_like(batch["side_valid"]), 0)["total"]

            fitting = automatic(
                self.model,
                loss,
                self.crew.device,
                share=loop.memory_share,
                most=min(count // pieces, _LARGEST_BATCH),
                say=self.say,
            )
            batch = min(self.crew.gather(fitting)) * pieces
        if batch % pieces:
            raise ValueError(
                f"train.batch must be a multiple of {pieces}, processes times train.accumulate, "
                f"got {batch}"
            )
        if batch > count:
            raise ValueError(f"train.batch is {batch}, but there are {count} training samples")
        self.config = replace(self.config, train=replace(loop, batch=batch))
        self.steps_per_epoch = count // batch
        self.steps = loop.steps or loop.epochs * self.steps_per_epoch

    def _look(self) -> dict[str, float]:
        """What the watch sees of the last batch; ``TrainingError`` where training has collapsed."""
        output, batch = self.objective.seen
        few = batch["image"][:_PROBED], batch["camera"][:_PROBED]
        with undisturbed(self.model, self.crew.device), not_compiled():
            entropy = attention_entropies(self.model, *few)
        self.crew.reshard(self.model)
        seen = self.watch.look(self.step, output, batch, entropy)
        if verdict := self.crew.share(self.watch.collapsed()):
            raise TrainingError(f"step {self.step}: {verdict}")
        return {f"watch/{name}": value for name, value in seen.items()}

    def _skip(self, losses: dict[str, Tensor], line: dict) -> None:
        """Count a step without use, and say what was wrong with it."""
        self.bad += 1
        self.bad_in_a_row += 1
        slopes = gradient_norms(self.model)
        wrong = [name for name, value in losses.items() if not torch.isfinite(value)]
        wrong = wrong or [f"gradient of {n}" for n, v in slopes.items() if not math.isfinite(v)]
        what = ", ".join(wrong) or "the loss of another process"
        line |= {"skipped": self.bad}
        self.say(f"step {self.step + 1} skipped, number {self.bad}: not finite: {what}")
        if self.bad_in_a_row > self.config.train.bad_steps:
            raise TrainingError(
                f"{self.bad_in_a_row} steps in a row were not finite, the last at step "
                f"{self.step + 1} ({what}): try a lower optim.lr, or look at the data with "
                "manip debug"
            )

    def _evaluate(self) -> None:
        """Validate the averaged weights, and keep them where they are the best so far."""
        if self.parts.validation is None:
            return
        config = self.config
        averaged = self.ema.applied() if self.ema else nullcontext()
        with undisturbed(self.model, self.crew.device), averaged, not_compiled():
            measured = evaluate_on(
                self.model,
                self.parts.validation,
                self.crew.device,
                batch=config.train.batch,
                precision=config.train.precision,
            )
            self.figures = measured.figures
            self.crew.reshard(self.model)
            weights = distributed.model_state(self.model)
        self._log({"step": self.step} | {f"eval/{k}": v for k, v in self.figures.items()})
        metric = config.run.metric
        if metric not in self.figures:
            raise ValueError(f"run.metric must be one of {', '.join(self.figures)}, got {metric!r}")
        self.say(f"step {self.step}: {metric} {self.figures[metric]:.4g}")
        if self.figures[metric] < self.best:
            self.best = self.figures[metric]
            self._write(self.folder.best, weights, step=self.step, figures=self.figures)

    def _save(self) -> None:
        """Write last.pt: the averaged weights, as a model file has them, and all states."""
        training = training_state.capture(self)
        averaged = training["ema"]["mean"] if self.ema else {}
        self._write(self.folder.last, training["weights"] | averaged, training=training)

    def _write(self, path: Path, weights: dict, **more) -> None:
        """Write a model file; a disk that is full costs this file, not the training."""
        if not self.crew.first:
            return
        try:
            checkpoint.save_model(
                path, weights, self.config.model, hand=self.model.hand_model.kind, **more
            )
        except OSError as error:
            self.say(f"step {self.step}: not saved, the last good {path.name} stays: {error}")

    def _log(self, line: dict) -> None:
        for logger in self.loggers:
            logger.log(line)
