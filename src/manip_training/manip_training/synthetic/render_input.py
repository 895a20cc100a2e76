"""What the rasteriser draws: a batch of scenes of one fixed topology, as plain tensors.

All images of a batch have the same triangles; what an image does not show is moved behind the
camera. So a batch is a handful of tensors, sampled, posed and drawn without a loop over images.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

# Light directions and colours of an image; the first one casts shadows.
NUM_LIGHTS = 3

# Columns of ``RenderInput.material``.
MATERIAL = (
    "pattern",  # 0 plain, 1 cloudy noise, 2 stripes, 3 checks, 4 speckles
    "frequency",  # of the pattern and of the unevenness [1/m]
    "contrast",  # 0 to 1: how far the second colour shows
    "second_red",
    "second_green",
    "second_blue",
    "specular",  # strength of the highlight, 0 to 1
    "shininess",  # exponent of the highlight (Blinn)
    "wrap",  # 0 hard, 0.5 soft: light that bleeds around the terminator, as in skin
    "bump",  # strength of the fine unevenness of the surface, 0 to 1
)

# Columns of ``RenderInput.placement``: crop pixel (u, v) shows the bank's picture at
# ``(x, y) = centre + scale * R(turn) @ ((u, v) / size - 0.5)``, in shares of the bank picture's
# width, the left and upper borders being at 0; beyond its borders it goes on mirrored. ``blur`` is
# the level of it, each half as fine as the one before: 0 is sharp, and no level is shown that is
# finer than the pixels.
PLACEMENT = ("centre_x", "centre_y", "scale", "turn", "blur")

# Columns of ``RenderInput.lens``, what camera and picture format do afterwards.
LENS = (
    "exposure",  # factor on linear light
    "gamma",  # of the display curve, 2.2 the usual
    "saturation",  # 1 leaves it
    "blur",  # standard deviation of the defocus [px], up to 3
    "motion_x",  # length of the motion blur [px], up to 16
    "motion_y",
    "noise",  # standard deviation, the range being 0 to 1
    "vignette",  # darkening at the corners, 0 to 1
)


@dataclass
class RenderInput:
    """B scenes of V vertices, F triangles and P parts, on one device; float32 unless noted.

    Colours are linear, 0 to 1. The camera looks along +z, x right and y down.

    Attributes:
        vertices: ``(B, V, 3)`` [m], camera frame; triangles with a vertex nearer than 2 cm, or
            behind, are not drawn.
        faces: ``(F, 3)`` int32, counter-clockwise seen from outside; only the outside is drawn.
        face_part: ``(F,)`` int32, 0 to P-1.
        texture: ``(B, V, 3)`` [m] where each vertex lies in the solid texture of its part.
        colour: ``(B, V, 3)`` of the surface.
        material: ``(B, P, len(MATERIAL))``.
        lights: ``(B, NUM_LIGHTS, 6)`` unit direction towards the light, then its colour.
        sky, ground: ``(B, 3)`` ambient light from above and from below.
        up: ``(B, 3)`` unit, camera frame.
        camera: ``(B, 4)`` fx, fy, cx, cy of the picture [px]; pixel centres at whole numbers.
        backgrounds: ``(N, 3, H, W)`` uint8, gamma encoded as pictures are.
        background: ``(B,)`` int32, which of them.
        placement: ``(B, len(PLACEMENT))``.
        background_gain: ``(B, 3)`` factors on its linear colours.
        lens: ``(B, len(LENS))``.
        seed: ``(B,)`` int32, of the noise and the patterns.
        mirror: ``(B,)`` bool: the picture is flipped left to right after everything else, all
            maps with it.
    """

    vertices: Tensor
    faces: Tensor
    face_part: Tensor
    texture: Tensor
    colour: Tensor
    material: Tensor
    lights: Tensor
    sky: Tensor
    ground: Tensor
    up: Tensor
    camera: Tensor
    backgrounds: Tensor
    background: Tensor
    placement: Tensor
    background_gain: Tensor
    lens: Tensor
    seed: Tensor
    mirror: Tensor

    def __len__(self) -> int:
        return len(self.vertices)

    def to(self, device: torch.device | str) -> "RenderInput":
        """The same on another device."""
        return RenderInput(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def __getitem__(self, rows) -> "RenderInput":
        """Some of the images."""
        shared = ("faces", "face_part", "backgrounds")
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return RenderInput(**{k: v if k in shared else v[rows] for k, v in values.items()})


@dataclass
class Rendered:
    """Pictures of S x S pixels, all maps flipped where the picture is.

    Attributes:
        image: ``(B, 3, S, S)`` uint8 RGB.
        depth: ``(B, S, S)`` float32 [m] of the nearest surface at the pixel's centre, 0 where none.
        part: ``(B, S, S)`` uint8: 1 + the part seen at the pixel's centre, 0 the background.
    """

    image: Tensor
    depth: Tensor
    part: Tensor
