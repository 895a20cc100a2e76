"""Runs the peer retargeting libraries on hands that the benchmark sends; a server on stdin/stdout.

It runs in an environment of its own (``requirements.txt`` beside it) and answers one JSON line per
request, so the benchmark can let the contestants take turns on the same sequences in one run.

``python run_peers.py INPUTS.npz HAND.urdf CONFIG.json``

- ``INPUTS.npz``: ``points`` ``(n, 21, 3)`` [m], keypoints in the human palm frame, wrist at the
  origin; ``starts`` ``(s + 1,)``, the first row of each sequence and the end.
- ``CONFIG.json``: ``wrist`` (link), ``tips`` (links: thumb, index, middle, ring), ``joints`` (names
  and order of the answer), ``scale``.
- request ``{"peer": "dex_vector", "sequence": 3}`` -> ``{"ms": [per frame]}``
- request ``{"save": "OUT.npz"}`` -> writes ``q_<peer>`` ``(n, joints)`` [rad], and ends.

Each peer's configuration is its shipped ``allegro_hand_right`` one, with the link names and the
scale of this robot, and its low-pass filter off (the filter acts on the output alone, so the
benchmark applies it afterwards).
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

WARM_UP = 30  # solves on a sequence's first frame before it starts, not timed, for every contestant
HUMAN_TIPS = [4, 8, 12, 16]


class Peer:
    """One library in one configuration, behind one interface."""

    def __init__(self, library: str, kind: str, urdf: str, config: dict):
        fields = {
            "type": kind,
            "urdf_path": urdf,
            "scaling_factor": config["scale"],
            # Outside [0, 1] dex-retargeting builds no filter; dexi-rs takes 1.0 as "no memory".
            "low_pass_alpha": {"dex": 2.0, "dexi": 1.0}[library],
        }
        if kind == "vector":
            fields |= {
                "target_origin_link_names": [config["wrist"]] * 4,
                "target_task_link_names": config["tips"],
                "target_link_human_indices": [[0, 0, 0, 0], HUMAN_TIPS],
            }
        else:
            fields |= {
                "wrist_link_name": config["wrist"],
                "finger_tip_link_names": config["tips"],
            }
        if library == "dex":
            from dex_retargeting.retargeting_config import RetargetingConfig

            self._impl = RetargetingConfig.from_dict(dict(fields)).build()
            self._pairs = np.array(self._impl.optimizer.target_link_human_indices)
        else:
            import dexi_rs

            self._impl = dexi_rs.load_config(fields).build()
            self._pairs = np.array([[0, 0, 0, 0], HUMAN_TIPS])
        self._library = library
        self._order = [list(self._impl.joint_names).index(name) for name in config["joints"]]

    def reset(self):
        self._impl.reset()

    def retarget(self, points: np.ndarray) -> np.ndarray:
        origin, task = self._pairs
        vectors = points[task] - points[origin]
        if self._library == "dex":
            return self._impl.retarget(vectors)[self._order]
        return np.asarray(self._impl.retarget(vectors.ravel().tolist()))[self._order]


def main():
    inputs_path, urdf, config_path = sys.argv[1:4]
    config = json.loads(Path(config_path).read_text())
    inputs = np.load(inputs_path)
    points, starts = inputs["points"], inputs["starts"]
    # The libraries print on stdout; keep a private copy of it for the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch

    torch.set_num_threads(1)
    peers = {
        "dex_vector": Peer("dex", "vector", urdf, config),
        "dexpilot": Peer("dex", "dexpilot", urdf, config),
        "dexi_rs": Peer("dexi", "vector", urdf, config),
    }
    results = {name: np.full((len(points), len(config["joints"])), np.nan) for name in peers}
    print(json.dumps({"peers": list(peers)}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "save" in request:
            np.savez(request["save"], **{f"q_{name}": q for name, q in results.items()})
            print(json.dumps({"saved": request["save"]}), file=answers, flush=True)
            return
        peer, q = peers[request["peer"]], results[request["peer"]]
        first, last = starts[request["sequence"]], starts[request["sequence"] + 1]
        peer.reset()
        for _ in range(WARM_UP):
            peer.retarget(points[first])
        ms = []
        for row in range(first, last):
            start = time.perf_counter()
            q[row] = peer.retarget(points[row])
            ms.append(1e3 * (time.perf_counter() - start))
        print(json.dumps({"ms": ms}), file=answers, flush=True)


if __name__ == "__main__":
    main()
