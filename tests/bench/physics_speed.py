"""Steps a second of many hands at once: MJX beside MuJoCo in C, and Warp on a GPU. Needs JAX.

``python physics_speed.py OUT.json [WORLDS …]``: one hand with a bar between its fingers in each
world, everything in contact, for so many worlds at a time.
"""

import json
import os
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from mujoco import mjx

from manip_physics.plain import PlainRollouts
from manip_physics.rollout import Physics
from manip_physics.scenes import bar_grasp

WORLDS = (1, 16, 256, 4096)
STEPS = 20
# Repeated for at least so long, after the first time, which compiles [s].
LEAST = 2.0


def rate(run, steps: int) -> float:
    """Steps a second of a function that takes so many; the best of its repetitions."""
    run()
    best, begin = 0.0, time.perf_counter()
    while time.perf_counter() - begin < LEAST:
        before = time.perf_counter()
        run()
        best = max(best, steps / (time.perf_counter() - before))
    return best


def measure(worlds: tuple[int, ...]) -> dict[str, float]:
    """All figures."""
    scene = bar_grasp(-0.002)
    physics = Physics(scene.config)
    begin = physics.start(scene.posture)
    device = jax.devices()[0].platform
    figures = {}
    one = jnp.tile(jnp.asarray(scene.posture, physics.dtype), (STEPS, 1))

    forward = jax.jit(jax.vmap(lambda s, u: physics.simulate(s, u)[0].qpos))

    def height(controls):
        return physics.simulate(begin, controls)[1].thing[-1, 2]

    gradient = jax.jit(jax.grad(height))
    figures[f"mjx_{device}_gradient_steps_s_1"] = rate(
        lambda: jax.block_until_ready(gradient(one)), STEPS
    )
    for count in worlds:
        states = jax.tree.map(lambda x, n=count: jnp.tile(x, (n, 1)), begin)
        controls = jnp.tile(one, (count, 1, 1))
        figures[f"mjx_{device}_steps_s_{count}"] = rate(
            lambda s=states, u=controls: jax.block_until_ready(forward(s, u)), STEPS * count
        )
        print(f"MJX, {count}: {figures[f'mjx_{device}_steps_s_{count}']:.0f}/s", flush=True)
    threads = len(os.sched_getaffinity(0))
    plain = PlainRollouts(physics, threads if threads > 1 else 0)
    for count in worlds:
        controls = np.tile(np.asarray(one, float), (count, 1, 1))
        figures[f"mujoco_steps_s_{count}"] = rate(
            lambda u=controls: plain.motions(begin, u), STEPS * count
        )
    plain.close()
    figures["mujoco_threads"] = float(threads)
    if device in ("gpu", "cuda"):
        figures |= warp(physics, scene.posture, worlds)
    return figures


def warp(physics: Physics, posture: np.ndarray, worlds: tuple[int, ...]) -> dict[str, float]:
    """Steps a second of MuJoCo Warp; nothing where it is not installed."""
    try:
        import warp  # noqa: F401
    except ImportError:
        print("Warp is not installed: left out")
        return {}
    model = mjx.put_model(physics.model, impl="warp")
    figures = {}
    for count in worlds:
        blank = mjx.make_data(physics.model, impl="warp", naconmax=64 * count, njmax=256)
        qpos = jnp.tile(jnp.asarray(physics.start(posture).qpos, jnp.float32), (count, 1))
        control = jnp.asarray(posture, jnp.float32)

        def run(qpos, blank=blank, control=control):
            data = jax.vmap(lambda q: blank.replace(qpos=q, ctrl=control))(qpos)

            def again(data, _):
                return jax.vmap(lambda d: mjx.step(model, d))(data), None

            return jax.lax.scan(again, data, None, length=STEPS)[0].qpos

        compiled = jax.jit(run)
        figures[f"warp_steps_s_{count}"] = rate(
            lambda f=compiled, q=qpos: jax.block_until_ready(f(q)), STEPS * count
        )
    return figures


if __name__ == "__main__":
    numbers = measure(tuple(map(int, sys.argv[2:])) or WORLDS)
    Path(sys.argv[1]).write_text(json.dumps(numbers, indent=1) + "\n")
    for name, value in numbers.items():
        print(f"{name:<40} {value:.0f}")
