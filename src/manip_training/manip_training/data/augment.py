"""Random changes of training crops, on the device, that keep picture and labels in agreement.

Turns are written out instead of multiplied as matrices, whose products a GPU may be told to round
to ten bits; nothing is copied from the host, which would have to wait for the device.
"""

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor
from torch.nn import functional as F

from manip_model.hand_model import HandModel
from manip_training.batch import Batch
from manip_training.data.cache import mixed_seed

# Labels (…, 3) in the camera's frame: places, and directions, which turn alike.
_POINTS = ("joints", "object_position", "contact_point")
_DIRECTIONS = ("contact_force_direction",)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How strongly to change a picture; zeros change nothing.

    Attributes:
        roll: Largest turn about the optical axis, either way [rad].
        zoom: The picture is scaled by up to ``exp(±zoom)``.
        shift: Largest displacement along each axis, as a share of the picture's side.
        mirror: Probability of a mirror image, which is a hand of the other side. Objects have no
            pose in it, since a mesh in the mirror is another mesh.
        brightness: Largest amount added, the range of colours being 0 to 1.
        contrast: The spread about the mean grey is scaled by up to ``exp(±contrast)``.
        colour: Each channel is scaled by up to ``exp(±colour)``.
        noise: Largest standard deviation of noise, the range being 0 to 1.
        blur: Probability of blur, of a strength drawn up to a Gaussian's of 1 px.
        occlusion: Probability that a square of noise hides a part.
        occlusion_size: Smallest and largest side of that square, as a share of the picture's side.
    """

    roll: float = pi / 6
    zoom: float = 0.15
    shift: float = 0.05
    mirror: float = 0.0
    brightness: float = 0.15
    contrast: float = 0.25
    colour: float = 0.1
    noise: float = 0.03
    blur: float = 0.3
    occlusion: float = 0.3
    occlusion_size: tuple[float, float] = (0.1, 0.3)

    def __post_init__(self):
        object.__setattr__(self, "occlusion_size", tuple(self.occlusion_size))
        for name in ("roll", "zoom", "shift", "brightness", "contrast", "colour", "noise"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be 0 or more and finite, got {value}")
        for name in ("mirror", "blur", "occlusion"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be a probability, 0 to 1, got {value}")
        low_high = self.occlusion_size
        if len(low_high) != 2 or not 0 < low_high[0] <= low_high[1] <= 1:
            raise ValueError(f"occlusion_size must rise within 0 and 1, got {low_high}")

    @property
    def nothing(self) -> bool:
        """Every picture stays as it is."""
        return not any(
            (
                *(self.roll, self.zoom, self.shift, self.mirror, self.brightness),
                *(self.contrast, self.colour, self.noise, self.blur, self.occlusion),
            )
        )


class _Draw:
    """Random numbers of one batch."""

    def __init__(self, size: int, device: torch.device, seed: int):
        self._size, self._device = size, device
        self._generator = torch.Generator(device).manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """``(B, *shape)``."""
        unit = torch.rand((self._size, *shape), generator=self._generator, device=self._device)
        return low + (high - low) * unit

    def normal(self, *shape: int) -> Tensor:
        """``(B, *shape)``."""
        return torch.randn((self._size, *shape), generator=self._generator, device=self._device)


def augment(
    batch: Batch, config: AugmentConfig, hand_model: HandModel, seed: int, step: int
) -> Batch:
    """A changed copy of a batch; a function of its arguments alone, so that a resumed run goes on.

    Roll, zoom and shift are one change of the camera: it turns about its optical axis, which turns
    all labels in space, and looks through another focal length and principal point, which does not
    touch them. The roll's camera is chosen so that the middle of the picture stays there.

    Args:
        batch: As ``manip_training.batch`` has it; pictures of any dtype with values 0 to 255.
        config: What to do.
        hand_model: Knows where the wrist lies, about which the hand turns; on the batch's device.
        seed, step: Of the run and of the batch.
    """
    if config.nothing:
        return batch
    draw = _Draw(len(batch["image"]), batch["image"].device, mixed_seed(seed, step))
    side = batch["image"].shape[-1]
    flipped = draw.uniform(0, 1) < config.mirror
    roll = draw.uniform(-config.roll, config.roll)
    zoom = torch.exp(draw.uniform(-config.zoom, config.zoom))
    shift = side * draw.uniform(-config.shift, config.shift, 2)

    changed = _mirror(batch, flipped)
    before = changed["camera"]
    after = _move_camera(before, roll, zoom, shift, side)
    changed |= _turn(changed, roll, hand_model)
    changed["camera"] = after
    slopes = _slopes(changed["keypoints_px"], before)
    changed["keypoints_px"] = _pixels(_rolled(slopes, roll), after)
    image = _warp(batch["image"].float(), _sources(before, after, roll, side), flipped)
    image = _hide(_recolour(image / 255, config, draw), config, draw).clamp(0, 1) * 255
    if not batch["image"].dtype.is_floating_point:
        image = image.round()
    changed["image"] = image.to(batch["image"].dtype)
    return changed


def _mirror(batch: Batch, flipped: Tensor) -> Batch:
    """Labels seen in a mirror across the picture, for those samples ``(B,)`` that are flipped."""
    last = batch["image"].shape[-1] - 1
    camera, pixels = batch["camera"], batch["keypoints_px"]
    # Of a vector that stands for a turn, the mirror turns the other two parts about.
    pose = -_across(batch["mano_pose"].unflatten(1, (16, 3)))
    seen = {
        "camera": torch.stack((camera[:, 0], camera[:, 1], last - camera[:, 2], camera[:, 3]), 1),
        "keypoints_px": torch.stack((last - pixels[..., 0], pixels[..., 1]), -1),
        "side": 1 - batch["side"],
        "mano_pose": pose.flatten(1),
        "object_rotation": _across(_across(batch["object_rotation"]).mT).mT,
        "object_pose_valid": torch.zeros_like(batch["object_pose_valid"]),
        "object_surface": _across(batch["object_surface"].unflatten(-1, (2, 3))).flatten(-2),
    }
    for name in (*_POINTS, *_DIRECTIONS, "mano_translation"):
        seen[name] = _across(batch[name])
    return batch | {
        name: torch.where(flipped.view(-1, *[1] * (value.ndim - 1)), value, batch[name])
        for name, value in seen.items()
    }


def _across(vectors: Tensor) -> Tensor:
    """Vectors ``(…, 3)`` seen in a mirror across the plane x = 0."""
    return torch.cat((-vectors[..., :1], vectors[..., 1:]), dim=-1)


def _turn(batch: Batch, roll: Tensor, hand_model: HandModel) -> Batch:
    """The labels that change when the camera's frame is turned by ``roll``."""
    turned = {name: _rolled(batch[name], roll) for name in (*_POINTS, *_DIRECTIONS)}
    turned["object_rotation"] = _rolled(batch["object_rotation"].mT, roll).mT
    surface = batch["object_surface"].unflatten(-1, (2, 3))
    turned["object_surface"] = _rolled(surface, roll).flatten(-2)
    pose = batch["mano_pose"]
    root = _rolled_after(pose[:, :3], roll)
    # The mesh turns about the wrist's place at rest, not about the camera.
    rest = hand_model.wrist(batch["mano_shape"], batch["side"])
    translation = _rolled(batch["mano_translation"] + rest, roll) - rest
    valid = batch["mano_valid"][:, None]
    turned["mano_pose"] = torch.where(valid, torch.cat((root, pose[:, 3:]), 1), pose)
    turned["mano_translation"] = torch.where(valid, translation, batch["mano_translation"])
    return turned


def _rolled(vectors: Tensor, roll: Tensor) -> Tensor:
    """Vectors ``(B, …, 2 or 3)`` turned about the z axis, from x to y, by ``(B,)`` [rad]."""
    roll = roll.view(-1, *[1] * (vectors.ndim - 1))
    x, y, rest = vectors[..., :1], vectors[..., 1:2], vectors[..., 2:]
    cosine, sine = torch.cos(roll), torch.sin(roll)
    return torch.cat((cosine * x - sine * y, sine * x + cosine * y, rest), dim=-1)


def _rolled_after(rotvec: Tensor, roll: Tensor) -> Tensor:
    """Rotation vectors ``(B, 3)`` [rad] of turns followed by a turn about z; by quaternions."""
    half = 0.5 * torch.linalg.vector_norm(rotvec, dim=-1, keepdim=True)
    w, xyz = torch.cos(half), 0.5 * torch.sinc(half / pi) * rotvec
    cosine, sine = torch.cos(0.5 * roll)[:, None], torch.sin(0.5 * roll)[:, None]
    z = xyz[:, 2:]
    w, z = cosine * w - sine * z, cosine * z + sine * w
    # Multiplying by the roll's quaternion turns x and y by half the roll.
    xyz = torch.cat((_rolled(xyz[:, :2], 0.5 * roll), z), dim=-1)
    sign = torch.where(w < 0, -1.0, 1.0)
    length = torch.linalg.vector_norm(xyz, dim=-1, keepdim=True)
    angle = 2 * torch.atan2(length, w.abs())
    return sign * xyz * torch.where(length < 1e-6, 2.0, angle / length.clamp(min=1e-6))


def _slopes(pixels: Tensor, camera: Tensor) -> Tensor:
    """x/z and y/z ``(B, N, 2)`` of pixels ``(B, N, 2)`` of cameras ``(B, 4)``."""
    return (pixels - camera[:, None, 2:]) / camera[:, None, :2]


def _pixels(slopes: Tensor, camera: Tensor) -> Tensor:
    """Pixels ``(B, N, 2)`` of slopes ``(B, N, 2)``; the inverse of :func:`_slopes`."""
    return slopes * camera[:, None, :2] + camera[:, None, 2:]


def _move_camera(camera: Tensor, roll: Tensor, zoom: Tensor, shift: Tensor, side: int) -> Tensor:
    """The camera ``(B, 4)`` that sees, once turned, what was in the middle ``shift`` beside it."""
    middle = torch.full_like(camera[:, None, :2], 0.5 * (side - 1))
    focal = camera[:, :2] * zoom[:, None]
    direction = _rolled(_slopes(middle, camera), roll)
    return torch.cat((focal, (middle - focal[:, None] * direction)[:, 0] + shift), dim=1)


def _sources(before: Tensor, after: Tensor, roll: Tensor, side: int) -> Tensor:
    """``(B, side, side, 2)`` where in the old picture each pixel of the new one comes from."""
    line = torch.arange(side, dtype=before.dtype, device=before.device)
    v, u = torch.meshgrid(line, line, indexing="ij")
    slopes = _slopes(torch.stack((u, v), dim=-1).view(1, -1, 2), after)
    return _pixels(_rolled(slopes, -roll), before).unflatten(1, (side, side))


def _warp(image: Tensor, sources: Tensor, flipped: Tensor) -> Tensor:
    """``image`` ``(B, 3, S, S)``, or its mirror image, at ``sources``; its edge goes on outside."""
    last = image.shape[-1] - 1
    grid = sources * (2 / last) - 1
    across = torch.where(flipped, -1.0, 1.0)[:, None, None]
    grid = torch.stack((grid[..., 0] * across, grid[..., 1]), dim=-1)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)


def _recolour(image: Tensor, config: AugmentConfig, draw: _Draw) -> Tensor:
    """Blur, contrast, brightness, colour and noise of pictures with values 0 to 1."""
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    contrast = torch.exp(draw.uniform(-config.contrast, config.contrast, 1, 1, 1))
    brightness = draw.uniform(-config.brightness, config.brightness, 1, 1, 1)
    colour = torch.exp(draw.uniform(-config.colour, config.colour, 3, 1, 1))
    share = draw.uniform(0, 1, 1, 1, 1) * (draw.uniform(0, 1, 1, 1, 1) < config.blur)
    image = image + share * (_smooth(image) - image)
    image = ((image - mean) * contrast + mean + brightness) * colour
    return image + draw.uniform(0, config.noise, 1, 1, 1) * draw.normal(*image.shape[1:])


def _smooth(image: Tensor) -> Tensor:
    """Pictures under a Gaussian of standard deviation 1 px, along rows and columns in turn."""
    taps = torch.exp(-0.5 * torch.arange(-2.0, 3.0, device=image.device) ** 2)
    taps = (taps / taps.sum()).expand(3, 1, 1, 5)
    image = F.pad(image, (2, 2, 2, 2), mode="replicate")
    return F.conv2d(F.conv2d(image, taps, groups=3), taps.mT, groups=3)


def _hide(image: Tensor, config: AugmentConfig, draw: _Draw) -> Tensor:
    """A square of a plain colour and noise before a part of some pictures."""
    side = image.shape[-1]
    size = draw.uniform(*config.occlusion_size, 1, 1) * side
    centre = draw.uniform(0, side, 2)[..., None, None]
    line = torch.arange(side, device=image.device)
    inside = ((line - centre[:, 0]).abs() < 0.5 * size) & (
        (line[:, None] - centre[:, 1]).abs() < 0.5 * size
    )
    chosen = draw.uniform(0, 1, 1, 1) < config.occlusion
    cover = draw.uniform(0, 1, 3, 1, 1) + 0.1 * draw.normal(1, side, side)
    return torch.where((inside & chosen)[:, None], cover, image)
