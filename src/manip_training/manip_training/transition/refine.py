"""Training of the refinement by diffusion, on top of a transition model that is trained already.

The noise schedule is ``diffusers``' (extra ``train``): how much of the signal each of its steps
keeps, and the noise put on in training. At run time nothing of it is needed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from manip_model.transition import TransitionConfig, TransitionNetwork
from manip_model.transition_features import NUM_WAVES, features, guesses, mixed_guesses
from manip_model.transition_refinement import FORMAT, NUM_REFINED, told, waves_of
from manip_training.descent import descend
from manip_training.transition.fit import load
from manip_training.transition.gaps import Cut, GapConfig, Gaps


@dataclass(frozen=True, kw_only=True)
class RefineConfig:
    """How it is trained.

    Attributes:
        steps, batch, lr: As of :class:`manip_training.transition.fit.FitConfig`.
        noise_steps: Of the noise schedule in training.
        taken: Steps that are taken at run time, a whole part of those.
        seed: Of all.
    """

    steps: int = 3000
    batch: int = 64
    lr: float = 2e-3
    noise_steps: int = 100
    taken: int = 5
    seed: int = 0
    model: TransitionConfig = field(default_factory=TransitionConfig)
    gaps: GapConfig = field(default_factory=GapConfig)

    def __post_init__(self):
        if self.taken < 1 or self.noise_steps % self.taken:
            raise ValueError(
                f"taken must divide noise_steps, got {self.taken} of {self.noise_steps}"
            )


def schedule(noise_steps: int):
    """``diffusers``' DDIM schedule for differences that are predicted themselves.

    Raises:
        ValueError: diffusers is not installed.
    """
    try:
        from diffusers import DDIMScheduler
    except ImportError as error:
        raise ValueError(
            "training a refinement needs diffusers, which is not installed: "
            "run .venv/bin/pip install diffusers"
        ) from error
    return DDIMScheduler(
        num_train_timesteps=noise_steps,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        clip_sample=False,
        timestep_spacing="trailing",
    )


def kept_shares(scheduler, taken: int) -> np.ndarray:
    """Shares of the signal's variance that are left at each of the steps taken, rising."""
    scheduler.set_timesteps(taken)
    return scheduler.alphas_cumprod.numpy()[scheduler.timesteps.numpy()].astype(float)


def fit_refinement(
    config: RefineConfig,
    mean: TransitionNetwork,
    say: Callable[[str], None] = print,
    every: int = 200,
) -> TransitionNetwork:
    """Train; returns the network in evaluation mode.

    Args:
        config: How.
        mean: The transition model's network, trained.
        say: Told ``every`` so many steps.
        every: See there.
    """
    torch.manual_seed(config.seed)
    network = TransitionNetwork(config.model, NUM_REFINED, NUM_WAVES)
    gaps, scheduler = Gaps(config.gaps, config.batch, config.seed), schedule(config.noise_steps)
    generator = torch.Generator().manual_seed(config.seed)

    def losses_of(step: int) -> dict[str, torch.Tensor]:
        return {"total": _loss(network, gaps.batch(step), mean, scheduler, generator)}

    descend(network, losses_of, config.steps, config.lr, say, every)
    return network


def _loss(network, cut: Cut, mean, scheduler, generator: torch.Generator) -> torch.Tensor:
    heard, unit = features(cut.gap)
    with torch.no_grad():
        said = mean(torch.from_numpy(heard))[0].numpy()
    filled = mixed_guesses(said, guesses(cut.gap), unit, cut.gap)
    clean = torch.from_numpy(waves_of(cut.true - filled, unit, cut.gap)).float()
    noise = torch.randn(clean.shape, generator=generator)
    count = scheduler.config.num_train_timesteps
    when = torch.randint(count, (len(clean),), generator=generator)
    noisy = scheduler.add_noise(clean, noise, when)
    kept = scheduler.alphas_cumprod[when].numpy()
    found, _ = network(torch.from_numpy(told(heard, said, noisy.numpy(), kept)))
    return torch.nn.functional.smooth_l1_loss(found, clean)


def write(config: RefineConfig, mean: str | Path, path: str | Path) -> None:
    """Train on top of the weights in one file and write another."""
    save_refinement(fit_refinement(config, load(mean)), config, path)


def save_refinement(network: TransitionNetwork, config: RefineConfig, path: str | Path) -> None:
    """Write what :class:`manip_perception.transition_refinement.Refinement` reads."""
    held = network.state_dict().items()
    weights = {name: value.numpy().astype(np.float16) for name, value in held}
    sizes = {f"config/{name}": value for name, value in network.config.to_dict().items()}
    kept = kept_shares(schedule(config.noise_steps), config.taken)
    np.savez_compressed(path, format=FORMAT, kept=kept, **weights, **sizes)
