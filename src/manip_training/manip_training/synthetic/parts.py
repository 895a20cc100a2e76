"""How a picture's parts are laid out: one list of vertices and faces, the same for all images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from manip_model.hand_model import HandModel
from manip_training.synthetic.arms import ARM_RINGS, CUFF_ALONG, Arms
from manip_training.synthetic.bystanders import (
    BODY_COLUMNS,
    BODY_ROWS,
    COLUMNS,
    ROWS,
    Bystanders,
)
from manip_training.synthetic.objects import RINGS, SECTIONS, Objects

# The last three are the other hand's, which is the mirror image of another image's.
PARTS = ("hand", "arm", "sleeve", "object", "extra", "head", "body", "other_hand", "other_arm",
         "other_sleeve")  # fmt: skip


@dataclass(frozen=True)
class Mesh:
    """One part of all images.

    Attributes:
        vertices: ``(B, n, 3)`` [m], camera frame.
        texture: ``(B, n, 3)`` [m] places in the part's solid texture; ``(n, 3)`` for all.
        colour: ``(B, n, 3)`` linear, or ``(B, 1, 3)``.
        material: ``(B, 10)``.
        there: ``(B,)`` bool, it is in the picture; ``None`` for always.
    """

    vertices: Tensor
    texture: Tensor
    colour: Tensor
    material: Tensor
    there: Tensor | None = None


class Layout:
    """The fixed topology, and how parts are joined into it.

    Attributes:
        faces: ``(F, 3)`` int32, counter-clockwise seen from outside.
        face_part: ``(F,)`` int32 rows of ``PARTS``.
        first: First vertex of each part.
    """

    def __init__(
        self,
        model: HandModel,
        arms: Arms,
        objects: Objects,
        bystanders: Bystanders,
        device: torch.device | str,
    ):
        arm, sleeve = ARM_RINGS * len(arms.rim), len(CUFF_ALONG) * len(arms.rim)
        counts = {
            "hand": len(model.template),
            "arm": arm,
            "sleeve": sleeve,
            "object": RINGS * SECTIONS,
            "extra": RINGS * SECTIONS,
            "head": ROWS * COLUMNS,
            "body": BODY_ROWS * BODY_COLUMNS,
            "other_hand": len(model.template),
            "other_arm": arm,
            "other_sleeve": sleeve,
        }
        self.first, total = {}, 0
        for name in PARTS:
            self.first[name] = total
            total += counts[name]
        self.num_vertices = total
        faces, parts = [], []
        own = {
            "hand": model.faces.to(device),
            "sleeve": arms.sleeve_faces,
            "object": objects.faces,
            "extra": objects.faces,
            "head": bystanders.head_faces,
            "body": bystanders.body_faces,
        }
        for row, name in enumerate(PARTS):
            plain = name.removeprefix("other_")
            if plain == "arm":
                hand = self.first[name.replace("arm", "hand")]
                rim = len(arms.rim)
                behind = arms.faces - rim + self.first[name]
                face = torch.where(
                    arms.faces < rim, arms.rim[arms.faces.clamp(max=rim - 1)] + hand, behind
                )
            else:
                face = own[plain] + self.first[name]
            # The other hand is of the other side: its faces run the other way round.
            faces.append(face.flip(1) if name.startswith("other_") else face)
            parts.append(torch.full((len(face),), row, dtype=torch.int32, device=device))
        self.faces = torch.cat(faces).int()
        self.face_part = torch.cat(parts)
        self._nowhere = torch.tensor((0.0, 0.0, -1.0), device=device)

    def join(self, meshes: dict[str, Mesh]) -> dict[str, Tensor]:
        """``vertices``, ``texture``, ``colour`` and ``material`` of a ``RenderInput``.

        What is not there goes behind the camera.
        """
        rows = [meshes[name] for name in PARTS]
        vertices = [
            mesh.vertices
            if mesh.there is None
            else torch.where(mesh.there[:, None, None], mesh.vertices, self._nowhere)
            for mesh in rows
        ]
        return {
            "vertices": torch.cat(vertices, 1),
            "texture": torch.cat([m.texture.expand_as(m.vertices) for m in rows], 1),
            "colour": torch.cat([m.colour.expand_as(m.vertices) for m in rows], 1),
            "material": torch.stack([mesh.material for mesh in rows], 1),
        }
