"""Distance fields, from meshes and from files, and hands that are kept out of objects by them."""

import numpy as np
import pytest

from manip_model.distance_field import DistanceField
from manip_model.hand_state import state_of
from manip_model.transition_features import hands_of, values_of
from manip_perception.clearance import Near, kept_clear
from manip_training.data.primitives import BOX, CYLINDER, Primitive
from manip_training.transition.distance_fields import of_hoisdf, of_mesh, of_samples
from synthetic_hand import OPEN

CAN = Primitive(CYLINDER, (0.06, 0.06, 0.1))
BRICK = Primitive(BOX, (0.05, 0.08, 0.06))


def plane(step=0.01):
    """Distances from z = 0.02, exactly linear."""
    field = DistanceField(np.zeros(3), step, np.zeros((6, 5, 8)))
    return DistanceField(np.zeros(3), step, field.points[..., 2] - 0.02)


def test_a_plane_is_told_exactly_with_its_normal():
    points = np.random.default_rng(0).uniform((0, 0, 0), (0.05, 0.04, 0.07), (50, 3))
    distance, gradient = plane().at(points)
    np.testing.assert_allclose(distance, points[:, 2] - 0.02, atol=1e-12)
    np.testing.assert_allclose(gradient, np.tile((0, 0, 1), (50, 1)), atol=1e-9)


def test_gradients_are_differences():
    field = of_mesh(CAN.mesh(), step=0.01)
    points = np.random.default_rng(1).uniform(-0.07, 0.07, (40, 3))
    distance, gradient = field.at(points)
    for axis in range(3):
        moved = field.at(points + 1e-7 * np.eye(3)[axis])[0]
        np.testing.assert_allclose((moved - distance) / 1e-7, gradient[:, axis], atol=1e-4)


def test_beyond_the_grid_it_grows_with_the_way():
    distance, gradient = plane().at(np.array(((0.02, 0.02, 0.17), (-0.3, 0.02, 0.03))))
    np.testing.assert_allclose(distance, (0.05 + 0.1, 0.01 + 0.3))
    np.testing.assert_allclose(gradient, ((0, 0, 1), (-1, 0, 1)), atol=1e-12)


@pytest.mark.parametrize("shape", [CAN, BRICK])
def test_fields_of_meshes_are_those_of_the_solids(shape):
    field = of_mesh(shape.mesh(), step=0.005)
    points = np.random.default_rng(2).uniform(-0.06, 0.06, (400, 3))
    found, true = field.at(points)[0], shape.distance(points)
    # A grid rounds edges off by a part of its step; the mesh of a can is no perfect round.
    assert np.abs(found - true).max() < 0.002 and np.abs(found - true).mean() < 3e-4
    assert (np.sign(found) == np.sign(true))[np.abs(true) > 0.002].all()


def test_fields_of_samples_are_near_those_of_the_solid():
    points = np.random.default_rng(3).uniform(-0.06, 0.06, (20_000, 3))
    field = of_samples(points, CAN.distance(points), step=0.006)
    asked = np.random.default_rng(4).uniform(-0.05, 0.05, (300, 3))
    assert np.abs(field.at(asked)[0] - CAN.distance(asked)).mean() < 0.001


def hoisdf_files(folder, scale=5.0, offset=(0.01, -0.02, -0.5)):
    """A brick that stands for a hand and a can beside it, as HOISDF has them; the prepared file is
    what its own tool makes of the others."""
    rng = np.random.default_rng(5)
    for name in ("sdf_hand", "sdf_obj", "norm"):
        (folder / name).mkdir()
    centre = -np.array(offset)
    prepared = []
    for name, shapes in (("sdf_hand", (BRICK, CAN)), ("sdf_obj", (CAN, BRICK))):
        points = centre + rng.uniform(-0.08, 0.08, (6000, 3))
        own, other = (
            shape.distance(points - centre - (0.02 if shape is CAN else 0, 0, 0))
            for shape in shapes
        )
        box, kinds = scale * (points + offset), own > 0
        np.savez(
            folder / name / "a_0.npz",
            pos=np.column_stack((box, scale * own))[kinds],
            neg=np.column_stack((box, scale * own))[~kinds],
            pos_other=scale * other[kinds, None],
            neg_other=scale * other[~kinds, None],
        )
        hand, thing = (own, other) if name == "sdf_hand" else (other, own)
        prepared.append(np.column_stack((points, hand, thing, np.zeros(len(points)))))
    np.savez(folder / "norm" / "a_0.npz", scale=scale, offset=np.array(offset))
    np.save(folder / "a_0.npy", np.concatenate(prepared).astype(np.float32))
    return centre


def test_hoisdfs_files_are_read_before_and_after_their_preparation(tmp_path):
    centre = hoisdf_files(tmp_path)
    asked = centre + np.random.default_rng(6).uniform(-0.05, 0.05, (200, 3))
    for path in (tmp_path / "sdf_hand" / "a_0.npz", tmp_path / "a_0.npy"):
        hand, thing = of_hoisdf(path, step=0.008)
        assert np.abs(hand.at(asked)[0] - BRICK.distance(asked - centre)).mean() < 0.002
        true = CAN.distance(asked - centre - (0.02, 0, 0))
        assert np.abs(thing.at(asked)[0] - true).mean() < 0.002
    with pytest.raises(FileNotFoundError):
        of_hoisdf(tmp_path / "sdf_hand" / "b_0.npz")
    np.savez(tmp_path / "sdf_obj" / "a_0.npz", pos=np.zeros((1, 4)))
    with pytest.raises(ValueError, match="holds no pos_other"):
        of_hoisdf(tmp_path / "sdf_hand" / "a_0.npz")
    np.save(tmp_path / "c.npy", np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"\(N, 6\) samples, got \(3, 4\)"):
        of_hoisdf(tmp_path / "c.npy")


def test_a_hand_is_kept_out_of_an_object_and_its_ends_stay():
    state = state_of(np.repeat(OPEN[None], 7, 0))
    values = values_of(state, state.turn[0], state.wrist[0])
    window = np.sin(np.linspace(0, np.pi, 7)).round(9)
    # A can across the fingers, from the palm's side, 5 mm too deep.
    near = Near(of_mesh(CAN.mesh()), np.eye(3), OPEN[10] + np.array((0, 0, -0.033)))
    frame, sizes = (state.turn[0], state.wrist[0]), (state.palm, state.lengths)
    before = near.depths(hands_of(values, *frame, *sizes))
    kept = kept_clear(values, window, near, frame, sizes)
    after = near.depths(hands_of(kept, *frame, *sizes))
    assert before[3].max() > 0.004
    assert after[3].max() < 0.25 * before[3].max()
    np.testing.assert_array_equal(kept[[0, -1]], values[[0, -1]])
    assert np.abs(kept[3] - values[3]).max() < 1.0
    # Where nothing is in the way nothing gives way.
    away = Near(near.field, near.rotation, near.position + np.array((0, 0, -0.2)))
    np.testing.assert_array_equal(kept_clear(values, window, away, frame, sizes), values)


def test_what_is_no_field_is_refused():
    with pytest.raises(ValueError, match="2 points or more a side"):
        DistanceField(np.zeros(3), 0.01, np.zeros((3, 1, 3)))
    with pytest.raises(ValueError, match="step must be positive"):
        DistanceField(np.zeros(3), 0.0, np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match="1 or more"):
        of_samples(np.zeros((0, 3)), np.zeros(0))
