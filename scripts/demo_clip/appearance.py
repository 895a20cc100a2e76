"""Skin texture, sleeve and background, all made by formula from a seed."""

import itertools

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from demo_clip.hand_model import CHAINS, HandModel
from manip_core.hand_skeleton import FINGERS, Keypoint

TEXTURE_SIZE = 1024
SLEEVE_STARTS, SLEEVE_ENDS = 0.085, 0.42  # [m] from the wrist along the forearm


class Noise:
    """Smooth noise of unit deviation in space; ``scale`` is the size of a blotch in [m]."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def __call__(self, points: np.ndarray, scale: float) -> np.ndarray:
        grid = gaussian_filter(self._rng.normal(size=(48, 48, 48)), 0.8, mode="wrap")
        at = (points / scale + self._rng.uniform(0, 48, points.shape[1])).T
        return map_coordinates(grid / grid.std(), at, order=1, mode="grid-wrap")


def _bake(model: HandModel, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rest position, normal, nail share of each texel ``(size, size, 7)``; which are filled."""
    values = np.zeros((size, size, 7), np.float32)
    filled = np.zeros((size, size), bool)
    corner = np.concatenate([model.vertices, model.normals], axis=1)[model.faces]
    corner = np.concatenate([corner, model.nail[model.faces_uv][:, :, None]], axis=2)
    pixel = model.uv[model.faces_uv] * [1, -1] * size + [0, size]
    for tri, value in zip(pixel, corner, strict=True):
        low = np.clip(np.floor(tri.min(axis=0) - 1.5).astype(int), 0, size - 1)
        high = np.clip(np.ceil(tri.max(axis=0) + 1.5).astype(int), 0, size - 1)
        u, v = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
        basis = np.array([tri[1] - tri[0], tri[2] - tri[0]]).T
        if abs(np.linalg.det(basis)) < 1e-9:
            continue
        bc = np.linalg.solve(basis, np.stack([u.ravel() + 0.5, v.ravel() + 0.5]) - tri[0][:, None])
        bary = np.stack([1 - bc.sum(axis=0), *bc])
        # A rim around each triangle, so that filtering across seams finds skin and not void.
        inside = bary.min(axis=0) > -1e-6
        rim = (bary.min(axis=0) > -0.6) & ~filled[v.ravel(), u.ravel()]
        for choose in (rim, inside):
            values[v.ravel()[choose], u.ravel()[choose]] = bary[:, choose].T @ value
        filled[v.ravel()[inside], u.ravel()[inside]] = True
    return values, filled


def _near(points: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    return np.exp(-((np.linalg.norm(points - centre, axis=-1) / radius) ** 2))


def _polyline_distance(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    best = np.full(len(points), np.inf)
    for a, b in itertools.pairwise(line):
        t = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - a - t[:, None] * (b - a), axis=1))
    return best


def _creases(model: HandModel, p: np.ndarray, palmar: np.ndarray, noise: Noise) -> np.ndarray:
    """Depth 0 to 1 of the lines of the palm and of the fingers' joints at points ``p``."""
    wiggle = 0.0007 * noise(p, 0.012)
    depth = np.zeros(len(p))
    for finger in FINGERS:
        chain = CHAINS[finger]
        for bone in chain[1:] if finger != "thumb" else chain[2:]:
            tip = Keypoint[f"{finger.upper()}_TIP"]
            axis = model.keypoints[tip] - model.heads[chain[0]]
            axis /= np.linalg.norm(axis)
            along = (p - model.heads[bone]) @ axis + wiggle
            own = _near(p, model.heads[bone], 0.013)
            inner = np.exp(-((along / 0.0007) ** 2)) * palmar
            wrinkle = np.exp(-((np.abs((along + 0.006) % 0.0024 - 0.0012) / 0.0005) ** 2))
            outer = 0.35 * wrinkle * (np.abs(along) < 0.005) * (1 - palmar)
            depth = np.maximum(depth, own**0.5 * (inner + outer))
    k = model.keypoints[:, 1:]
    index, middle, ring, little = (
        k[Keypoint[f"{f}_MCP"]] for f in ("INDEX", "MIDDLE", "RING", "LITTLE")
    )
    edge = np.array([0.012, 0.0])
    lines = [
        [
            little - [0.013, 0.017],
            ring - [0, 0.020],
            middle - [0, 0.016],
            (index + middle) / 2 - [0, 0.004],
        ],
        [
            index + edge - [0, 0.022],
            middle - [0, 0.036],
            ring - [0.004, 0.048],
            little - [0.004, 0.052],
        ],
        [
            index + edge - [0, 0.024],
            index - [0.004, 0.037],
            middle - [-0.006, 0.056],
            [0.006, 0.022],
            [0.012, 0.010],
        ],
    ]
    on_plane = p[:, 1:] + np.stack([noise(p, 0.02), noise(p, 0.02)], axis=1) * 0.0008
    for line in lines:
        width = _polyline_distance(on_plane, np.array(line)) / 0.0009
        depth = np.maximum(depth, 0.8 * np.exp(-(width**2)) * palmar)
    wrist = np.abs(p[:, 2] + 0.004 + 0.12 * np.abs(p[:, 1]) + wiggle) / 0.0009
    return np.maximum(depth, 0.7 * np.exp(-(wrist**2)) * palmar)


def skin_texture(model: HandModel, seed: int) -> np.ndarray:
    """RGB texture ``(1024, 1024, 3)`` uint8."""
    values, _ = _bake(model, TEXTURE_SIZE)
    flat = values.reshape(-1, 7).astype(np.float64)
    p, normal, nail = flat[:, :3], flat[:, 3:6], np.clip(flat[:, 6], 0, 1)
    noise = Noise(np.random.default_rng(seed))
    palmar = 1 / (1 + np.exp(-6 * (normal[:, 0] + 0.05)))  # palm frame: x comes out of the palm
    palmar *= 1 / (1 + np.exp(-(p[:, 2] + 0.01) / 0.012)) * 0.8 + 0.2
    dorsum, palm = np.array([0.70, 0.51, 0.42]), np.array([0.80, 0.61, 0.53])
    colour = dorsum + palmar[:, None] * (palm - dorsum)
    red = np.zeros(len(p))
    for finger in FINGERS:
        tip = model.keypoints[Keypoint[f"{finger.upper()}_TIP"]]
        red += 0.75 * _near(p, tip, 0.016)
        for bone in CHAINS[finger]:
            red += 0.30 * _near(p, model.heads[bone], 0.010)
    k = model.keypoints
    red += 0.35 * palmar * _near(p, (k[Keypoint.THUMB_CMC] + k[Keypoint.THUMB_MCP]) / 2, 0.03)
    red += 0.30 * palmar * _near(p, k[Keypoint.LITTLE_MCP] * 0.5, 0.03)
    red += 0.22 * noise(p, 0.010) + 0.12 * noise(p, 0.003)
    colour += red[:, None] * [0.015, -0.055, -0.045]
    pale = 0.020 * noise(p, 0.018) + 0.012 * noise(p, 0.0045) + 0.012 * noise(p, 0.0013)
    colour *= 1 + pale[:, None]
    # Veins, faint, on the back of the hand and the inside of the wrist.
    vein = np.exp(-((noise(p, 0.014) / 0.16) ** 2)) * (0.5 - 0.4 * palmar)
    colour += 0.35 * vein[:, None] * [-0.06, -0.012, 0.012]
    colour *= 1 - _creases(model, p, palmar, noise)[:, None] * [0.20, 0.30, 0.32]
    share = np.clip((nail - 0.15) / 0.5, 0, 1)[:, None]
    rim = np.exp(-(((nail - 0.35) / 0.18) ** 2))[:, None]
    colour = colour * (1 - share) + share * (
        np.array([0.86, 0.64, 0.57]) + 0.01 * noise(p, 0.004)[:, None]
    )
    colour *= 1 - 0.16 * rim
    image = np.clip(colour, 0, 1).reshape(TEXTURE_SIZE, TEXTURE_SIZE, 3)
    return (image * 255 + 0.5).astype(np.uint8)


def sleeve(model: HandModel, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A knitted sleeve: vertices ``(V, 3)`` at rest, faces, texture coordinates and RGB texture."""
    rng = np.random.default_rng(seed)
    noise = Noise(rng)
    axis = model.forearm_axis
    across = np.cross(axis, [1.0, 0.0, 0.0])
    across /= np.linalg.norm(across)
    deep = np.cross(across, axis)
    around, rows = 96, 110
    theta = np.linspace(0, 2 * np.pi, around + 1)
    s = np.concatenate(
        [np.full(6, SLEEVE_STARTS), np.linspace(SLEEVE_STARTS, SLEEVE_ENDS, rows - 6)]
    )
    inner = np.concatenate([np.linspace(0.72, 1.0, 6), np.ones(rows - 6)])  # the cuff turns inwards
    cuff = np.clip((s - SLEEVE_STARTS) / 0.045, 0, 1)
    along, angle = np.meshgrid(s, theta, indexing="ij")
    ring = np.stack([along, np.cos(angle) * 0.06, np.sin(angle) * 0.06], axis=-1).reshape(-1, 3)
    folds = noise(ring * [1.0, 0.35, 0.35], 0.026).reshape(along.shape) * 0.0032
    puff = 0.006 * np.sin(np.pi * np.clip((s - SLEEVE_STARTS - 0.04) / 0.06, 0, 1))
    radius = (0.0400 + 0.060 * (s - SLEEVE_STARTS) + puff) * inner
    radius = radius[:, None] + folds * np.clip(cuff, 0.1, 1)[:, None]
    radius[:, -1] = radius[:, 0]
    centre = model.keypoints[0] + [-0.004, 0, 0] + along[..., None] * axis
    points = centre + radius[..., None] * (
        np.cos(angle)[..., None] * across * 1.08 + np.sin(angle)[..., None] * deep * 0.92
    )
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(around), indexing="ij")
    a = (i * (around + 1) + j).ravel()
    b, c, d = a + 1, a + around + 1, a + around + 2
    faces = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    uv = np.stack(
        [theta / (2 * np.pi) + 0 * along, (along - SLEEVE_STARTS) / (SLEEVE_ENDS - SLEEVE_STARTS)],
        -1,
    )

    size = 768
    v, u = np.mgrid[0:size, 0:size] / size
    stitch = 0.5 + 0.25 * np.sin(2 * np.pi * (u * 70 + 0.25 * np.sin(2 * np.pi * v * 110)))
    stitch += 0.25 * np.sin(2 * np.pi * v * 110)
    rib = 0.5 + 0.5 * np.sin(2 * np.pi * u * 46)
    weave = np.where((v < 0.13), rib, stitch)
    wool = gaussian_filter(rng.normal(size=(size, size)), 1.0, mode="wrap")
    tone = 0.80 + 0.22 * weave + 0.06 * wool / wool.std()
    image = np.clip(tone[..., None] * np.array([0.20, 0.27, 0.36]), 0, 1)
    return points.reshape(-1, 3), faces, uv.reshape(-1, 2), (image[::-1] * 255).astype(np.uint8)


def background(width: int, height: int, seed: int) -> np.ndarray:
    """A room out of focus behind the operator, RGB float ``(height, width, 3)`` in 0 to 1."""
    rng = np.random.default_rng(seed)
    scale = 2
    w, h = width * scale, height * scale
    v, u = np.mgrid[0:h, 0:w].astype(np.float32) / h
    image = np.empty((h, w, 3), np.float32)
    image[:] = [0.66, 0.63, 0.58]
    image *= (0.80 + 0.30 * np.exp(-(((u - 1.25) / 0.8) ** 2 + ((v - 0.1) / 0.9) ** 2)))[..., None]

    def box(x0: float, y0: float, x1: float, y1: float, rgb: tuple[float, ...]) -> None:
        cv2.rectangle(image, (int(x0 * h), int(y0 * h)), (int(x1 * h), int(y1 * h)), rgb, -1)

    box(0.98, -0.1, 1.40, 0.46, (0.42, 0.36, 0.30))  # window: frame, panes, sill
    for x in (1.01, 1.205):
        box(x, -0.1, x + 0.165, 0.43, (0.93, 0.96, 1.0))
        box(x, 0.25, x + 0.165, 0.43, (0.72, 0.80, 0.74))
    box(0.96, 0.455, 1.42, 0.49, (0.80, 0.78, 0.74))
    box(-0.1, 0.06, 0.33, 0.62, (0.33, 0.24, 0.17))  # book shelf
    for top in (0.09, 0.27, 0.45):
        box(-0.1, top, 0.315, top + 0.15, (0.20, 0.15, 0.11))
        x = -0.02
        while x < 0.29:
            wide, tall = rng.uniform(0.012, 0.034), rng.uniform(0.085, 0.135)
            hue = np.array([rng.uniform(0, 360), rng.uniform(0.15, 0.55), rng.uniform(0.25, 0.75)])
            rgb = cv2.cvtColor(np.float32(hue)[None, None], cv2.COLOR_HSV2RGB)[0, 0]
            box(x, top + 0.15 - tall, x + wide, top + 0.15, tuple(map(float, rgb)))
            x += wide + rng.choice([0.002, 0.002, 0.03])
    box(-0.1, 0.80, 1.5, 1.2, (0.46, 0.36, 0.27))  # sideboard
    box(-0.1, 0.78, 1.5, 0.805, (0.60, 0.49, 0.38))
    pot = np.array([[1.02, 0.70], [1.14, 0.70], [1.12, 0.79], [1.04, 0.79]]) * h
    cv2.fillConvexPoly(image, pot.astype(np.int32), (0.62, 0.36, 0.26))
    for _ in range(46):  # a plant in it
        end = np.array([1.08, 0.70]) + rng.normal(0, [0.07, 0.06]) - [0, 0.10]
        middle = tuple(map(int, (end * 0.7 + np.array([1.08, 0.70]) * 0.3) * h))
        green = tuple(np.array([0.20, 0.36, 0.18]) * rng.uniform(0.6, 1.4))
        tilt = float(np.degrees(np.arctan2(*(end - [1.08, 0.70])[::-1])))
        cv2.ellipse(image, middle, (int(0.04 * h), int(0.011 * h)), tilt, 0, 360, green, -1)
    image = cv2.GaussianBlur(image, (0, 0), 0.013 * h)
    image += gaussian_filter(rng.normal(size=(h, w, 1)), (24, 24, 0)).astype(np.float32) * 0.25
    vignette = 1 - 0.22 * (((u - 0.667) / 0.667) ** 2 + ((v - 0.5) / 0.5) ** 2) / 2
    return np.clip(
        cv2.resize(image * vignette[..., None], (width, height), interpolation=cv2.INTER_AREA), 0, 1
    )
