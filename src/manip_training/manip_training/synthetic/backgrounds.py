"""What is behind the hand: pictures drawn in code, and whatever a folder holds beside them."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from manip_training.synthetic.draw import Draw

SIDE = 256  # [px]
DRAWN = {"train": 72, "val": 24}
# Shares of pictures that come from the folder, where there is one.
PHOTO_SHARE = 0.75
# Pictures of a folder whose name starts so are for validation alone; the others for training.
VAL_PREFIX = "val_"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class Backgrounds:
    """A bank of pictures, and how each image of a batch shows one of them.

    Attributes:
        bank: ``(N, 3, 256, 256)`` uint8, pictures of the folder last.
        photos: How many of them come from the folder.
    """

    def __init__(self, variant: str, folder: Path | None, device: torch.device | str):
        kinds = _TRAIN_KINDS if variant == "train" else _VAL_KINDS
        seed = 1 if variant == "train" else 2
        pictures = [
            kinds[i % len(kinds)](np.random.default_rng((seed, i))) for i in range(DRAWN[variant])
        ]
        pictures = [np.clip(255 * picture + 0.5, 0, 255).astype(np.uint8) for picture in pictures]
        photos = [] if folder is None else photos_of(folder, variant)
        self.photos = len(photos)
        self.bank = torch.from_numpy(np.stack(pictures + photos)).permute(0, 3, 1, 2).contiguous()
        self.bank = self.bank.to(device)

    def draw(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """Rows ``(B,)`` int32 of the bank, and placements ``(B, 5)``."""
        drawn = len(self.bank) - self.photos
        rows = draw.index(drawn)
        if self.photos:
            rows = torch.where(draw.chance(PHOTO_SHARE), drawn + draw.index(self.photos), rows)
        scale = draw.log_uniform(0.25, 1.0)
        away = 0.5 * (1 - scale)[:, None] * draw.uniform(-1, 1, 2)
        blur = torch.where(draw.chance(0.5), draw.uniform(0, 0.6), draw.uniform(0, 3.5))
        turn = 0.12 * draw.normal()
        return rows.int(), torch.stack((0.5 + away[:, 0], 0.5 + away[:, 1], scale, turn, blur), -1)


def photos_of(folder: Path, variant: str) -> list[np.ndarray]:
    """The folder's pictures ``(256, 256, 3)`` RGB of a variant, by name, their middle squares.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: A file that cannot be read as a picture.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder of backgrounds {folder} does not exist")
    pictures = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES:
            continue
        if path.name.startswith(VAL_PREFIX) != (variant == "val"):
            continue
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise ValueError(f"{path} cannot be read as a picture")
        height, width = picture.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = picture[top : top + side, left : left + side]
        how = cv2.INTER_AREA if side > SIDE else cv2.INTER_LINEAR
        square = cv2.resize(square, (SIDE, SIDE), interpolation=how)
        pictures.append(square[..., ::-1].copy())
    return pictures


def _colour(rng: np.random.Generator, strength: float = 0.5) -> np.ndarray:
    """``(3,)`` display colour, 0 to 1, greyish or strong."""
    grey, strength = rng.uniform(0.05, 0.95), strength * rng.uniform(0.1, 1.3)
    warm = np.array((0.05, 0.0, -0.05)) * rng.normal(0.5, 1)
    colour = grey * (1 + warm) * (1 - strength) + strength * rng.uniform(0, 1, 3)
    return np.clip(colour, 0, 1)


def _cloud(rng: np.random.Generator, coarse: int = 3, octaves: int = 5) -> np.ndarray:
    """``(256, 256)`` smooth noise about 0, each octave twice as fine and half as strong."""
    total = np.zeros((SIDE, SIDE), np.float32)
    for octave in range(octaves):
        cells = coarse * 2**octave + 1
        grid = rng.normal(0, 0.5**octave, (min(cells, SIDE), min(cells, SIDE))).astype(np.float32)
        total += cv2.resize(grid, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return total


def _wall(rng: np.random.Generator) -> np.ndarray:
    """A plain wall under uneven light."""
    line = np.linspace(-1, 1, SIDE, dtype=np.float32)
    shade = 1 + rng.uniform(-0.35, 0.35) * line[None] + rng.uniform(-0.35, 0.35) * line[:, None]
    shade = shade * (1 + 0.05 * _cloud(rng))
    return (_colour(rng, 0.35) * shade[..., None]).astype(np.float32)


def _box(picture, rng, low, high, colour) -> None:
    """A rectangle between two corners, in shares of the side, a little shaded."""
    (x0, y0), (x1, y1) = np.int32(np.clip(low, 0, 1) * SIDE), np.int32(np.clip(high, 0, 1) * SIDE)
    if x1 > x0 and y1 > y0:
        shade = np.linspace(rng.uniform(0.75, 1), rng.uniform(0.75, 1), x1 - x0)[None, :, None]
        picture[y0:y1, x0:x1] = colour * shade


def _room(rng: np.random.Generator) -> np.ndarray:
    """Wall, floor, a window or pictures, furniture as boxes."""
    picture = _wall(rng)
    floor = rng.uniform(0.6, 0.95)
    _box(picture, rng, (0, floor), (1, 1), _colour(rng, 0.4))
    _box(picture, rng, (0, floor), (1, floor + 0.015), _colour(rng, 0.1))
    for _ in range(rng.integers(1, 4)):
        corner, size = rng.uniform(0, 0.8, 2) * (1, 0.6), rng.uniform(0.08, 0.35, 2)
        _box(picture, rng, corner - 0.012, corner + size + 0.012, _colour(rng, 0.3))
        _box(picture, rng, corner, corner + size, _colour(rng) * rng.uniform(0.6, 1.6))
    for _ in range(rng.integers(1, 5)):
        left, width, height = rng.uniform(-0.1, 0.9), rng.uniform(0.1, 0.5), rng.uniform(0.1, 0.6)
        bottom = min(floor + rng.uniform(0, 0.25), 1)
        _box(picture, rng, (left, bottom - height), (left + width, bottom), _colour(rng))
    return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.2))


def _shelves(rng: np.random.Generator) -> np.ndarray:
    """Rows of books and boxes."""
    picture = _wall(rng) * 0.6
    rows = rng.integers(2, 6)
    board = _colour(rng, 0.3)
    for row in range(rows):
        bottom, x = (row + 1) / rows, rng.uniform(0, 0.05)
        while x < 1:
            width, height = rng.uniform(0.015, 0.09), rng.uniform(0.4, 0.9) / rows
            if rng.random() < 0.88:
                _box(picture, rng, (x, bottom - height), (x + width, bottom), _colour(rng, 0.7))
            x += width + rng.exponential(0.004)
        _box(picture, rng, (0, bottom - 0.02), (1, bottom), board)
    return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.5))


def _curtain(rng: np.random.Generator) -> np.ndarray:
    """Folds of cloth."""
    line = np.linspace(0, 1, SIDE, dtype=np.float32)
    warp = line[None] + 0.03 * _cloud(rng, 2, 3)
    folds = np.sin(2 * np.pi * rng.uniform(4, 18) * warp + rng.uniform(0, 6))
    folds += 0.5 * np.sin(2 * np.pi * rng.uniform(10, 40) * warp)
    return _colour(rng, 0.6) * (1 + 0.22 * folds[..., None]).astype(np.float32)


def _stripes(rng: np.random.Generator) -> np.ndarray:
    """Stripes or checks at any angle."""
    v, u = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    angle = rng.uniform(0, np.pi)
    wave = np.sin(2 * np.pi * rng.uniform(4, 26) * (u * np.cos(angle) + v * np.sin(angle)))
    if rng.random() < 0.5:
        wave = wave * np.sin(
            2 * np.pi * rng.uniform(4, 26) * (v * np.cos(angle) - u * np.sin(angle))
        )
    mask = (wave > rng.uniform(-0.5, 0.5)).astype(np.float32)[..., None]
    mask = cv2.GaussianBlur(mask, (0, 0), 0.8)[..., None]
    picture = _colour(rng, 0.7) * mask + _colour(rng, 0.7) * (1 - mask)
    return picture * (1 + 0.1 * _cloud(rng)[..., None])


def _clouds(rng: np.random.Generator) -> np.ndarray:
    """Blotches of two or three colours: carpet, stone, foliage far out of focus."""
    coarse, octaves = int(rng.integers(2, 9)), int(rng.integers(3, 7))
    picture = np.broadcast_to(_colour(rng, 0.6), (SIDE, SIDE, 3))
    for _ in range(rng.integers(1, 3)):
        share = 1 / (1 + np.exp(-rng.uniform(1, 8) * _cloud(rng, coarse, octaves)))
        picture = picture * (1 - share[..., None]) + _colour(rng, 0.6) * share[..., None]
    return picture.astype(np.float32)


def _bokeh(rng: np.random.Generator) -> np.ndarray:
    """Lamps out of focus before a dim place."""
    picture = _clouds(rng) * rng.uniform(0.15, 0.6)
    for _ in range(rng.integers(8, 40)):
        disc = np.zeros((SIDE, SIDE), np.float32)
        centre, radius = rng.integers(0, SIDE, 2), int(rng.uniform(3, 18))
        cv2.circle(disc, (int(centre[0]), int(centre[1])), radius, 1.0, -1, cv2.LINE_AA)
        lamp = _colour(rng, 0.5) * rng.uniform(0.4, 1.3)
        picture = picture + rng.uniform(0.3, 0.9) * disc[..., None] * lamp
    return cv2.GaussianBlur(picture.astype(np.float32), (0, 0), rng.uniform(0.5, 2.0))


def _plant(rng: np.random.Generator) -> np.ndarray:
    """Leaves before a wall."""
    picture = _wall(rng)
    green = np.array((0.2, 0.45, 0.15)) * rng.uniform(0.5, 1.4, 3)
    for _ in range(rng.integers(30, 120)):
        centre, angle = rng.normal((0.5, 0.45), 0.25, 2) * SIDE, rng.uniform(0, 360)
        axes = (int(rng.uniform(6, 34)), int(rng.uniform(2, 9)))
        colour = tuple(float(x) for x in np.clip(green * rng.uniform(0.4, 1.6), 0, 1))
        cv2.ellipse(picture, tuple(int(x) for x in centre), axes, angle, 0, 360, colour, -1,
                    cv2.LINE_AA)  # fmt: skip
    return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 2.5))


def _clutter(rng: np.random.Generator) -> np.ndarray:
    """Things of many shapes and colours, as on a desk."""
    picture = _clouds(rng)
    for _ in range(rng.integers(15, 60)):
        centre = tuple(int(x) for x in rng.integers(0, SIDE, 2))
        colour = tuple(float(x) for x in _colour(rng, 0.7))
        kind, size = rng.integers(3), rng.uniform(5, 50, 2)
        if kind == 0:
            corners = cv2.boxPoints((centre, tuple(map(float, size)), float(rng.uniform(0, 180))))
            cv2.fillPoly(picture, [np.int32(corners)], colour, cv2.LINE_AA)
        elif kind == 1:
            axes = tuple(int(x) for x in 0.6 * size)
            cv2.ellipse(picture, centre, axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
        else:
            end = tuple(int(x) for x in np.add(centre, rng.normal(0, 60, 2)))
            cv2.line(picture, centre, end, colour, int(rng.integers(1, 7)), cv2.LINE_AA)
    picture = picture * (1 + 0.12 * _cloud(rng)[..., None])
    return cv2.GaussianBlur(picture.astype(np.float32), (0, 0), rng.uniform(0.3, 1.5))


def _tiles(rng: np.random.Generator) -> np.ndarray:
    """Bricks or tiles with joints."""
    picture = np.empty((SIDE, SIDE, 3), np.float32)
    picture[:] = _colour(rng, 0.2)
    base, height = _colour(rng, 0.5), rng.uniform(0.06, 0.2)
    width, gap = height * rng.uniform(1, 2.6), rng.uniform(0.004, 0.015)
    half = rng.choice((0.0, 0.5))
    for row in range(int(1 / height) + 1):
        for column in range(-1, int(1 / width) + 1):
            low = np.array(((column + half * (row % 2)) * width, row * height))
            _box(picture, rng, low, low + np.array((width - gap, height - gap)),
                 base * (1 + 0.12 * rng.normal()))  # fmt: skip
    return cv2.GaussianBlur(picture * (1 + 0.1 * _cloud(rng)[..., None]), (0, 0), 0.7)


def _window(rng: np.random.Generator) -> np.ndarray:
    """A bright window in a dark wall."""
    picture = _wall(rng) * 0.4
    corner, size = rng.uniform(0.05, 0.4, 2), rng.uniform(0.3, 0.6, 2)
    _box(picture, rng, corner - 0.03, corner + size + 0.03, _colour(rng, 0.1))
    for pane in range(2):
        low = corner + np.array((pane * (size[0] / 2 + 0.01), 0))
        _box(picture, rng, low, low + np.array((size[0] / 2, size[1])), np.array((0.95, 0.98, 1.0)))
    return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 2.5))


def _screens(rng: np.random.Generator) -> np.ndarray:
    """Monitors with rows of text before a wall."""
    picture = _wall(rng)
    for _ in range(rng.integers(1, 3)):
        low = rng.uniform(0, 0.5, 2)
        high = low + rng.uniform(0.3, 0.6, 2)
        _box(picture, rng, low - 0.02, high + 0.02, np.full(3, 0.05))
        _box(picture, rng, low, high, _colour(rng, 0.3))
        ink = _colour(rng, 0.3)
        for y in np.arange(low[1] + 0.03, high[1] - 0.03, 0.03):
            _box(picture, rng, (low[0] + 0.03, y),
                 (low[0] + 0.03 + rng.uniform(0.05, 0.9) * (high[0] - low[0] - 0.06), y + 0.012),
                 ink)  # fmt: skip
    return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.0))


_TRAIN_KINDS = (_room, _wall, _shelves, _room, _curtain, _clutter, _plant, _stripes, _bokeh,
                _clouds, _clutter, _room)  # fmt: skip
_VAL_KINDS = (_tiles, _window, _screens, _tiles, _screens, _window)
