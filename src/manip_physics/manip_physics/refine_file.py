"""``python -m manip_physics.refine_file IN.npz OUT.npz``: what `manip refine` runs beside itself.

IN has ``action`` (T, 22) and ``state`` (T, 22) [rad], ``fps``, and ``options``: a JSON object with
fields of `RefineConfig`, and under ``thing`` those of `Thing`. OUT has the refined ``action`` and
``figures``, a JSON object.
"""

import json
import sys

import numpy as np

from manip_physics.model import Thing
from manip_physics.precision import set_up
from manip_physics.refine import RefineConfig, refine


def main(argv: list[str] | None = None) -> int:
    """Refine one file; exit status 2 where the request makes no sense."""
    source, target = sys.argv[1:] if argv is None else argv
    set_up()
    with np.load(source) as arrays:
        asked = json.loads(str(arrays["options"]))
        action, state, fps = arrays["action"], arrays["state"], float(arrays["fps"])
    if asked.get("thing"):
        thing = asked["thing"]
        asked["thing"] = Thing(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in thing.items()}
        )

    def say(rows: int, before: float, after: float) -> None:
        print(f"{rows} of {len(action)} rows: loss {before:.4g} to {after:.4g}", flush=True)

    try:
        refined = refine(action, state[0], fps, RefineConfig(**asked), say)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    figures = {**refined.figures, "rejected": refined.rejected}
    np.savez(target, action=refined.actions, figures=json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
