"""What a picture of a scene is, in slow and plain terms: the specification of the rasteriser.

The kernels are held against this in the tests. It draws in float64, image by image, triangle by
triangle, and shades every sample on its own. What it specifies:

*Visibility.* A pinhole camera; pixel centres at whole numbers; ``supersample`` squared samples in
the middles of as many squares of each pixel. A triangle is drawn if all its corners are at least
2 cm before the camera and its outside is seen. The nearest one counts. Colours of samples are
averaged in linear light; depth and part are those at the pixel's centre.

*Surface.* Normals of vertices are the means of those of the faces around, by area; normal, texture
place and colour are interpolated in perspective. See ``reference_surface.py`` for patterns.

*Light.* Ambient light goes from ``ground`` to ``sky`` with the normal's height; the share that
surfaces nearby leave open is estimated from the nearness on the screen, and what they reflect is
given back. Lights from afar are diffuse, around the terminator as far as ``wrap`` says and there
farther in red, and shine (Blinn). The first one casts shadows, by a map over those vertices that
are in the picture or close beside it.

*Background.* A turned, scaled and mirrored piece of a picture of the bank, from the level that is
as blurred as asked and no finer than a pixel.

*Lens.* Defocus (Gaussian) and motion blur in linear light, edges repeated; exposure and darker
corners, saturation, display curve, noise, eight bits, mirror.
"""

import numpy as np
import torch
from scipy.ndimage import correlate1d, map_coordinates

from manip_training.synthetic.reference_surface import Surface, hashed, light_of, scrambled
from manip_training.synthetic.render_input import LENS, PLACEMENT, Rendered, RenderInput

NEAR_LIMIT = 0.02  # [m]
SHADOW_SIZE = 128  # [texels]
LIGHT_HEIGHT = 16.0  # [m] added to heights towards the light
CAST_MARGIN = 0.25  # share of the picture beside it in which what is there casts shadows
GAMMA = 2.2  # of the backgrounds
MOST_LEVELS = 8
MOST_DEFOCUS, LEAST_DEFOCUS = 3.0, 0.05  # [px]
MOST_MOTION, LEAST_MOTION, MOTION_TAPS = 16.0, 0.3, 7

Named = dict[str, np.ndarray]


def draw(scene: RenderInput, size: int, supersample: int) -> Rendered:
    """All images of a batch, on a CPU.

    Args:
        scene: Of sound values: what is not a number is the kernels' business.
        size: Side of the pictures [px].
        supersample: Samples across a pixel.
    """
    shared = ("faces", "face_part", "backgrounds")
    values = {name: value.cpu().numpy() for name, value in vars(scene).items()}
    images = [
        _draw_one(
            {name: value if name in shared else value[row] for name, value in values.items()},
            size,
            supersample,
        )
        for row in range(len(scene))
    ]
    image, depth, part = (torch.as_tensor(np.stack(maps)) for maps in zip(*images, strict=True))
    return Rendered(image=image, depth=depth.float(), part=part)


def _draw_one(given: Named, size: int, supersample: int) -> tuple[np.ndarray, ...]:
    for name, value in given.items():
        if value.dtype == np.float32:
            given[name] = value.astype(np.float64)
    vertices, faces, camera = given["vertices"], given["faces"], given["camera"]
    screen = project(vertices, camera)
    centres = np.arange(size, dtype=np.float64)
    offsets = (np.arange(supersample) + 0.5) / supersample - 0.5
    places = (centres[:, None] + offsets).ravel()
    seen, near = visible(screen, faces, places)
    centre_seen, centre_near = visible(screen, faces, centres)

    sums = np.zeros((size, size, 3))
    rows, columns = np.nonzero(seen >= 0)
    if len(rows):
        surface = surface_at(given, screen, seen[rows, columns], places[columns], places[rows])
        shadow = _ShadowMap(given, screen, size)
        light = light_of(
            surface,
            given,
            _open_share(surface, near[::supersample, ::supersample], places[0], camera),
            shadow.share(surface),
        )
        np.add.at(sums, (rows // supersample, columns // supersample), light)
    covered = (seen >= 0).reshape(size, supersample, size, supersample).mean((1, 3))[..., None]
    linear = sums / supersample**2 + background(given, size) * (1 - covered)

    image = developed(linear, given, size)
    depth = np.where(centre_seen >= 0, 1 / np.where(centre_near > 0, centre_near, 1), 0)
    part = np.where(centre_seen >= 0, 1 + given["face_part"][centre_seen], 0).astype(np.uint8)
    maps = (np.moveaxis(image, 2, 0), depth, part)
    return tuple(m[..., ::-1].copy() if given["mirror"] else m for m in maps)


def project(vertices: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """``(V, 3)`` column and row [px] and 1/z; not a number for what is not drawn."""
    z = np.where(vertices[:, 2] > NEAR_LIMIT, vertices[:, 2], np.nan)
    return np.column_stack((vertices[:, :2] / z[:, None] * camera[:2] + camera[2:], 1 / z))


def visible(
    screen: np.ndarray, faces: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which triangle is the nearest at each place of a square grid, -1 for none, and its nearness.

    Args:
        screen: ``(V, 3)`` place on the screen and nearness, which is linear across a triangle.
        faces: ``(F, 3)``.
        places: ``(N,)`` rising, of both the columns and the rows.
    """
    shown = np.full((len(places), len(places)), -1)
    nearest = np.zeros(shown.shape)
    for index, corners in enumerate(screen[faces]):
        if not np.isfinite(corners).all():
            continue
        first = np.searchsorted(places, corners[:, :2].min(axis=0))
        last = np.searchsorted(places, corners[:, :2].max(axis=0), side="right")
        x, y = places[first[0] : last[0]], places[first[1] : last[1], None]
        shares = screen_shares(corners, x, y)
        if shares is None:
            continue
        near = np.tensordot(shares, corners[:, 2], (0, 0))
        window = (slice(first[1], last[1]), slice(first[0], last[0]))
        wins = (shares >= 0).all(axis=0) & (near > nearest[window])
        shown[window][wins] = index
        nearest[window][wins] = near[wins]
    return shown, nearest


def screen_shares(corners: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """``(3, ...)`` barycentric shares of places on the screen; none for a triangle's back."""
    (ax, ay), (bx, by), (cx, cy) = corners[:, :2]
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if area >= -1e-9:
        return None
    b = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
    c = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
    return np.stack((1 - b - c, b, c))


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """``(V, 3)`` unit."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    sums = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(sums, faces[:, k], np.cross(b - a, c - a))
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-30)


def surface_at(
    given: Named, screen: np.ndarray, triangle: np.ndarray, x: np.ndarray, y: np.ndarray
) -> Surface:
    """What is seen of ``(N,)`` triangles at places of the picture [px]."""
    corners = screen[given["faces"][triangle]]
    shares = np.stack([screen_shares(*each) for each in zip(corners, x, y, strict=True)])  # (N, 3)
    shares *= corners[..., 2]
    shares /= shares.sum(axis=1, keepdims=True)
    normals = vertex_normals(given["vertices"], given["faces"])

    def spread(values: np.ndarray) -> np.ndarray:
        return np.einsum("nk,nkc->nc", shares, values[given["faces"][triangle]])

    normal = spread(normals)
    return Surface(
        place=spread(given["vertices"]),
        normal=normal / np.linalg.norm(normal, axis=1, keepdims=True),
        texture=spread(given["texture"]),
        colour=spread(given["colour"]),
        part=given["face_part"][triangle],
    )


def _open_share(surface: Surface, near: np.ndarray, first: float, camera: np.ndarray) -> np.ndarray:
    """``(N,)`` share of ambient light: eight places of a disc of 3.5 cm, from the nearness there.

    Args:
        surface: Of N points.
        near: ``(S, S)`` at the first sample of every pixel.
        first: Where in the pixel that is [px].
        camera: ``(4,)``.
    """
    radius, size = 0.035, len(near)
    at = surface.place[:, :2] / surface.place[:, 2:] * camera[:2] + camera[2:]
    reach = np.minimum(radius * camera[0] / surface.place[:, 2], 0.2 * size)
    hidden = np.zeros(len(at))
    for k in range(8):
        angle, distance = k * np.pi * (3 - 5**0.5), np.sqrt((k + 0.5) / 8)
        step = distance * np.array((np.cos(angle), np.sin(angle)))
        u, v = np.clip(np.floor(at + reach[:, None] * step + 0.5), 0, size - 1).astype(int).T
        z = 1 / np.maximum(near[v, u], 1e-4)
        ray = (np.column_stack((u, v)) + first - camera[2:]) / camera[:2]
        to = np.column_stack((ray * z[:, None], z)) - surface.place
        squared = (to**2).sum(axis=1) + 1e-8
        above = (to * surface.normal).sum(axis=1) / np.sqrt(squared) - 0.1
        hidden += np.clip(above, 0, 1) * np.clip(1 - squared / radius**2, 0, 1)
    return np.clip(1 - 1.8 / 8 * hidden, 0, 1)


class _ShadowMap:
    """Heights towards the first light, over what is in the picture or close beside it."""

    def __init__(self, given: Named, screen: np.ndarray, size: int):
        towards = given["lights"][0, :3]
        self.towards = towards / np.linalg.norm(towards)
        other = np.eye(3)[0 if abs(self.towards[0]) < 0.6 else 1]
        right = np.cross(other, -self.towards)
        right /= np.linalg.norm(right)
        self.axes = np.stack((right, np.cross(-self.towards, right)))
        across = given["vertices"] @ self.axes.T
        low, high = -CAST_MARGIN * size, (1 + CAST_MARGIN) * size
        casts = ((screen[:, :2] > low) & (screen[:, :2] < high)).all(axis=1)
        self.empty = not casts.any()
        if self.empty:
            return
        least, most = across[casts].min(axis=0), across[casts].max(axis=0)
        self.texel = max(*(most - least), 1e-3) / (SHADOW_SIZE - 6)
        self.origin = (least + most) / 2 - (SHADOW_SIZE - 1) / 2 * self.texel
        places = self._places(given["vertices"])
        places[~np.isfinite(screen[:, 0])] = np.nan
        _, self.heights = visible(places, given["faces"], np.arange(float(SHADOW_SIZE)))
        self.wrap = given["material"][:, 8]

    def _places(self, points: np.ndarray) -> np.ndarray:
        across = (points @ self.axes.T - self.origin) / self.texel
        return np.column_stack((across, points @ self.towards + LIGHT_HEIGHT))

    def share(self, surface: Surface) -> np.ndarray:
        """``(N,)`` of the first light that reaches points: nine comparisons, smoothed."""
        if self.empty:
            return np.ones(len(surface.place))
        at = self._places(surface.place + 1.5 * self.texel * surface.normal)
        facing = np.clip(surface.normal @ self.towards, 0, 1)
        height = at[:, 2] + 0.001 + 0.006 * self.wrap[surface.part] * (1 - facing)
        padded = np.pad(self.heights, 8)
        low = np.floor(np.clip(at[:, :2], -4, SHADOW_SIZE + 4))
        tx, ty = np.clip(at[:, :2] - low, 0, 1).T
        u, v = low.astype(int).T + 8
        total = np.zeros(len(at))
        for j, row in zip((-1, 0, 1, 2), (1 - ty, 1, 1, ty), strict=True):
            for i, column in zip((-1, 0, 1, 2), (1 - tx, 1, 1, tx), strict=True):
                total += row * column * (padded[v + j, u + i] <= height)
        return total / 9


def background(given: Named, size: int) -> np.ndarray:
    """``(S, S, 3)`` linear light."""
    picture = given["backgrounds"][given["background"]].astype(np.float64) / 255
    height, width = picture.shape[1:]
    x, y, scale, turn, blur = (given["placement"][PLACEMENT.index(name)] for name in PLACEMENT)
    wanted = max(blur, np.log2(max(abs(scale) * width / size, 1e-30)), 0.0)
    light = picture**GAMMA
    taps = np.array((1, 3, 3, 1)) / 8
    for _ in range(int(wanted + 0.5)):
        if min(light.shape[1:]) < 8 or light.shape[1] <= height >> (MOST_LEVELS - 1):
            break
        rows, columns = light.shape[1] // 2, light.shape[2] // 2
        for axis in (1, 2):
            light = correlate1d(light, taps, axis=axis, mode="nearest", origin=-1)
        light = light[:, ::2, ::2][:, :rows, :columns]
    level = np.round(np.clip(light, 0, 1) ** (1 / GAMMA) * 255) / 255
    v, u = np.mgrid[:size, :size] / size - 0.5
    across = x + scale * (np.cos(turn) * u - np.sin(turn) * v)
    down = (y + scale * (np.sin(turn) * u + np.cos(turn) * v)) * width / height
    # Mirrored at its borders is what ``reflect`` does: d c b a | a b c d | d c b a.
    at = np.stack((down * level.shape[1] - 0.5, across * level.shape[2] - 0.5))
    encoded = np.stack([map_coordinates(c, at, order=1, mode="reflect") for c in level], axis=-1)
    return encoded**GAMMA * given["background_gain"]


def developed(linear: np.ndarray, given: Named, size: int) -> np.ndarray:
    """``(S, S, 3)`` uint8, not yet mirrored."""
    lens = dict(zip(LENS, given["lens"], strict=True))
    if lens["blur"] > LEAST_DEFOCUS:
        sigma = min(lens["blur"], MOST_DEFOCUS)
        reach = min(int(2.6 * sigma) + 1, 8)
        taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        for axis in (0, 1):
            linear = correlate1d(linear, taps / taps.sum(), axis=axis, mode="nearest")
    v, u = np.mgrid[:size, :size].astype(np.float64)
    motion = np.array((lens["motion_y"], lens["motion_x"]))
    if np.linalg.norm(motion) > LEAST_MOTION:
        motion *= min(1.0, MOST_MOTION / np.linalg.norm(motion))
        steps = np.linspace(-0.5, 0.5, MOTION_TAPS)[:, None] * motion
        linear = np.mean(
            [
                np.stack(
                    [
                        map_coordinates(c, (v + dy, u + dx), order=1, mode="nearest")
                        for c in np.moveaxis(linear, 2, 0)
                    ],
                    axis=-1,
                )
                for dy, dx in steps
            ],
            axis=0,
        )
    half = 0.5 * (size - 1)
    corner = ((u - half) ** 2 + (v - half) ** 2) / (2 * half**2)
    linear = linear * (lens["exposure"] * np.maximum(1 - lens["vignette"] * corner, 0))[..., None]
    grey = linear @ np.array((0.2126, 0.7152, 0.0722))
    linear = grey[..., None] + lens["saturation"] * (linear - grey[..., None])
    value = np.clip(linear, 0, 1) ** (1 / max(lens["gamma"], 0.1))
    index = np.arange(size * size * 3, dtype=np.uint32).reshape(size, size, 3)
    seed = scrambled(np.array(given["seed"]).astype(np.uint32).reshape(1))
    noise = hashed(index, seed)
    bytes_of = sum((noise >> np.uint32(shift)) & np.uint32(255) for shift in (0, 8, 16, 24))
    # Four bytes: mean 510, variance 4 (256^2 - 1) / 12.
    normal = (bytes_of.astype(np.float64) - 510) / np.sqrt(4 * (256**2 - 1) / 12)
    return np.floor(np.clip(value + lens["noise"] * normal, 0, 1) * 255 + 0.5).astype(np.uint8)
