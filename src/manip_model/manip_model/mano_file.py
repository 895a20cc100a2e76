"""Reads MANO's published pickles, as a right hand whichever side they are of.

They hold arrays of chumpy, a library for old Pythons. A pickle can run any code, so only the
classes that MANO needs are let in, and chumpy's are stood in for.
"""

import pickle
from pathlib import Path

import numpy as np
from scipy import sparse

from manip_core.hand import LEFT, RIGHT, SIDES

_SHAPES = {
    "v_template": (778, 3),
    "f": (1538, 3),
    "J_regressor": (16, 778),
    "weights": (778, 16),
    "hands_mean": (45,),
    "hands_components": (45, 45),
    "posedirs": (778, 3, 135),
}
_FLIP = np.array([-1.0, 1.0, 1.0])
_HELP = (
    "register at https://mano.is.tue.mpg.de, download the models and code, and set MANO_DIR to the "
    "folder with MANO_RIGHT.pkl"
)


def read_mano(path: str | Path, side: str | None = None) -> dict[str, np.ndarray]:
    """MANO's arrays, mirrored into a right hand, named as ``HandModel`` takes them.

    Args:
        path: File or folder.
        side: The side that the file must be of; any if ``None``, then a folder's right one first.

    Raises:
        FileNotFoundError: No file; the message says where it was sought and how to get it.
        ValueError: Not a MANO file, or one of the other side.
    """
    file = _file(Path(path), side)
    data = _unpickle(file)
    found = _side(data)
    named = next((s for s in SIDES if file.stem.upper() == f"MANO_{s.upper()}"), None)
    for expected in filter(None, (side, named)):
        if expected != found:
            raise ValueError(f"{file} should hold a {expected} hand, but it holds a {found} one")
    arrays = _arrays(data, found)
    return _mirror(arrays) if found == LEFT else arrays


def _file(path: Path, side: str | None) -> Path:
    if side is not None and side not in SIDES:
        raise ValueError(f"side must be one of {', '.join(SIDES)}, got {side!r}")
    if path.is_file():
        return path
    sides = (side,) if side else (RIGHT, LEFT)
    names = [f"MANO_{s.upper()}.pkl" for s in sides]
    # The published archive unpacks into a folder "models".
    places = [folder / name for name in names for folder in (path, path / "models")]
    for place in places if path.is_dir() else ():
        if place.is_file():
            return place
    sought = places if path.is_dir() else [path]
    raise FileNotFoundError(f"no MANO file at {', '.join(map(str, sought))}; {_HELP}")


class _Chumpy:
    """Stands for a chumpy array: a plain one, or a choice of another's elements."""

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state: dict) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        state = getattr(self, "state", {})
        if "x" in state:
            return np.asarray(state["x"])
        if {"a", "idxs", "preferred_shape"} <= set(state):
            chosen = _plain(state["a"]).ravel()[np.asarray(state["idxs"])]
            return chosen.reshape(state["preferred_shape"])
        raise ValueError(f"a chumpy array of an unknown form, with {', '.join(sorted(state))}")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if module.split(".")[0] == "chumpy":
            return _Chumpy
        if (module, name) == ("_codecs", "encode"):
            return _encode
        if (module, name) in (("__builtin__", "object"), ("builtins", "object")):
            return object
        if (module, name) in (
            ("copy_reg", "_reconstructor"),
            ("copyreg", "_reconstructor"),
        ):
            return super().find_class("copyreg", name)
        package = module.split(".")[0]
        if package == "numpy" and name in ("_reconstruct", "scalar"):
            return getattr(np._core.multiarray, name)
        if package == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if module.startswith("scipy.sparse") and name in ("csc_matrix", "csr_matrix", "coo_matrix"):
            return getattr(sparse, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which MANO does not need")


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for bytes in {encoding}")
    return text.encode("latin1")


def _unpickle(file: Path) -> dict[str, np.ndarray]:
    try:
        with file.open("rb") as stream:
            stored = _Unpickler(stream, encoding="latin1").load()
        if not isinstance(stored, dict):
            raise ValueError(f"it holds a {type(stored).__name__}")
        data = {name: _plain(value) for name, value in stored.items()}
    except Exception as error:  # a pickle can fail in any way
        raise ValueError(f"{file} is not a MANO file: {error}") from error
    if missing := sorted({*_SHAPES, "shapedirs", "kintree_table"} - set(data)):
        raise ValueError(f"{file} is not a MANO file: it lacks {', '.join(missing)}")
    for name, shape in _SHAPES.items():
        if data[name].shape != shape:
            raise ValueError(
                f"{file} is not a MANO file: {name} must be {shape}, got {data[name].shape}"
            )
    return data


def _plain(value):
    if isinstance(value, _Chumpy):
        return value.array()
    return value.toarray() if sparse.issparse(value) else value


def _side(data: dict[str, np.ndarray]) -> str:
    """Which hand it is: seen from the back (+y), on which side of the fingers the thumb lies."""
    joints = data["J_regressor"] @ data["v_template"]
    fingers, thumb = joints[4] - joints[0], joints[15] - joints[0]
    return RIGHT if np.cross(fingers, thumb)[1] > 0 else LEFT


def _arrays(data: dict[str, np.ndarray], side: str) -> dict[str, np.ndarray]:
    """The buffers as smplx makes them from MANO's file."""
    try:
        from smplx import MANO
        from smplx.utils import Struct
    except ImportError as error:
        raise ImportError("MANO's files are read with smplx: pip install smplx") from error
    import torch

    model = MANO(
        model_path="",
        data_struct=Struct(**data),
        is_rhand=side == RIGHT,
        use_pca=False,
        flat_hand_mean=True,
        dtype=torch.float64,
    )
    return {
        "template": model.v_template.numpy(),
        "faces": np.asarray(model.faces).astype(np.int64),
        "shape_directions": model.shapedirs.numpy(),
        "pose_directions": model.posedirs.numpy(),
        "regressor": model.J_regressor.numpy(),
        "weights": model.lbs_weights.numpy(),
        "pose_mean": np.asarray(data["hands_mean"], dtype=np.float64),
        "pose_components": np.asarray(data["hands_components"], dtype=np.float64),
    }


def _mirror(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A left hand's arrays as those of the right hand that is its mirror image across x = 0."""
    template = arrays["template"]
    shape = arrays["shape_directions"]
    if _grows_evenly(template, shape):
        shape = shape * _FLIP[:, None]
    # (135, 2334): nine elements of each rotation, a row each, to three coordinates a vertex.
    turns = np.tile(np.outer(_FLIP, _FLIP).ravel(), 15)
    moves = np.tile(_FLIP, len(template))
    spins = np.tile(-_FLIP, 15)
    return {
        **arrays,
        "template": template * _FLIP,
        "faces": arrays["faces"][:, ::-1],
        "shape_directions": shape,
        "pose_directions": turns[:, None] * arrays["pose_directions"] * moves,
        "pose_mean": arrays["pose_mean"] * spins,
        "pose_components": arrays["pose_components"] * spins,
    }


def _grows_evenly(template: np.ndarray, shape: np.ndarray) -> bool:
    """False where the shape directions are the other hand's along x.

    The published MANO_LEFT.pkl has them so: with both files at hand one sees that its x equals that
    of MANO_RIGHT.pkl (https://github.com/vchoutas/smplx/issues/48). With one alone it shows in the
    hand's growth: directions that make it thicker and broader make it shorter.
    """
    spread = template - template.mean(axis=0)
    growth = np.einsum("vk,vkc->kc", spread, shape)
    return float(growth[0] @ (growth[1] + growth[2])) > 0
