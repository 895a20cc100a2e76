"""Everything a picture shows besides its background: who, what, where, in which colours."""

import torch
from torch import Tensor

from manip_model.hand_model import HandModel
from manip_training.synthetic.arms import BARE, BRACELET, SLEEVE, Arm, Arms
from manip_training.synthetic.bystanders import Bystanders
from manip_training.synthetic.cameras import Cameras, View
from manip_training.synthetic.draw import Draw
from manip_training.synthetic.hands import Hands
from manip_training.synthetic.lights import Lights
from manip_training.synthetic.objects import Objects
from manip_training.synthetic.parts import Layout, Mesh
from manip_training.synthetic.people import People, linear
from manip_training.synthetic.world_config import WorldConfig

# Share of things beside the hand that are labelled objects, and of things that lie before it.
LABELLED, BEFORE = 0.4, 0.6
LARGEST_BEFORE = 0.09  # [m] from its middle
# Share of held objects in other colours than their own.
REPAINTED = 0.3


class Staging:
    """Sets scenes; constants on one device.

    Attributes:
        layout: Of all parts.
    """

    def __init__(
        self,
        config: WorldConfig,
        model: HandModel,
        people: People,
        objects: Objects,
        cameras: Cameras,
        lights: Lights,
        device: torch.device | str,
    ):
        self._config, self._people, self._objects = config, people, objects
        self._cameras, self._lights = cameras, lights
        self._rest = model.template
        self._arms, self._bystanders = Arms(model, device), Bystanders(device)
        self.layout = Layout(model, self._arms, objects, self._bystanders, device)
        self._flip = torch.tensor((-1.0, 1.0, 1.0), device=device)

    def draw(self, draw: Draw, hands: Hands, view: View) -> dict[str, Mesh]:
        """All parts of ``PARTS``, in the camera's frame."""
        config, lights = self._config, self._lights
        tone = self._people.tones(draw)
        colour, gloved = self._people.skin(draw, tone)
        skin = lights.skin(draw, linear(tone), gloved)
        cloth, cloth_colour = lights.cloth(draw)
        kind = draw.uniform(0, 1)
        cover = (kind < config.sleeve) * SLEEVE
        cover = torch.where(kind > 1 - config.bracelet, BRACELET, cover)
        arm = self._arms.build(draw, hands.mesh.vertices, hands.mesh.origins[:, 0], cover)
        meshes = self._hand(draw, hands, view, arm, cover, (colour, skin), (cloth, cloth_colour))
        meshes |= self._held(draw, hands, view)
        meshes |= self._other_hand(draw, hands, view, arm, cover, meshes)

        person = draw.chance(config.bystander)
        other = self._bystanders.draw(draw, view.middle, view.up, linear(tone))
        same = draw.chance(0.6)[:, None]
        shirt, shirt_colour = (
            torch.where(same, own, new)
            for own, new in zip((cloth, cloth_colour), lights.cloth(draw), strict=True)
        )
        meshes["head"] = Mesh(other.head, other.head_place, other.head_colour, skin, person)
        meshes["body"] = Mesh(other.body, other.body_place, shirt_colour[:, None], shirt, person)
        return meshes

    def _hand(self, draw, hands, view, arm: Arm, cover, skin, cloth) -> dict[str, Mesh]:
        """Hand, arm and sleeve; ``skin`` and ``cloth`` are colours and materials."""
        (colour, skin_material), (material, cloth_colour) = skin, cloth
        thing, thing_colour = self._lights.thing(draw)
        ring = (cover == BRACELET)[:, None]
        material = torch.where(ring, thing, material)
        cloth_colour = torch.where(ring, thing_colour, cloth_colour)
        rings = arm.arm.shape[1] // len(self._arms.rim)
        arm_colour = colour[:, self._arms.rim].repeat(1, rings, 1)
        return {
            "hand": Mesh(view.seen(hands.mesh.vertices), self._rest, colour, skin_material),
            "arm": Mesh(view.seen(arm.arm), arm.arm_texture, arm_colour, skin_material),
            "sleeve": Mesh(
                view.seen(arm.sleeve),
                arm.sleeve_texture,
                cloth_colour[:, None],
                material,
                cover != BARE,
            ),
        }

    def _held(self, draw: Draw, hands: Hands, view: View) -> dict[str, Mesh]:
        held = hands.held
        place = self._objects.primitive(held.index)
        rotation, position = view.pose(held.rotation, held.position)
        material, colour = self._lights.thing(draw)
        own = self._objects.primitive_colours(held.index) * draw.uniform(0.7, 1.2, 1, 1)
        own = torch.where(draw.chance(REPAINTED, 1, 1), colour[:, None], own.clamp(max=1))
        vertices = place @ rotation.mT + position[:, None]
        return {"object": Mesh(vertices, place, own, material, hands.holds)}

    def extra(self, draw: Draw, view: View) -> tuple[Mesh, dict[str, Tensor]]:
        """A thing before or behind the hand, and the label it would have.

        Returns:
            The mesh; and ``there`` ``(B,)`` bool that it is labelled, ``index``, ``rotation`` and
            ``position`` as :meth:`~manip_training.synthetic.labels.ObjectLabels.slot` takes them.
        """
        there, known = draw.chance(self._config.extra), draw.chance(LABELLED)
        index = draw.index(len(self._objects.sizes))
        place = torch.where(
            known[:, None, None], self._objects.primitive(index), self._objects.any(draw)
        )
        reach = place.norm(dim=-1).amax(-1)
        # What is large would hide the hand.
        before = draw.chance(BEFORE) & (reach < LARGEST_BEFORE)
        # Clear of the hand, which reaches 13 cm from its middle, or behind it.
        distance = view.middle.norm(dim=-1)
        deep = torch.where(
            before, -draw.uniform(0.1, 0.2) - 0.6 * reach, draw.uniform(0.1, 0.4) + reach
        )
        deep = torch.maximum(deep, 0.15 - distance)
        share = 1 + deep / distance
        # Things before the hand hide a part of it, not all.
        apart = torch.where(
            before, draw.uniform(0.05, 0.11) * share + 0.7 * reach, draw.uniform(0, 0.15)
        )
        angle = draw.uniform(-torch.pi, torch.pi)
        aside = torch.stack((angle.cos(), angle.sin(), torch.zeros_like(angle)), -1)
        position = view.middle * share[:, None] + apart[:, None] * aside
        rotation = draw.rotation()
        material, colour = self._lights.thing(draw)
        own = self._objects.primitive_colours(index)
        colour = torch.where(known[:, None, None], own, colour[:, None])
        vertices = place @ rotation.mT + position[:, None]
        label = {"there": there & known, "index": index, "rotation": rotation, "position": position}
        return Mesh(vertices, place, colour, material, there), label

    def _other_hand(
        self, draw: Draw, hands: Hands, view: View, arm: Arm, cover: Tensor, own: dict[str, Mesh]
    ) -> dict[str, Mesh]:
        """Another image's hand, in the mirror, in this one's skin and sleeve."""
        there = draw.chance(self._config.other_hand)
        other = hands.mesh.joints.mean(1).roll(1, 0)
        turn = self._cameras.view(draw, other, hands.thumb_up.roll(1, 0)).rotation * self._flip
        deep = draw.uniform(0.06, 0.16, 1) * (1 - 2 * draw.chance(0.6, 1).float())
        deep = torch.maximum(deep, 0.2 - view.middle[:, 2:])
        place = view.middle * (1 + deep / view.middle[:, 2:]) + 0.05 * draw.normal(3)
        parts = {"hand": hands.mesh.vertices, "arm": arm.arm, "sleeve": arm.sleeve}
        meshes = {}
        for name, points in parts.items():
            moved = (points.roll(1, 0) - other[:, None]) @ turn.mT + place[:, None]
            shown = there & (cover != BARE).roll(1, 0) if name == "sleeve" else there
            mesh = own[name]
            meshes[f"other_{name}"] = Mesh(moved, mesh.texture, mesh.colour, mesh.material, shown)
        return meshes
