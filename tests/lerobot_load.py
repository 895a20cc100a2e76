"""Loads a dataset with LeRobot itself and writes what it gave: ``lerobot_load.py ROOT OUT.npz``.

Runs in LeRobot's own environment, and imports nothing of ours. Pictures are written as the median
of their right three quarters (tests/recorded_bag.py), red first, so that the file stays small.
"""

import re
import sys
from pathlib import Path

import numpy as np
import torch


def import_torchvision() -> None:
    """Import torchvision, also one that was built for another PyTorch than is installed.

    Its operators are then missing, and it does not import. LeRobot's data sets use none of them:
    declared, they are as good as there.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    while True:
        try:
            import torchvision  # noqa: F401

            return
        except RuntimeError as error:
            missing = re.match(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None:
                raise
            library.define(f"{missing[1]}(Tensor x) -> Tensor")
            for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[name]


def main(root: str, out: str) -> None:
    """Load every row."""
    import_torchvision()
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    name = "local/" + Path(root).name
    dataset = LeRobotDataset(name, root=root)
    rows: dict[str, list] = {}
    for i in range(len(dataset)):
        for key, value in dataset[i].items():
            if isinstance(value, torch.Tensor) and value.ndim == 3:
                _, height, width = value.shape
                rows.setdefault("picture_shape", []).append([height, width])
                value = value[:, :, width // 4 :].flatten(1).median(dim=1).values
            rows.setdefault(key, []).append(value if isinstance(value, str) else value.numpy())
    # As a policy asks for it: this row and the next two, within the first episode alone.
    ahead = [k / dataset.fps for k in range(3)]
    chunks = LeRobotDataset(name, root=root, episodes=[0], delta_timestamps={"action": ahead})
    np.savez(
        out,
        **{key: np.array(values) for key, values in rows.items()},
        fps=dataset.fps,
        episodes=dataset.num_episodes,
        chunk_of_first_row=chunks[0]["action"].numpy(),
        action_mean=dataset.meta.stats["action"]["mean"],
        outcomes=np.array(dataset.meta.episodes["outcome"]),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
