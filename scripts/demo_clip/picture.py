"""Frames of the clip: the synthetic world's hand, arm and sleeve under one steady light."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from demo_clip.fine_skin import creases, palm_share, split
from manip_model.hand_model import HandMesh, HandModel
from manip_model.rotations import matrix_from_rotvec, rotvec_from_matrix
from manip_training.synthetic.arms import BEND_LENGTH, SLEEVE, Arms
from manip_training.synthetic.draw import Draw
from manip_training.synthetic.people import People, linear
from manip_training.synthetic.rasteriser import Rasteriser
from manip_training.synthetic.render_input import LENS, MATERIAL, PLACEMENT, RenderInput

WIDTH, HEIGHT = 640, 480
FIELD_OF_VIEW = np.radians(60.0)  # horizontal: an ordinary webcam
SUPERSAMPLE, SUBDIVISIONS = 3, 3
AT_ONCE = 16  # frames
GRAIN = 0.003  # deviation of the sensor's noise, 0 to 1

# A lobby: a view of a panorama by Poly Haven (CC0 1.0), from the npm package @pmndrs/assets.
ROOM = Path(__file__).with_name("room.jpg")
ROOM_GAIN = (0.8, 0.8, 0.8)
TONE = (0.86, 0.65, 0.53)  # of the skin, as pictures store it
CREASE = (0.22, 0.34, 0.36)  # share of the light that its lines take away
CLOTH = (0.030, 0.055, 0.100)  # linear
SKIN_MATERIAL = {
    "pattern": 1, "frequency": 90, "contrast": 0.12, "specular": 0.10, "shininess": 14,
    "wrap": 0.35, "bump": 0.10,
}  # fmt: skip
CLOTH_MATERIAL = {
    "pattern": 2, "frequency": 160, "contrast": 0.25, "specular": 0.02, "shininess": 6,
    "wrap": 0.15, "bump": 0.5,
}  # fmt: skip
# Towards the light, its colour: a window at the upper right, which casts the shadows, a lamp at
# the left, and light from behind that draws the rim.
LIGHTS = (
    ((0.45, -0.75, -0.60), (0.75, 0.72, 0.68)),
    ((-0.80, -0.20, -0.60), (0.16, 0.17, 0.20)),
    ((0.70, -0.40, 0.50), (0.25, 0.27, 0.30)),
)
SKY, GROUND = (0.45, 0.45, 0.46), (0.28, 0.25, 0.22)
LENS_USED = {"exposure": 1.0, "gamma": 2.2, "saturation": 1.0, "blur": 0.4, "vignette": 0.15}
PLACED = {"centre_x": 0.35, "centre_y": 0.5, "scale": 0.7, "blur": 1.5}


def camera_matrix() -> np.ndarray:
    """``(3, 3)`` pinhole intrinsics, pixel centres at whole numbers."""
    f = WIDTH / 2 / np.tan(FIELD_OF_VIEW / 2)
    return np.array([[f, 0, (WIDTH - 1) / 2], [0, f, (HEIGHT - 1) / 2], [0, 0, 1.0]])


class Typical(Draw):
    """Draws what is in the middle of every range, and of two things the likelier one."""

    def __init__(self, size: int):
        super().__init__(size, torch.Generator())

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.full((self.size, *shape), (low + high) / 2)

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.full((self.size, *shape), (low * high) ** 0.5)

    def normal(self, *shape: int) -> Tensor:
        return torch.zeros(self.size, *shape)

    def chance(self, probability: float, *shape: int) -> Tensor:
        return torch.full((self.size, *shape), probability > 0.5)


class Studio:
    """Draws posed hands before the room.

    Args:
        model: The hand.
        seed: Of skin, cloth and grain.
    """

    def __init__(self, model: HandModel, seed: int):
        self._arms, self._rest = Arms(model, "cpu"), model.template
        self._rng = np.random.default_rng(seed)
        self._seed = seed
        # The rasteriser draws squares: the middle rows of one are kept.
        self._rasteriser = Rasteriser(WIDTH, SUPERSAMPLE)
        room = cv2.imread(str(ROOM), cv2.IMREAD_COLOR)
        if room is None:
            raise FileNotFoundError(f"{ROOM} is no picture")
        self._room = torch.as_tensor(room[..., ::-1].copy()).permute(2, 0, 1)[None].contiguous()
        self._finer, skin = self._finer_skin(model)
        self._skin = self._painted(model)
        sleeve = self._arms.sleeve_faces
        self._faces = torch.cat((skin, sleeve + len(self._skin))).int()
        self._part = torch.cat((torch.zeros(len(skin)), torch.ones(len(sleeve)))).int()
        # Skin's blotches are redder than the skin around.
        blotches = linear(torch.tensor(TONE)) * torch.tensor((0.86, 0.64, 0.62))
        self._material = torch.stack(
            (
                _columns(MATERIAL, SKIN_MATERIAL | _second(blotches)),
                _columns(MATERIAL, CLOTH_MATERIAL | _second(1.8 * torch.tensor(CLOTH))),
            )
        )

    def _finer_skin(self, model: HandModel) -> tuple[sparse.csr_array, Tensor]:
        """Of hand and arm: what makes fine vertices of coarse ones, and the fine faces."""
        rim, hand = self._arms.rim, len(model.template)
        arm = self._arms.faces
        # The arm's first vertices are those of the hand around the wrist.
        arm = torch.where(arm < len(rim), rim[arm.clamp(max=len(rim) - 1)], arm - len(rim) + hand)
        faces = torch.cat((model.faces, arm)).numpy()
        matrix = sparse.eye_array(faces.max() + 1, format="csr")
        for _ in range(SUBDIVISIONS):
            faces, finer = split(faces, matrix.shape[0])
            matrix = finer @ matrix
        return matrix, torch.as_tensor(faces)

    def _painted(self, model: HandModel) -> Tensor:
        """Linear colours ``(V, 3)`` of the fine skin, with its lines."""
        colour, _ = People(model, "train", 0.0, "cpu").skin(Typical(1), torch.tensor([TONE]))
        hand = len(model.template)
        rings = (self._finer.shape[1] - hand) // len(self._arms.rim)
        arm = colour[:, self._arms.rim].repeat(1, rings, 1)
        fine = self._fine(torch.cat((colour, arm), 1))[0]
        own = self._finer[:, :hand]
        # The arm has no lines.
        palmar = (own @ palm_share(model)) * (own.sum(axis=1) > 0.999)
        lines = creases(model, own @ model.template.numpy(), palmar)
        return fine * (1 - torch.tensor(CREASE) * torch.from_numpy(lines).float()[:, None])

    def frames(
        self, hands: HandMesh, forearm: np.ndarray, rotation: np.ndarray, wrist: np.ndarray
    ) -> Iterator[np.ndarray]:
        """BGR images ``(480, 640, 3)`` uint8.

        Args:
            hands: N of them, at rest in space, the wrist unturned.
            forearm, rotation: ``(N, 3, 3)`` as of ``Motion``.
            wrist: ``(N, 3)`` [m].
        """
        count = len(hands.vertices)
        forearm, rotation, wrist = (
            torch.as_tensor(x, dtype=torch.float32) for x in (forearm, rotation, wrist)
        )
        for first in range(0, count, AT_ONCE):
            rows = slice(first, min(first + AT_ONCE, count))
            scene = self._scene(
                hands.vertices[rows], hands.origins[rows, :1], forearm[rows], rotation[rows],
                wrist[rows],
            )  # fmt: skip
            images = self._rasteriser.render(scene).image.permute(0, 2, 3, 1).numpy()
            border = (WIDTH - HEIGHT) // 2
            for image in images[:, border : border + HEIGHT, :, ::-1]:
                grain = self._rng.normal(0, 255 * GRAIN, (HEIGHT, WIDTH, 1))
                yield np.ascontiguousarray(
                    np.clip(np.round(image + grain), 0, 255).astype(np.uint8)
                )

    def _fine(self, values: Tensor) -> Tensor:
        """What vertices of hand and arm ``(N, V, 3)`` have, of the finer skin."""
        return torch.from_numpy(np.stack([self._finer @ one for one in values.numpy()])).float()

    def _scene(self, hand, pivot, forearm, rotation, wrist) -> RenderInput:
        count = len(hand)
        cover = torch.full((count,), SLEEVE)
        arm = self._arms.build(Typical(count), hand, pivot[:, 0], cover)
        skin = self._fine(torch.cat((hand, _bent(arm.arm, pivot, forearm)), 1))
        vertices = torch.cat((skin, _bent(arm.sleeve, pivot, forearm)), 1) - pivot
        cloth = torch.tensor(CLOTH).expand(count, arm.sleeve.shape[1], -1)
        lights = torch.tensor([(*direction, *colour) for direction, colour in LIGHTS])
        lights[:, :3] = F.normalize(lights[:, :3], dim=1)
        focal = camera_matrix()[0, 0]
        centre = (WIDTH - 1) / 2

        def each(values) -> Tensor:
            return torch.as_tensor(values, dtype=torch.float32).expand(count, *np.shape(values))

        return RenderInput(
            vertices=vertices @ rotation.mT + wrist[:, None],
            faces=self._faces,
            face_part=self._part,
            texture=torch.cat(
                (self._fine(torch.cat((each(self._rest), arm.arm_texture), 1)), arm.sleeve_texture),
                1,
            ),
            colour=torch.cat((each(self._skin), cloth), 1),
            material=each(self._material),
            lights=each(lights),
            sky=each(SKY),
            ground=each(GROUND),
            up=each((0.0, -1.0, 0.0)),
            camera=each((focal, focal, centre, centre)),
            backgrounds=self._room,
            background=torch.zeros(count, dtype=torch.int32),
            placement=each(_columns(PLACEMENT, PLACED)),
            background_gain=each(ROOM_GAIN),
            lens=each(_columns(LENS, LENS_USED)),
            seed=torch.full((count,), self._seed, dtype=torch.int32),
            mirror=torch.zeros(count, dtype=torch.bool),
        )


def _second(colour: Tensor) -> dict[str, float]:
    names = ("second_red", "second_green", "second_blue")
    return dict(zip(names, colour.tolist(), strict=True))


def _columns(names: tuple[str, ...], values: dict[str, float]) -> Tensor:
    """A row of a tensor of the rasteriser; what is not named is 0."""
    return torch.tensor([float(values.get(name, 0.0)) for name in names])


def _bent(points: Tensor, pivot: Tensor, turn: Tensor) -> Tensor:
    """An arm ``(N, V, 3)`` turned about the wrist, its skin the less the nearer it is."""
    offset = points - pivot
    share = (offset[..., :1] / BEND_LENGTH - 0.15).clamp(0, 1)
    share = share * share * (3 - 2 * share)
    turns = matrix_from_rotvec(rotvec_from_matrix(turn)[:, None] * share)
    return pivot + (turns @ offset[..., None])[..., 0]
