"""Definitions of ROS message types as a bag stores them, read from the installed ``.msg`` files."""

import json
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_PRIMITIVES = frozenset({"bool", "byte", "char", "string", "wstring", "float32", "float64"})
_INTEGER = re.compile(r"u?int\d+$")
_FIELD = re.compile(r"^\s*([A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+[A-Za-z]\w*\s*(=)?")
_SEPARATOR = "\n" + "=" * 80 + "\n"


@dataclass(frozen=True)
class MessageDefinition:
    """Text with all types it needs, and the REP-2016 hash of the type."""

    text: str
    hash: str


@lru_cache
def find(type_name: str) -> MessageDefinition:
    """The definition of ``package/msg/Name``.

    Raises:
        FileNotFoundError: No ament prefix has the type, or one it needs.
    """
    seen, queue, texts = {type_name}, [type_name], []
    while queue:
        name = queue.pop(0)
        text = _file(name, "msg").read_text()
        package, _, short = name.split("/")
        texts.append(text if name == type_name else f"MSG: {package}/{short}\n{text}")
        for needed in _needs(text, package):
            if needed not in seen:
                seen.add(needed)
                queue.append(needed)
    return MessageDefinition(_SEPARATOR.join(texts), _hash(type_name))


def _needs(text: str, package: str) -> list[str]:
    """Message types that the fields of a definition have, as ``package/msg/Name``."""
    names = []
    for line in text.splitlines():
        match = _FIELD.match(line.split("#", 1)[0])
        if match is None or match[2] or match[1] in _PRIMITIVES or _INTEGER.match(match[1]):
            continue
        parts = match[1].split("/")
        names.append(f"{parts[0] if len(parts) > 1 else package}/msg/{parts[-1]}")
    return names


def _hash(type_name: str) -> str:
    try:
        described = json.loads(_file(type_name, "json").read_text())
    except FileNotFoundError:
        return ""
    hashes = {entry["type_name"]: entry["hash_string"] for entry in described["type_hashes"]}
    return hashes.get(type_name, "")


def _file(type_name: str, suffix: str) -> Path:
    package, _, short = type_name.split("/")
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    for prefix in prefixes:
        path = Path(prefix) / "share" / package / "msg" / f"{short}.{suffix}"
        if path.exists():
            return path
    raise FileNotFoundError(f"no {suffix} file of {type_name} in the ament prefixes {prefixes}")
