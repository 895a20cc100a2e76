"""Offsets to retargeted finger joints, learned through the simulator.

Retargeting copies where an operator's fingers are; a robot's fingers that copy a grasp of another
hand stop short of the object or press too hard. A small network looks at the retargeted posture and
adds to it, and what it adds is judged by what comes of it: fingertips on the object, the object up
when the hand goes up, little force. The loss is MJX's, the weights are PyTorch's.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from manip_physics.bridge import JaxLoss
from manip_physics.objective import Weights
from manip_physics.plain import PlainRollouts
from manip_physics.precision import set_up
from manip_physics.rollout import Physics
from manip_physics.scenes import BAR_SIZE, Scene, closing
from manip_physics.tasks import HOLD, ROWS, bar, goal, slope_for

# How far the hand goes up [m].
UP = 0.03
# Greatest offset [rad].
_MOST = 0.3


@dataclass(frozen=True, kw_only=True)
class OffsetsConfig:
    """How offsets are learned.

    Attributes:
        steps: Of the optimiser.
        batch: Grasps a step.
        rate: Learning rate of Adam.
        near, far: Where retargeted fingertips end before the bar's surface [m], drawn evenly.
        seed: Of weights and grasps.
    """

    steps: int = 40
    batch: int = 4
    rate: float = 3e-3
    near: float = 0.0
    far: float = 0.012
    seed: int = 0

    def __post_init__(self):
        if self.steps < 1 or self.batch < 1:
            raise ValueError(
                f"steps and batch must be at least 1, got {self.steps} and {self.batch}"
            )
        if not self.near < self.far <= 0.02:
            raise ValueError(
                f"near and far must be in order and at most 0.02 m, got {self.near}, {self.far}"
            )


class GraspOffsets(nn.Module):
    """Offsets ``(..., 16)`` to retargeted finger joints ``(..., 16)`` [rad]; none at first."""

    def __init__(self, width: int = 64):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16, width), nn.GELU(), nn.Linear(width, 16))
        nn.init.zeros_(self.layers[2].weight)
        nn.init.zeros_(self.layers[2].bias)

    def forward(self, posture: Tensor) -> Tensor:
        """What to add [rad], at most 0.3 either way."""
        return _MOST * torch.tanh(self.layers(posture))


def grasps(ends: np.ndarray, scene: Scene) -> np.ndarray:
    """Retargeted controls ``(B, ROWS, 17)``: fingers close within half the time, then the hand goes
    up.

    Args:
        ends: ``(B,)`` how far the fingertips are from the bar in the end [m].
        scene: Where it begins, with a carriage.
    """
    closed = np.clip(np.linspace(0.0, 2.0, ROWS), 0.0, 1.0)[None, :, None]
    targets = np.stack([closing(end) for end in ends])[:, None]
    fingers = (1.0 - closed) * scene.posture[:16] + closed * targets
    rise = UP * np.clip(np.linspace(-1.5, 1.0, ROWS), 0.0, 1.0)
    return np.concatenate(
        (fingers, np.broadcast_to(rise[None, :, None], (len(ends), ROWS, 1))), axis=2
    )


class Lesson:
    """The task as PyTorch sees it: controls in, a loss out."""

    def __init__(self):
        self.scene = bar(0.02)
        self.physics = Physics(self.scene.config)
        self.begin = self.physics.start(self.scene.posture)
        weights = Weights(lift=1.0, touch=1.0, penetration=10.0, torque=0.01)
        asked = goal(self.physics, weights, np.zeros((ROWS, 4, 3)), BAR_SIZE[0] + UP)
        slope = slope_for(self.scene)

        def both(controls):
            (value, _), gradient = slope.arrays(self.physics, asked, self.begin, controls)
            return value, gradient

        self.loss = JaxLoss(both)

    def controls(self, network: GraspOffsets, retargeted: Tensor) -> Tensor:
        """Retargeted controls ``(B, ROWS, 17)`` with the network's offsets on the fingers."""
        fingers = retargeted[..., :16]
        return torch.cat((fingers + network(fingers), retargeted[..., 16:]), -1)

    def lifted(self, network: GraspOffsets, ends: np.ndarray) -> np.ndarray:
        """How far the bar comes up in plain MuJoCo ``(B,)`` [m]."""
        retargeted = torch.as_tensor(grasps(ends, self.scene))
        with torch.no_grad():
            controls = self.controls(network, retargeted).numpy()
        plain = PlainRollouts(self.physics)
        motion = plain.motions(self.begin, controls, HOLD)
        plain.close()
        return motion.thing[:, -1, 2] - BAR_SIZE[0]


def learn(config: OffsetsConfig, say=print) -> tuple[GraspOffsets, dict[str, float]]:
    """Train offsets; figures are of 16 grasps that training did not draw, before and after.

    Returns:
        The network in float64, and ``lifted_before``, ``lifted_after``: the share of grasps that
        bring the bar up by half of the way at least.
    """
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    lesson, network = Lesson(), GraspOffsets().double()
    held_out = np.linspace(config.near, config.far, 16)
    before = (lesson.lifted(network, held_out) > UP / 2).mean()
    optimiser = torch.optim.Adam(network.parameters(), lr=config.rate)
    for step in range(config.steps):
        began = time.perf_counter()
        ends = rng.uniform(config.near, config.far, config.batch)
        retargeted = torch.as_tensor(grasps(ends, lesson.scene))
        controls = lesson.controls(network, retargeted)
        value = torch.stack([lesson.loss(each) for each in controls]).mean()
        optimiser.zero_grad()
        value.backward()
        # Norm 1: a touch that has just begun bends the loss sharply.
        norm = nn.utils.clip_grad_norm_(network.parameters(), 1.0, error_if_nonfinite=True)
        optimiser.step()
        spent = time.perf_counter() - began
        say(f"step {step + 1}: loss {value:.4g}, gradient {norm:.3g}, {spent:.1f} s")
    after = (lesson.lifted(network, held_out) > UP / 2).mean()
    return network, {"lifted_before": float(before), "lifted_after": float(after)}


def main(argv: list[str] | None = None) -> int:
    """``python -m manip_physics.offsets [key=value …]``: fields of `OffsetsConfig`, and ``out``."""
    words = dict(word.split("=", 1) for word in (sys.argv[1:] if argv is None else argv))
    out = Path(words.pop("out", "runs/offsets"))
    types = {name: type(value) for name, value in vars(OffsetsConfig()).items()}
    unknown = sorted(set(words) - set(types))
    if unknown:
        print(f"no such setting {unknown}; there are out, {', '.join(types)}", file=sys.stderr)
        return 2
    set_up()
    config = OffsetsConfig(**{name: types[name](text) for name, text in words.items()})
    network, figures = learn(config)
    out.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), out / "offsets.pt")
    (out / "figures.json").write_text(json.dumps({**vars(config), **figures}, indent=1) + "\n")
    print(f"{out}: {figures}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
