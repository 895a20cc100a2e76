"""The synthetic world: pictures of hands with exact labels, drawn at random on the device."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from manip_core.hand import RIGHT, SIDES
from manip_model.hand_model import HandModel
from manip_model.rotations import rotvec_from_matrix
from manip_training.batch import IMAGE_SIZE, Batch, empty
from manip_training.synthetic.backgrounds import Backgrounds
from manip_training.synthetic.cameras import Cameras, View
from manip_training.synthetic.draw import Draw
from manip_training.synthetic.hands import HandDraw, Hands
from manip_training.synthetic.labels import ObjectLabels, mirrored_labels
from manip_training.synthetic.lights import Lights
from manip_training.synthetic.objects import Objects
from manip_training.synthetic.people import People
from manip_training.synthetic.rasteriser import Rasteriser
from manip_training.synthetic.render_input import Rendered, RenderInput
from manip_training.synthetic.resolution import Resolution
from manip_training.synthetic.staging import Staging
from manip_training.synthetic.world_config import WorldConfig

MAX_SEED = 2**31 - 1


class SyntheticWorld:
    """Draws batches; a batch is a function of configuration, size and seed alone.

    Attributes:
        config: What it shows.
        generator: Of all random numbers, on the device; for a CUDA graph to register.
        rasteriser: What turns scenes into pictures.
    """

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
        self._lights = Lights(config.variant, device)
        self._staging = Staging(config, model, people, objects, self._cameras, self._lights, device)
        self._labels = ObjectLabels(model, objects, device)
        folder = Path(backgrounds or config.backgrounds)
        known = backgrounds or (config.backgrounds and folder.is_dir())
        self._backgrounds = Backgrounds(config.variant, folder if known else None, device)
        self._resolution = Resolution(size, config.quality, device)
        self._flip = torch.tensor((-1.0, 1.0, 1.0), device=device)

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

    def _set(self, draw: Draw) -> tuple[RenderInput, Batch]:
        hands = self._hands.draw(draw)
        view = self._cameras.view(draw, hands.mesh.joints.mean(1), hands.thumb_up)
        joints = view.seen(hands.mesh.joints)
        camera = self._cameras.crop(draw, joints)
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
