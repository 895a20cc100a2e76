"""A batch of random but consistent labels on random pictures: for profiles and benchmarks."""

import torch

from manip_model.config import NUM_CONTACTS, NUM_OBJECT_QUERIES
from manip_model.hand_model import HandModel
from manip_model.rotations import matrix_from_rotvec
from manip_training.batch import IMAGE_SIZE, NUM_SURFACE_POINTS, Batch, empty

_FOCAL, _DEPTH = 600.0, 0.7
_OBJECTS = 3


@torch.no_grad()
def random_batch(
    size: int, hand_model: HandModel, seed: int = 0, device: torch.device | str = "cpu"
) -> Batch:
    """A batch in which every label is there: posed hands, objects near them, contacts.

    Args:
        size: Samples.
        hand_model: Whose poses are drawn; on the CPU.
        seed: The same numbers for the same seed, on every device.
        device: Where the batch is wanted.
    """
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(size, *shape, generator=draw)

    batch = empty(size)
    batch["image"] = torch.randint(0, 256, batch["image"].shape, dtype=torch.uint8, generator=draw)
    middle = (IMAGE_SIZE - 1) / 2
    batch["camera"] = torch.tensor([_FOCAL, _FOCAL, middle, middle]).repeat(size, 1)
    side = torch.randint(0, 2, (size,), generator=draw)
    pose, shape = 0.3 * normal(48), normal(10)
    rotations = matrix_from_rotvec(pose.view(size, 16, 3))
    place = torch.tensor([0.0, 0.0, _DEPTH]) + 0.02 * normal(3)
    mesh = hand_model(rotations, shape, place, side)
    batch |= {"side": side, "mano_pose": pose, "mano_shape": shape, "mano_translation": place}
    batch |= {"joints": mesh.joints}
    pixels = mesh.joints[..., :2] / mesh.joints[..., 2:] * _FOCAL + middle
    batch["keypoints_px"] = pixels
    middle_of_hand = mesh.joints.mean(1, keepdim=True)
    batch["object_position"] = middle_of_hand + 0.05 * normal(NUM_OBJECT_QUERIES, 3)
    batch["object_rotation"] = matrix_from_rotvec(normal(NUM_OBJECT_QUERIES, 3))
    batch["object_class"][:, :_OBJECTS] = torch.randint(0, 21, (size, _OBJECTS), generator=draw)
    batch["object_pose_valid"][:, :_OBJECTS] = True
    batch["object_grasped"][:] = 0
    normals = torch.nn.functional.normalize(normal(NUM_SURFACE_POINTS, 3), dim=-1)
    batch["object_surface"] = torch.cat((middle_of_hand + 0.03 * normals, normals), dim=-1)
    batch["contact_type"] = torch.randint(0, 4, (size, NUM_CONTACTS), generator=draw)
    batch["contact_point"] = middle_of_hand + 0.03 * normals[:, :NUM_CONTACTS]
    batch["contact_force_direction"] = -normals[:, :NUM_CONTACTS]
    batch["contact_force"] = normal(NUM_CONTACTS).abs()
    batch["contact_map"] = (normal(batch["contact_map"].shape[1]) > 1).float()
    for name in batch:
        if name.endswith("_valid") and name != "object_pose_valid":
            batch[name][:] = True
    return {name: value.to(device) for name, value in batch.items()}
