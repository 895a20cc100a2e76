#!/usr/bin/env python3
"""Shows films of the synthetic world to the hand pose estimators, and keeps what they saw.

    .venv/bin/python scripts/watch_films.py data/films --count 150
    .venv/bin/python scripts/watch_films.py data/glimpses --glimpses --count 12000

Temporal fusion learns from it how estimators err (``manip temporal --films data/films --glimpses
data/glimpses``). A film is one file, ``ESTIMATOR-SEED.npz``, with the truth ``true`` ``(T, 21, 3)``
[m] and the fields of :class:`manip_model.temporal_features.Moments`, one row a frame. Of glimpses,
which are two moments each of another hand in another scene, a file holds as many as are drawn at a
time. Files that are there are kept, so that a run that was stopped goes on.
"""

import argparse
from pathlib import Path

import numpy as np

from manip_core.camera import CameraIntrinsics
from manip_core.hand import RIGHT, Hand
from manip_model.temporal_features import NUM_OBJECT_FEATURES
from manip_perception.estimator import make_estimator
from manip_training.synthetic.world import Film, SyntheticWorld, WorldConfig

SIZE, RATES = 480, (24.0, 30.0, 30.0, 60.0)
# A person's head would follow the hand about, and an object stay where it is.
WORLD = {"bystander": 0.0, "other_hand": 0.0, "extra": 0.0, "holding": 0.0}
WORLD |= {"free": 0.0, "side": 0.1, "left": 0.0}
# Glimpses: how many are drawn at a time, the moments of each and how many there are in a second.
# Each is shown for some frames: estimators find the hand in the first, and follow it from there.
DRAWN, MOMENTS, APART, SHOWN = 32, 2, 1.5, 2


def seen_in(film: Film, name: str, shown: int = 1) -> dict[str, np.ndarray]:
    """What an estimator of that name sees in a film, from its first frame on.

    Args:
        film: What is shown.
        name: Of the estimator.
        shown: For so many frames each moment is shown; what is seen in the last of them counts.
    """
    fx, fy, cx, cy = film.camera.tolist()
    camera = CameraIntrinsics(width=SIZE, height=SIZE, fx=fx, fy=fy, cx=cx, cy=cy)
    images = np.ascontiguousarray(film.image.numpy().transpose(0, 2, 3, 1)[..., ::-1])
    rows = []
    with make_estimator(name) as estimator:
        for image, stamp in zip(images, film.times.tolist(), strict=True):
            for again in range(shown):
                found = estimator.estimate(image, stamp + again / RATES[1], camera)
            hands = [h for h in found if h.side == RIGHT]
            hand = hands[0] if hands else Hand(stamp=stamp, side=RIGHT)
            rows.append(
                {
                    "times": stamp,
                    "seen": hand.tracked,
                    "joints": hand.keypoints,
                    "deviation": hand.keypoints_std,
                    "confidence": hand.confidence,
                    "contact": hand.contact,
                    "objects": np.zeros(NUM_OBJECT_FEATURES),
                    "regions": np.zeros(10),
                }
            )
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def glimpsed(films: list[Film], name: str) -> dict[str, np.ndarray]:
    """What an estimator sees of each of some films for a moment, a row a moment."""
    seen = [seen_in(film, name, SHOWN) for film in films]
    return {key: np.concatenate([one[key] for one in seen]) for key in seen[0]}


def main() -> None:
    """Write the files that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=150, help="films, or hands of glimpses")
    parser.add_argument("--glimpses", action="store_true", help="moments instead of films")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each film")
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    parser.add_argument("--variant", default="train", help="of the world: train or val")
    parser.add_argument("--estimators", nargs="+", default=["mediapipe", "amt"])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    world = SyntheticWorld(WorldConfig(variant=options.variant, **WORLD), size=SIZE)
    files = -(-options.count // DRAWN) if options.glimpses else options.count
    for seed in range(options.seed, options.seed + files):
        rate = RATES[seed % len(RATES)]
        paths = {name: options.out / f"{name}-{seed:05d}.npz" for name in options.estimators}
        missing = [name for name, path in paths.items() if not path.exists()]
        if not missing:
            continue
        if options.glimpses:
            films = world.films(DRAWN, MOMENTS, APART, seed)
            what = f"{DRAWN} glimpses {seed}"
        else:
            films = [world.film(round(options.seconds * rate), rate, seed)]
            what = f"film {seed}, {rate:.0f} frames/s"
        true, said = np.concatenate([film.joints.numpy() for film in films]), []
        for name in missing:
            seen = glimpsed(films, name) if options.glimpses else seen_in(films[0], name)
            off = seen["joints"] - true
            off = np.linalg.norm(off - off[:, :1], axis=-1)[seen["seen"]]
            error = f", {1e3 * off.mean():.1f} mm" if len(off) else ""
            said.append(f"{name} {seen['seen'].mean():.2f} seen{error}")
            np.savez(paths[name], true=true, **seen)
        print(f"{what}: {'; '.join(said)}", flush=True)


if __name__ == "__main__":
    main()
