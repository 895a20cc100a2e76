"""The synthetic world: pictures of hands with exact labels, drawn at random on the device."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from manip_core.hand import RIGHT, SIDES
from manip_model.hand_model import HandModel
from manip_model.rotations import rotvec_from_matrix
from manip_training.batch import IMAGE_SIZE, Batch, empty
from manip_training.synthetic.backgrounds import Backgrounds
from manip_training.synthetic.cameras import Cameras, View
from manip_training.synthetic.draw import Draw, SteadyDraw
from manip_training.synthetic.grasps import GraspBank, Held
from manip_training.synthetic.handling import Handling, Handlings
from manip_training.synthetic.hands import HandDraw, Hands
from manip_training.synthetic.labels import ObjectLabels, mirrored_labels
from manip_training.synthetic.lights import Lights
from manip_training.synthetic.motion import Motion, Motions
from manip_training.synthetic.objects import Objects
from manip_training.synthetic.people import People
from manip_training.synthetic.rasteriser import Rasteriser
from manip_training.synthetic.render_input import Rendered, RenderInput
from manip_training.synthetic.resolution import Resolution
from manip_training.synthetic.staging import Staging
from manip_training.synthetic.world_config import WorldConfig

MAX_SEED = 2**31 - 1
# Noise of a film's frames, of 255.
_FILM_NOISE = 0.3, 2.5


@dataclass(frozen=True)
class Film:
    """A hand that moves, T frames of S x S pixels.

    Attributes:
        times: ``(T,)`` [s].
        image: ``(T, 3, S, S)`` uint8 RGB.
        joints: ``(T, 21, 3)`` keypoints [m], ``camera_optical_frame``.
        camera: ``(4,)`` fx, fy, cx, cy [px] of all frames.
        touch: ``(T,)`` int64 row of ``TOUCHES``: what the thumb's pad touches.
    """

    times: Tensor
    image: Tensor
    joints: Tensor
    camera: Tensor
    touch: Tensor


class SyntheticWorld:
    """Draws batches; a batch is a function of configuration, size and seed alone.

    Attributes:
        config: What it shows.
        generator: Of all random numbers, on the device; for a CUDA graph to register.
        rasteriser: What turns scenes into pictures.
        motions: The same people's hands over time.
        object_slots: At most so many objects are labelled in a picture, in the first slots.
    """

    object_slots = 2

    def __init__(
        self,
        config: WorldConfig,
        device: torch.device | str = "cpu",
        size: int = IMAGE_SIZE,
        backgrounds: str | Path | None = None,
    ):
        """Loads and prepares everything that stays.

        Args:
            config: What to show.
            device: Of everything.
            size: Pixels along each side of the pictures.
            backgrounds: Folder of pictures, which must exist; by default the configuration's, if it
                does.
        """
        self.config, self._size = config, size
        self._device = torch.device(device)
        self.generator = torch.Generator(self._device)
        self.rasteriser = Rasteriser(size=size)
        model = HandModel.open().to(device)
        people = People(model, config.variant, config.gloves, device)
        objects = Objects(config.variant, device)
        self._hands = HandDraw(config, model, people, device)
        self._cameras = Cameras(
            config.variant,
            size,
            config.crop_scale,
            config.crop_shift,
            config.side,
            config.free,
            device,
        )
        self._model = model
        self.motions = Motions(self._hands, self._cameras, model)
        self._lights = Lights(config.variant, device)
        self._staging = Staging(config, model, people, objects, self._cameras, self._lights, device)
        self._labels = ObjectLabels(model, objects, device)
        folder = Path(backgrounds or config.backgrounds)
        known = backgrounds or (config.backgrounds and folder.is_dir())
        self._backgrounds = Backgrounds(config.variant, folder if known else None, device)
        self._resolution = Resolution(size, config.quality, device)
        self._flip = torch.tensor((-1.0, 1.0, 1.0), device=device)

    def handlings(self, bank: GraspBank | None = None) -> Handlings:
        """The same people's hands that handle things.

        Args:
            bank: How they grasp; by default as in pictures.
        """
        bank = bank or GraspBank(self.config.variant, self._device)
        return Handlings(self._hands, self._cameras, self._model, bank)

    def scene(self, size: int, seed: int) -> tuple[RenderInput, Batch]:
        """``size`` scenes to draw, and their labels: all of ``FIELDS`` but the image."""
        self.generator.manual_seed(seed)
        return self.next_scene(size)

    def batch(self, size: int, seed: int) -> Batch:
        """``size`` pictures with all labels of ``FIELDS``."""
        return self.rendered(size, seed)[1]

    def rendered(self, size: int, seed: int) -> tuple[Rendered, Batch]:
        """The same batch, and what was drawn, with its maps of depth and parts."""
        self.generator.manual_seed(seed)
        return self.next_rendered(size)

    @torch.no_grad()
    def next_rendered(self, size: int) -> tuple[Rendered, Batch]:
        """Like :meth:`rendered`, from the generator's next numbers; made for a CUDA graph."""
        draw = Draw(size, self.generator)
        scene, labels = self._scene(draw)
        rendered = self.rasteriser.render(scene)
        with torch.autocast(self._device.type, enabled=False), _one_thread():
            image = self._resolution.apply(rendered.image, draw)
        return replace(rendered, image=image), {"image": image, **labels}

    @torch.no_grad()
    def next_scene(self, size: int) -> tuple[RenderInput, Batch]:
        """Like :meth:`scene`, from the generator's next numbers.

        Nothing here looks at a tensor's values from the host, so a CUDA graph can hold it.
        """
        return self._scene(Draw(size, self.generator))

    def _scene(self, draw: Draw) -> tuple[RenderInput, Batch]:
        # In half precision places would be some millimetres off.
        with torch.autocast(self._device.type, enabled=False), _one_thread():
            return self._set(draw)

    def film(self, frames: int, rate: float, seed: int) -> Film:
        """A hand that moves before a camera that stands still, in one scene.

        People, things and light are drawn as for pictures, but once for all frames; what the hand
        does is one of :attr:`motions`. A right hand, as the motions are.

        Args:
            frames: T.
            rate: Frames a second.
            seed: The same film for the same seed, size and configuration.
        """
        return self.films(1, frames, rate, seed)[0]

    @torch.no_grad()
    def films(self, count: int, frames: int, rate: float, seed: int) -> list[Film]:
        """So many of them at once, each in its own scene: short ones take less time so.

        Args:
            count: Films.
            frames: Of each, T.
            rate: Frames a second.
            seed: The same films for the same seed, count, size and configuration.
        """
        self.generator.manual_seed(seed)
        return self._films(self.motions.draw(count, frames, rate, self.generator))

    @torch.no_grad()
    def film_of(self, handling: Handling, row: int, seed: int) -> Film:
        """One of some hands that handle things, as :meth:`film` shows others.

        Args:
            handling: Of :meth:`handlings`.
            row: Which one.
            seed: Of the scene.
        """
        self.generator.manual_seed(seed)
        motion = handling.motion
        one = slice(row, row + 1)
        motion = Motion(
            motion.times,
            motion.joints[one],
            motion.rotation[one],
            motion.fingers[one],
            motion.shape[one],
            motion.touch[one],
        )
        return self._films(motion, handling, row)[0]

    def _films(self, motion: Motion, handling: Handling | None = None, row: int = 0) -> list[Film]:
        """Of every motion; of the only one, where a hand handles something."""
        count, frames = motion.joints.shape[:2]
        joints, rotation = motion.joints.flatten(0, 1), motion.rotation.flatten(0, 1)
        draw = SteadyDraw(len(joints), self.generator, count)
        shape = motion.shape.repeat_interleave(frames, 0)
        hands = self._hands.posed(draw, motion.fingers.flatten(0, 1), shape)
        turned = (rotation @ hands.mesh.joints.mT).mT
        view = View(
            rotation=rotation,
            middle=joints.mean(1),
            offset=(joints - turned)[:, 0],
            up=self._cameras.view(draw, joints.mean(1), hands.thumb_up).up,
        )
        seen = joints
        if handling is not None:
            hands = replace(hands, **_in_hand(handling, row, hands.held, view))
            seen = torch.cat((joints, handling.position[row][:, None]), 1)
        camera = self._cameras.still(draw, seen, count)
        with _one_thread():
            scene, _ = self._stage(draw, hands, view, camera)
            image = self.rasteriser.render(scene).image
            # The scene's own noise stands still with its patterns.
            noise = draw.uniform(*_FILM_NOISE, 1, 1, 1) * draw.normal_like(image.float())
            image = (image + noise).round().clamp(0, 255).to(torch.uint8)
        images, cameras = image.unflatten(0, (count, frames)), camera[::frames]
        return [
            Film(motion.times, *of_one)
            for of_one in zip(images, motion.joints, cameras, motion.touch, strict=True)
        ]

    def _set(self, draw: Draw) -> tuple[RenderInput, Batch]:
        hands = self._hands.draw(draw)
        view = self._cameras.view(draw, hands.mesh.joints.mean(1), hands.thumb_up)
        camera = self._cameras.crop(draw, view.seen(hands.mesh.joints))
        return self._stage(draw, hands, view, camera)

    def _stage(
        self, draw: Draw, hands: Hands, view: View, camera: Tensor
    ) -> tuple[RenderInput, Batch]:
        """Everything about hands that are seen so."""
        joints = view.seen(hands.mesh.joints)
        meshes = self._staging.draw(draw, hands, view)
        meshes["extra"], extra = self._staging.extra(draw, view)
        labels = self._hand_labels(hands, view, joints, camera)
        rotation, position = view.pose(hands.held.rotation, hands.held.position)
        vertices = meshes["hand"].vertices
        held = hands.holds, hands.held.index, rotation, position
        self._labels.held(labels, *held, vertices)
        self._labels.slot(labels, 1, **extra)
        lighting = self._lights.lighting(draw, view.up, self._size)
        background, placement = self._backgrounds.draw(draw)
        layout = self._staging.layout
        mirror = draw.chance(self.config.left)
        scene = RenderInput(
            **layout.join(meshes),
            faces=layout.faces,
            face_part=layout.face_part,
            lights=lighting.lights,
            sky=lighting.sky,
            ground=lighting.ground,
            up=view.up,
            camera=camera,
            backgrounds=self._backgrounds.bank,
            background=background,
            placement=placement,
            background_gain=lighting.background_gain,
            lens=lighting.lens,
            seed=draw.index(MAX_SEED).int(),
            mirror=mirror,
        )
        return scene, mirrored_labels(labels, mirror, self._flip, self._size)

    def _hand_labels(self, hands: Hands, view: View, joints: Tensor, camera: Tensor) -> Batch:
        labels = empty(len(joints), self._device)
        del labels["image"]
        labels["camera"] = camera
        labels["side"] = torch.full_like(labels["side"], SIDES.index(RIGHT))
        labels["joints"] = joints
        slopes = joints[..., :2] / joints[..., 2:]
        labels["keypoints_px"] = slopes * camera[:, None, :2] + camera[:, None, 2:]
        turns = torch.cat((view.rotation[:, None], hands.fingers), 1)
        labels["mano_pose"] = rotvec_from_matrix(turns).flatten(1)
        labels["mano_shape"] = hands.shape
        # The model turns the hand about its wrist, which stays where it is at rest.
        wrist = hands.mesh.origins[:, :1]
        labels["mano_translation"] = (view.seen(wrist) - wrist)[:, 0]
        for name in ("side_valid", "joints_valid", "keypoints_px_valid", "mano_valid",
                     "objects_valid"):  # fmt: skip
            labels[name] = torch.ones_like(labels[name])
        return labels


def _in_hand(handling: Handling, row: int, held: Held, view: View) -> dict:
    """Fields of :class:`Hands` whose thing is that of a handling, wherever it lies."""
    frames = len(view.rotation)
    back = view.rotation.mT
    position = (back @ (handling.position[row] - view.offset)[..., None])[..., 0]
    thing = replace(
        held,
        index=handling.index[row].expand(frames),
        rotation=back @ handling.rotation[row],
        position=position,
        closed=handling.held[row],
    )
    return {"held": thing, "holds": torch.ones_like(handling.held[row])}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Thousands of small operations: threads that wait for each other would take many times longer,
    above all where other processes run as well."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
