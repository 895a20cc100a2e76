"""Data sets by name."""

import contextlib
from pathlib import Path

from manip_model.hand_model import HandModel
from manip_training.data.dexycb import DexYCB
from manip_training.data.generate import generate_tree

DATASETS = ("dexycb", "generated")


def load_dataset(name: str, tree: dict | None = None, **options) -> DexYCB:
    """A data set by name.

    Args:
        name: ``"dexycb"``, or ``"generated"``: the folder ``root`` is filled first where it is
            absent or empty.
        tree: Of the generated one: arguments of :func:`generate_tree`.
        options: Arguments of :class:`DexYCB`.

    Raises:
        ValueError: No such name, or ``root`` is missing where the tree is generated.
    """
    if name not in DATASETS:
        raise ValueError(f"data set must be one of {', '.join(DATASETS)}, got {name!r}")
    if name == "generated":
        if not options.get("root"):
            raise ValueError("the generated data set needs root, the folder that holds or gets it")
        make_tree(options["root"], tree)
        options.setdefault("hand_model", HandModel.open())
    return DexYCB(**options)


def make_tree(root: str | Path, tree: dict | None = None) -> None:
    """Fill ``root`` with a generated tree where it is absent or empty.

    Args:
        root: Folder.
        tree: Arguments of :func:`generate_tree`.
    """
    root = Path(root)
    if not root.exists() or not any(root.iterdir()):
        # Of several runs that start at once, the quickest one's tree stays.
        with contextlib.suppress(FileExistsError):
            generate_tree(root, **(tree or {}))
