"""All that a run needs to go on as if it had not been broken, as plain values and tensors."""

import random

import numpy as np
import torch

from manip_training import distributed


def capture(trainer) -> dict:
    """The state of a :class:`manip_training.train.Trainer`; every process must take part."""
    return {
        "config": trainer.config.to_dict(),
        "step": trainer.step,
        "weights": distributed.model_state(trainer.model),
        "optimizer": distributed.optimizer_state(trainer.model, trainer.optimizer),
        "ema": trainer.ema.state_dict() if trainer.ema else None,
        "random": trainer.crew.gather(random_states(trainer.crew.device)),
        "watch": trainer.watch.state_dict(),
        "best": trainer.best,
        "bad": [trainer.bad, trainer.bad_in_a_row],
        "figures": trainer.figures,
    }


def restore(trainer, state: dict) -> None:
    """Go on from what :func:`capture` gave, with any number of processes."""
    distributed.load_states(trainer.model, trainer.optimizer, state["weights"], state["optimizer"])
    if trainer.ema:
        trainer.ema.load_state_dict(state["ema"])
    trainer.watch.load_state_dict(state["watch"])
    trainer.step, trainer.best, trainer.figures = state["step"], state["best"], state["figures"]
    trainer.bad, trainer.bad_in_a_row = state["bad"]
    if trainer.crew.rank < len(state["random"]):
        set_random_states(state["random"][trainer.crew.rank], trainer.crew.device)


def random_states(device: torch.device) -> dict:
    """States of Python's, numpy's and torch's generators, and of the GPU's."""
    version, words, gauss = random.getstate()
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "python": [version, list(words), gauss],
        "numpy": [kind, keys.tolist(), *rest],
        "torch": torch.get_rng_state(),
        "device": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def set_random_states(state: dict, device: torch.device) -> None:
    """Put back what :func:`random_states` gave; on another kind of device, without the GPU's."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(tuple(state["numpy"]))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["device"] is not None:
        torch.cuda.set_rng_state(state["device"], device)
