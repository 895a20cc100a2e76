"""Films: one scene whose hand moves, and whose labels say where it is."""

import pytest
import torch

from manip_training.synthetic.world import SyntheticWorld, WorldConfig

FRAMES, RATE, SIZE = 12, 15.0, 96
EMPTY = {"left": 0.0, "holding": 0.0, "bystander": 0.0, "other_hand": 0.0, "extra": 0.0}


@pytest.fixture(scope="module")
def world():
    return SyntheticWorld(WorldConfig(free=0.0, **EMPTY), size=SIZE)


@pytest.fixture(scope="module")
def film(world):
    return world.film(FRAMES, RATE, 3)


def test_a_seed_makes_a_film(world, film):
    again = world.film(FRAMES, RATE, 3)
    assert torch.equal(again.image, film.image) and torch.equal(again.joints, film.joints)
    assert not torch.equal(world.film(FRAMES, RATE, 4).joints, film.joints)


def test_several_films_at_once_each_have_a_hand_a_scene_and_a_camera(world):
    films = world.films(3, 2, RATE, 3)
    assert [film.image.shape[0] for film in films] == [2, 2, 2]
    corners = [film.image[:, :, :6, :6].float() for film in films]
    for film, corner in zip(films, corners, strict=True):
        assert (corner[1] - corner[0]).abs().mean() < 6
        pixels = film.joints[..., :2] / film.joints[..., 2:] * film.camera[:2] + film.camera[2:]
        assert pixels.min() > 0 and pixels.max() < SIZE - 1
    assert len({tuple(film.camera.tolist()) for film in films}) == 3
    assert min((corners[i] - corners[i - 1]).abs().mean() for i in range(3)) > 6
    bones = [(film.joints[:, 9] - film.joints[:, 0]).norm(dim=-1) for film in films]
    assert all((bone[1] - bone[0]).abs() < 1e-4 for bone in bones)
    assert len({round(bone[0].item(), 5) for bone in bones}) == 3


def test_the_scene_stands_still_but_for_its_noise(film):
    corner = film.image[:, :, :6, :6].float()
    assert (corner - corner[:1]).abs().mean() < 6
    assert not torch.equal(film.image[0], film.image[1])


def test_every_keypoint_of_every_frame_is_in_the_picture(film):
    fx, fy, cx, cy = film.camera
    pixels = film.joints[..., :2] / film.joints[..., 2:] * torch.stack((fx, fy))
    pixels = pixels + torch.stack((cx, cy))
    assert pixels.min() > 0 and pixels.max() < SIZE - 1


def test_the_hand_is_where_the_labels_are(world):
    """What changes from one moment to another lies about the keypoints of either."""
    film = world.film(FRAMES, 4.0, 5)
    fx, fy, cx, cy = film.camera
    pixels = film.joints[..., :2] / film.joints[..., 2:] * torch.stack((fx, fy))
    pixels = pixels + torch.stack((cx, cy))
    changed = (film.image[-1].float() - film.image[0].float()).abs().sum(0) > 90
    rows, columns = changed.nonzero().unbind(-1)
    places = torch.stack((columns, rows), -1).float()
    reach = torch.cdist(places, torch.cat((pixels[0], pixels[-1]))).amin(1)
    # The arm and its shadow move as well, beyond the wrist.
    assert len(places) > 30 and (reach < 0.15 * SIZE).float().mean() > 0.5
