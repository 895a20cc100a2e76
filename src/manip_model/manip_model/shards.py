"""Weights as they ship: eight bits in a few safetensors files, read with numpy alone.

A folder holds ``index.json`` (the network's config, the hand it speaks of, the files with their
checksums, the limits of :mod:`manip_model.doubt`), the files, and ``model.onnx``, whose weights are
ranges of those same files (:mod:`manip_model.export`). A matrix ``name`` of shape (out, in) lies
there as int8 of shape (in, out), the way round a graph multiplies, beside ``name:step`` ``(out,)``
and, where its layer's inputs are spread out before they are rounded, ``name:spread`` ``(in,)``::

    matrix = levels.T * step[:, None] / spread

Everything else is float32, or float16 where it is large.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FORMAT = "manip-shards-1"
INDEX = "index.json"
STEP, SPREAD = ":step", ":spread"
# So that any file host and review tool takes them.
MAX_SHARD = 15_000_000  # [bytes]

# https://huggingface.co/docs/safetensors: eight bytes with the length of a JSON header, the header,
# then the tensors, whose offsets count from the header's end.
_LENGTH = 8
_DTYPES = {"I8": np.dtype("i1"), "F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies.

    Attributes:
        shard: File name.
        offset, length: Bytes from the beginning of the file.
        dtype, shape: Of the tensor.
    """

    shard: str
    offset: int
    length: int
    dtype: np.dtype
    shape: tuple[int, ...]


def read_index(folder: str | Path) -> dict:
    """``index.json`` of a folder.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is of another kind.
    """
    path = Path(folder) / INDEX
    if not path.is_file():
        raise FileNotFoundError(f"no shipped model at {folder}: {INDEX} is not there")
    try:
        index = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    found = index.get("format") if isinstance(index, dict) else type(index).__name__
    if found != FORMAT:
        raise ValueError(f"{path} has the format {found!r}, not {FORMAT!r}")
    return index


def entries(path: Path) -> dict[str, Entry]:
    """What lies where in one file.

    Raises:
        FileNotFoundError: No such file.
        ValueError: It is no safetensors file, or a cut one; the message says which.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        if _LENGTH + length > size:
            raise ValueError(f"{path} is no safetensors file: its header would be {length} bytes")
        try:
            header = json.loads(file.read(length))
            found = {
                name: Entry(
                    path.name,
                    _LENGTH + length + one["data_offsets"][0],
                    one["data_offsets"][1] - one["data_offsets"][0],
                    _DTYPES[one["dtype"]],
                    tuple(one["shape"]),
                )
                for name, one in header.items()
                if name != "__metadata__"
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} is no safetensors file that is known here: {error}"
            ) from error
    end = max((one.offset + one.length for one in found.values()), default=size)
    if end > size:
        raise ValueError(f"{path} ends at {size} bytes, its tensors at {end}: it is cut off")
    return found


def read_stored(folder: str | Path) -> dict[str, np.ndarray]:
    """Every tensor of a folder as it lies there, checked against the checksums.

    Raises:
        FileNotFoundError, ValueError: Something is missing or damaged; the message says what.
    """
    folder = Path(folder)
    stored = {}
    for name, digest in read_index(folder)["shards"].items():
        found = entries(folder / name)
        content = (folder / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError(f"{folder / name} is damaged: its checksum is not the index's")
        for key, one in found.items():
            raw = np.frombuffer(content, one.dtype, one.length // one.dtype.itemsize, one.offset)
            stored[key] = raw.reshape(one.shape)
    return stored


def plain_weights(stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights by the network's own names, float32, from what :func:`read_stored` gives."""
    weights = {}
    for name, value in stored.items():
        if name.endswith((STEP, SPREAD)):
            continue
        if value.dtype == np.int8:
            weights[name] = matrix(value, stored[name + STEP], stored.get(name + SPREAD))
        else:
            weights[name] = value.astype(np.float32)
    return weights


def matrix(levels: np.ndarray, step: np.ndarray, spread: np.ndarray | None = None) -> np.ndarray:
    """``(out, in)`` float32 of levels ``(in, out)``, steps ``(out,)`` and spread ``(in,)``."""
    plain = levels.T * step[:, None]
    return np.ascontiguousarray(plain if spread is None else plain / spread)


def write_shards(
    folder: str | Path, stored: Mapping[str, np.ndarray], facts: dict, limit: int = MAX_SHARD
) -> dict[str, Entry]:
    """Write tensors and the index.

    Args:
        folder: Made where it is not there; files in it that an earlier index names are replaced.
        stored: int8, float16 or float32, by name.
        facts: More for the index: plain values.
        limit: Bytes of a file; a tensor is never divided.

    Returns:
        Where each tensor lies.

    Raises:
        ValueError: Another dtype, or a tensor larger than ``limit``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("weights-*.safetensors"):
        old.unlink()
    shards, where = {}, {}
    for number, names in enumerate(_groups(stored, limit), start=1):
        path = folder / f"weights-{number}.safetensors"
        content = _serialised({name: stored[name] for name in names})
        path.write_bytes(content)
        shards[path.name] = hashlib.sha256(content).hexdigest()
        where |= entries(path)
    index = {"format": FORMAT, "shards": shards} | facts
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")
    return where


def _groups(stored: Mapping[str, np.ndarray], limit: int) -> Iterator[list[str]]:
    """Names, in their order, of tensors that fit in one file together."""
    group, size = [], 0
    for name, value in stored.items():
        # The header takes some 100 bytes for each.
        more = value.nbytes + len(name) + 128
        if more > limit:
            raise ValueError(f"{name} has {value.nbytes} bytes, a file may have {limit}")
        if group and size + more > limit:
            yield group
            group, size = [], 0
        group.append(name)
        size += more
    if group:
        yield group


def _serialised(tensors: Mapping[str, np.ndarray]) -> bytes:
    """A safetensors file: the widest numbers first, so that each lies at a multiple of its size."""
    order = sorted(tensors, key=lambda name: -tensors[name].dtype.itemsize)
    header, parts, end = {}, [], 0
    for name in order:
        value = np.asarray(tensors[name], order="C")
        if value.dtype not in _NAMES:
            raise ValueError(
                f"{name} must be one of {', '.join(map(str, _NAMES))}, got {value.dtype}"
            )
        header[name] = {
            "dtype": _NAMES[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [end, end + value.nbytes],
        }
        parts.append(value.tobytes())
        end += value.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join((len(text).to_bytes(_LENGTH, "little"), text, *parts))
