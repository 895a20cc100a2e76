"""The locked requirements: complete, hashed, and one version of each package everywhere."""

import re
from collections import defaultdict
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

FOLDER = Path(__file__).resolve().parents[2] / "requirements"
_PINNED = re.compile(r"([\w.-]+)(?:\[([\w,-]+)\])?==([\w.+]+)(?: ; ([^\\\n]+?))? *\\?\n")
LOCKED = ("sim", "amt", "train", "export", "dev")


def entries(name: str) -> dict[tuple[str, str], tuple[str, int]]:
    """``(package, marker)`` to version and number of hashes, of a lock."""
    found = {}
    for entry in re.split(r"\n(?=\S)", (FOLDER / name).read_text()):
        if match := _PINNED.match(entry + "\n"):
            name, _, version, marker = match.groups()
            found[canonical(name), marker or ""] = (version, entry.count("--hash="))
    return found


def extras(name: str) -> dict[str, set[str]]:
    """The extras that a lock names, by package."""
    lines = (FOLDER / name).read_text().splitlines(keepends=True)
    pinned = [match for line in lines if (match := _PINNED.match(line))]
    return {canonical(m[1]): set((m[2] or "").split(",")) for m in pinned}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", LOCKED)
def test_what_is_asked_for_is_locked_with_hashes(name):
    locked = entries(f"{name}.lock")
    assert locked and all(hashes > 0 for _, hashes in locked.values())
    for line in (FOLDER / f"{name}.in").read_text().splitlines():
        if line and not line.startswith("#"):
            package, _, version = line.partition("==")
            package = canonical(package)
            versions = {entry[0] for key, entry in locked.items() if key[0] == package}
            assert versions, f"{package} is not in {name}.lock"
            assert not version or versions == {version}


@pytest.mark.parametrize("ros", ["ros-jazzy", "ros-kilted"])
def test_locks_that_are_installed_together_agree(ros):
    versions = defaultdict(dict)
    for name in (ros, *LOCKED):
        for key, (version, _) in entries(f"{name}.lock").items():
            versions[key][name] = version
    different = {key: by for key, by in versions.items() if len(set(by.values())) > 1}
    assert not different


@pytest.mark.parametrize("name", ["ros-jazzy", "sim", "amt", "train"])
def test_extras_are_locked_with_the_package(name):
    # Else pip 23 takes the newest version for the extra, and refuses it for want of a hash.
    locked = extras(f"{name}.lock")
    for package in locked:
        try:
            needs = [Requirement(text) for text in metadata.requires(package) or ()]
        except metadata.PackageNotFoundError:
            continue
        for need in needs:
            if need.extras and (need.marker is None or need.marker.evaluate({"extra": ""})):
                assert need.extras <= locked.get(canonical(need.name), need.extras), need


def test_the_graph_needs_no_pytorch():
    for name in ("sim", "amt"):
        assert not {"torch", "onnx"} & {package for package, _ in entries(f"{name}.lock")}
