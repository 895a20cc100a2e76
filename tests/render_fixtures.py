"""Small scenes to draw: shapes whose pictures are known, and a hand with things around it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manip_model.rotations import matrix_from_rotvec
from manip_training.synthetic.render_input import LENS, MATERIAL, NUM_LIGHTS, RenderInput
from model_fixtures import open_hand

FOCAL = 2.0  # in pictures' sides
PATTERNS = ("plain", "cloudy", "stripes", "checks", "speckles")


@dataclass
class Thing:
    """A mesh with one material: vertices [m] in the camera's frame, faces, colour, material."""

    vertices: Tensor
    faces: Tensor
    colour: tuple[float, float, float] = (0.5, 0.5, 0.5)
    material: dict[str, float] | None = None


def sphere(centre: tuple[float, float, float], radius: float, rings: int = 24) -> Thing:
    """A sphere of ``rings`` rings, twice as many triangles around."""
    polar = torch.linspace(0, np.pi, rings + 1)[:, None]
    around = torch.linspace(0, 2 * np.pi, 2 * rings + 1)[None]
    unit = torch.stack(
        (polar.sin() * around.cos(), polar.sin() * around.sin(), polar.cos() + 0 * around), dim=-1
    )
    a = torch.arange(rings)[:, None] * (2 * rings + 1) + torch.arange(2 * rings)
    b, c, d = a + 1, a + 2 * rings + 1, a + 2 * rings + 2
    faces = torch.cat((torch.stack((a, c, b), -1), torch.stack((b, c, d), -1))).reshape(-1, 3)
    return Thing(torch.tensor(centre) + radius * unit.reshape(-1, 3), faces)


def wall(
    left: float, right: float, top: float, bottom: float, depth: float, slope: float = 0.0
) -> Thing:
    """A rectangle [m] that faces the camera, its depth growing with the column by ``slope``."""
    x = torch.tensor([left, right, right, left])
    y = torch.tensor([top, top, bottom, bottom])
    # Rows go down: this is the order that an eye at the camera sees as counter-clockwise.
    faces = torch.tensor([[0, 2, 1], [0, 3, 2]])
    return Thing(torch.stack((x, y, depth + slope * x), dim=1), faces)


def box(centre: tuple[float, float, float], sides: tuple[float, float, float]) -> Thing:
    """A turned box, every face with its own corners."""
    vertices, faces = [], []
    for axis in range(3):
        for sign in (-1, 1):
            start = len(vertices)
            for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                corner = [0, 0, 0]
                corner[axis], corner[(axis + 1) % 3], corner[(axis + 2) % 3] = sign, a, b
                vertices.append(corner)
            faces += [[start + k for k in face] for face in ((0, 1, 2), (0, 2, 3))]
            if sign < 0:
                faces[-2:] = [face[::-1] for face in faces[-2:]]
    turn = matrix_from_rotvec(torch.tensor([[0.5, 0.3, 0.1]]))[0]
    corners = torch.tensor(vertices, dtype=torch.float32) * torch.tensor(sides) / 2
    return Thing(corners @ turn.T + torch.tensor(centre), torch.tensor(faces))


def hand(depth: float = 0.5, seed: int = 0) -> Thing:
    """The hand that ships, bent at random."""
    draw = torch.Generator().manual_seed(seed)
    pose = 0.15 * torch.randn(1, 16, 3, generator=draw)
    pose[:, 1:, 2] += 0.3
    pose[:, 0] = torch.tensor([0.1, -1.2, 0.3]) + 0.5 * torch.randn(3, generator=draw)
    vertices = open_hand()(
        matrix_from_rotvec(pose), torch.zeros(1, 10), torch.zeros(1, 3), torch.ones(1).long()
    ).vertices[0]
    vertices = vertices - vertices.mean(dim=0) + torch.tensor([0.0, 0.0, depth])
    skin = {"pattern": 1, "frequency": 70, "contrast": 0.6, "second_red": 0.5, "second_green": 0.2}
    skin |= {"second_blue": 0.13, "specular": 0.12, "shininess": 14, "wrap": 0.45, "bump": 0.35}
    return Thing(vertices, open_hand().faces, (0.55, 0.30, 0.20), skin)


def scene_of(*things: Thing, size: int, images: int = 1) -> RenderInput:
    """Things under a white sky, without lights, before a black background; sharp and noiseless."""
    sizes = torch.tensor([0] + [len(thing.vertices) for thing in things])
    starts = sizes.cumsum(0)
    plain = {"frequency": 1.0, "shininess": 10.0}
    material = torch.zeros(images, len(things), len(MATERIAL))
    for part, thing in enumerate(things):
        for name, value in {**plain, **(thing.material or {})}.items():
            material[:, part, MATERIAL.index(name)] = value
    vertices = torch.cat([thing.vertices for thing in things])
    colour = torch.cat([torch.tensor([t.colour]).expand(len(t.vertices), 3) for t in things])
    lights = torch.zeros(images, NUM_LIGHTS, 6)
    lights[:, :, 1] = -1
    lens = torch.zeros(images, len(LENS))
    lens[:, [LENS.index("exposure"), LENS.index("saturation")]] = 1
    lens[:, LENS.index("gamma")] = 2.2
    centre = (size - 1) / 2

    def each(*values: float) -> Tensor:
        return torch.tensor([values]).repeat(images, 1)

    return RenderInput(
        vertices=vertices.repeat(images, 1, 1),
        faces=torch.cat([t.faces + start for t, start in zip(things, starts, strict=False)]).int(),
        face_part=torch.cat(
            [torch.full((len(t.faces),), part) for part, t in enumerate(things)]
        ).int(),
        texture=vertices.repeat(images, 1, 1),
        colour=colour.repeat(images, 1, 1),
        material=material,
        lights=lights,
        sky=each(1.0, 1.0, 1.0),
        ground=each(1.0, 1.0, 1.0),
        up=each(0.0, -1.0, 0.0),
        camera=each(FOCAL * size, FOCAL * size, centre, centre),
        backgrounds=torch.zeros(1, 3, 16, 16, dtype=torch.uint8),
        background=torch.zeros(images, dtype=torch.int32),
        placement=each(0.5, 0.5, 1.0, 0.0, 0.0),
        background_gain=each(1.0, 1.0, 1.0),
        lens=lens,
        seed=torch.arange(images, dtype=torch.int32),
        mirror=torch.zeros(images, dtype=torch.bool),
    )


def table_scene(size: int, images: int) -> RenderInput:
    """A hand, a ball and a turned box under three lights, before random pictures.

    Patterns, defocus, motion and turns of the background differ from image to image; the second
    image is mirrored.
    """
    ball = sphere((0.06, 0.05, 0.42), 0.035)
    ball.colour = (0.1, 0.25, 0.5)
    second = {"contrast": 1.0, "second_red": 0.8, "second_green": 0.8, "second_blue": 0.7}
    ball.material = {**second, "frequency": 40.0, "specular": 0.5, "shininess": 60.0}
    slab = box((0.0, 0.1, 0.56), (0.3, 0.02, 0.3))
    slab.material = {"second_green": 0.2, "contrast": 1.0, "frequency": 25.0, "bump": 0.2}
    scene = scene_of(hand(), ball, slab, size=size, images=images)
    draw = torch.Generator().manual_seed(1)

    def towards(*around: float) -> Tensor:
        direction = torch.tensor(around) + 0.4 * torch.randn(images, 3, generator=draw)
        return direction / direction.norm(dim=1, keepdim=True)

    for k, (around, colour) in enumerate(
        (
            ((-0.4, -0.9, -0.6), (0.9, 0.84, 0.75)),
            ((0.8, -0.2, -0.5), (0.1, 0.15, 0.2)),
            ((0.0, -0.2, 0.9), (0.05, 0.05, 0.04)),
        )
    ):
        scene.lights[:, k, :3] = towards(*around)
        scene.lights[:, k, 3:] = torch.tensor(colour)
    scene.sky[:] = torch.tensor([0.35, 0.38, 0.42])
    scene.ground[:] = torch.tensor([0.16, 0.14, 0.12])
    scene.up[:] = towards(0.0, -1.0, -0.3)
    rows = torch.arange(images)
    kinds = len(PATTERNS)
    scene.material[:, 1, MATERIAL.index("pattern")] = ((rows + 2) % kinds).float()
    scene.material[:, 2, MATERIAL.index("pattern")] = ((rows + 3) % kinds).float()
    bank = torch.rand(3, 3, 12, 16, generator=draw)
    bank = torch.nn.functional.interpolate(bank, size=(60, 80), mode="bilinear")
    scene.backgrounds = (200 * bank).to(torch.uint8)
    scene.background = (rows % 3).int()
    scene.placement[:, :2] = torch.rand(images, 2, generator=draw)
    scene.placement[:, 2] = 0.4 + 2 * torch.rand(images, generator=draw)
    scene.placement[:, 3] = torch.randn(images, generator=draw)
    scene.placement[:, 4] = 2 * torch.rand(images, generator=draw)
    lens = {name: scene.lens[:, k] for k, name in enumerate(LENS)}
    lens["exposure"][:] = 1.05
    lens["saturation"][:] = 0.8
    lens["noise"][:] = 0.01
    lens["vignette"][:] = 0.2
    lens["blur"][:] = torch.where(rows % 3 == 1, 1.1, 0.0)
    lens["motion_x"][:] = torch.where(rows % 3 == 2, 3.0, 0.0)
    lens["motion_y"][:] = torch.where(rows % 3 == 2, -1.5, 0.0)
    scene.mirror[:] = rows == 1
    return scene
