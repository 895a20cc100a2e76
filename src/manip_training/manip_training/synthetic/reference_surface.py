"""Surfaces of the specification: their patterns, and the light that they send to the camera."""

from dataclasses import dataclass

import numpy as np

from manip_training.synthetic.render_input import MATERIAL


@dataclass
class Surface:
    """N points of surfaces, in the camera's frame.

    Attributes:
        place: ``(N, 3)`` [m].
        normal: ``(N, 3)`` unit.
        texture: ``(N, 3)`` [m] place in the solid texture.
        colour: ``(N, 3)`` linear.
        part: ``(N,)``.
    """

    place: np.ndarray
    normal: np.ndarray
    texture: np.ndarray
    colour: np.ndarray
    part: np.ndarray


def scrambled(h: np.ndarray) -> np.ndarray:
    """Mixes the bits of uint32 numbers: the last step of xxHash32."""
    h = (h ^ (h >> np.uint32(15))) * np.uint32(0x85EBCA77)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE3D)
    return h ^ (h >> np.uint32(16))


def hashed(number: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """A hash of uint32 numbers."""
    return scrambled(number * np.uint32(0x9E3779B1) ^ seed)


def _cell_hash(cell: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """A hash of ``(N, 3)`` whole places."""
    x, y, z = cell.astype(np.int64).astype(np.uint32).T
    y, z = y * np.uint32(0x85EBCA77), z * np.uint32(0xC2B2AE3D)
    return scrambled(x * np.uint32(0x9E3779B1) ^ y ^ z ^ seed)


def _share(h: np.ndarray) -> np.ndarray:
    """0 to 1, of the upper 24 bits."""
    return (h >> np.uint32(8)) / 2.0**24


def _step(value: np.ndarray, middle: float, half: np.ndarray | float) -> np.ndarray:
    """From 0 to 1 around ``middle``, within ``half`` to either side, a cubic."""
    t = np.clip((value - middle) / (2 * half) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _kept(rate: np.ndarray) -> np.ndarray:
    """What remains of a detail that repeats ``rate`` times a pixel."""
    return np.clip(2 - 2 * rate, 0, 1)


def value_noise(place: np.ndarray, seed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Random numbers at whole places, cubic in between: ``(N,)``, and ``(N, 3)`` the gradient."""
    cell = np.floor(place)
    t = place - cell
    weight, slope = t * t * (3 - 2 * t), 6 * t * (1 - t)
    value, gradient = np.zeros(len(place)), np.zeros_like(place)
    for corner in np.ndindex(2, 2, 2):
        number = _share(_cell_hash(cell + corner, seed))
        factors = np.where(corner, weight, 1 - weight)
        value += number * factors.prod(axis=1)
        for axis in range(3):
            changed = factors.copy()
            changed[:, axis] = slope[:, axis] * (1 if corner[axis] else -1)
            gradient[:, axis] += number * changed.prod(axis=1)
    return value, gradient


def cloudy_noise(
    place: np.ndarray, seed: np.ndarray, rate: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Three octaves, each half as strong as the one before; in the gradient all as strong."""
    value, gradient = np.full(len(place), 0.5), np.zeros_like(place)
    for k in range(3):
        noise, slope = value_noise(place * 2**k, seed + np.uint32(k))
        keep = _kept(rate * 2**k)
        value += 4 / 7 / 2**k * keep * (noise - 0.5)
        gradient += keep[:, None] * slope
    return value, gradient


def pattern(
    kind: np.ndarray, place: np.ndarray, seed: np.ndarray, rate: np.ndarray, cloud: np.ndarray
) -> np.ndarray:
    """``(N,)`` share of the second colour, before contrast."""
    direction = np.stack([_share(scrambled(seed ^ np.uint32(k))) - 0.5 for k in (1, 2, 3)], 1)
    across = (direction * place).sum(1) / np.sqrt((direction**2).sum(1) + 1e-6)
    across += 0.6 * (cloud - 0.5)
    wave = np.abs(2 * (across - np.floor(across)) - 1)
    keep = _kept(rate)
    stripes = 0.5 + keep * (_step(wave, 0.5, np.maximum(0.1, rate)) - 0.5)

    cell = np.floor(place)
    edge = 0.5 - np.abs(place - cell - 0.5)
    height = np.clip(2 * edge / np.maximum(rate, 1e-6)[:, None], 0, 1)  # steps a pixel wide
    checks = 0.5 - 0.5 * keep * (height * (1 - 2 * (cell % 2))).prod(axis=1)

    number = _cell_hash(cell, seed)
    radius = 0.1 + 0.2 * _share(scrambled(number ^ np.uint32(4)))
    middle = np.stack([_share(scrambled(number ^ np.uint32(k))) for k in (1, 2, 3)], 1)
    inside = radius - np.linalg.norm(place - cell - 0.3 - 0.4 * middle, axis=1)
    speckles = keep * _step(inside, 0.0, np.maximum(0.025, 0.5 * rate))

    clouds = _step(cloud, 0.5, 0.2)
    return np.select([kind == k for k in (1, 2, 3, 4)], [clouds, stripes, checks, speckles], 0.0)


def _look(
    surface: Surface, given: dict[str, np.ndarray], material: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Albedo and normal ``(N, 3)``, with pattern and unevenness."""
    image = np.array(given["seed"]).astype(np.uint32)
    seed = hashed(np.full(len(surface.part), image), surface.part.astype(np.uint32))
    frequency = material["frequency"]
    offset = np.stack([_share(scrambled(seed ^ np.uint32(k))) for k in (5, 6, 7)], axis=1)
    place = surface.texture * frequency[:, None] + offset
    rate = frequency * surface.place[:, 2] / given["camera"][0]
    cloud, gradient = cloudy_noise(place, seed, rate)
    second = pattern(material["pattern"], place, seed, rate, cloud) * material["contrast"]
    other = np.stack([material[f"second_{c}"] for c in ("red", "green", "blue")], axis=1)
    albedo = surface.colour + (other - surface.colour) * second[:, None]
    n = surface.normal
    tilt = 0.5 * material["bump"][:, None] * gradient
    n = n - (tilt - n * (tilt * n).sum(axis=1, keepdims=True))
    return albedo, n / np.linalg.norm(n, axis=1, keepdims=True)


def light_of(
    surface: Surface, given: dict[str, np.ndarray], opened: np.ndarray, lit: np.ndarray
) -> np.ndarray:
    """``(N, 3)`` linear light towards the camera.

    Args:
        surface: Of N points.
        given: The scene of one image.
        opened: ``(N,)`` share of ambient light.
        lit: ``(N,)`` share of the first light.
    """
    rows = given["material"][surface.part]
    material = {name: rows[:, k] for k, name in enumerate(MATERIAL)}
    albedo, n = _look(surface, given, material)
    towards = -surface.place / np.linalg.norm(surface.place, axis=1, keepdims=True)
    opened, lit = opened[:, None], lit[:, None]

    # A crevice gets light back from its own walls, in their colour: a geometric series.
    height = (0.5 + 0.5 * n @ given["up"])[:, None]
    light = given["ground"] + height * (given["sky"] - given["ground"])
    light = light * opened / (1 - np.minimum(albedo, 0.95) * (1 - opened))

    # Through soft materials red gets farther than green and blue.
    wrap = material["wrap"][:, None] * np.array((1.0, 0.6, 0.5))
    shine = np.zeros_like(light)
    for k, lamp in enumerate(given["lights"]):
        slant = (n @ lamp[:3])[:, None]
        direct = (0.7 + 0.3 * opened) * (lit if k == 0 else 1.0)
        pale = 1 + 0.5 * material["wrap"][:, None] * (lit - 1) if k == 0 else np.ones_like(lit)
        tint = np.concatenate((np.ones_like(pale), pale, pale), axis=1)
        light = light + lamp[3:] * direct * tint * np.maximum((slant + wrap) / (1 + wrap), 0)
        half = towards + lamp[:3]
        half /= np.sqrt((half**2).sum(axis=1, keepdims=True) + 1e-20)
        gloss = np.maximum((n * half).sum(axis=1), 0) ** material["shininess"]
        gloss = (material["specular"] * gloss)[:, None] * np.clip(4 * slant, 0, 1) * direct
        shine += gloss * lamp[3:]
    return np.clip(albedo * light + shine, 0, 1e3)
