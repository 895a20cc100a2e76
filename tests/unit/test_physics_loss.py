"""Penetration and joint limits: what a body cannot do costs, and what it can is free."""

import math
from dataclasses import replace

import pytest
import torch

from manip_core.hand_skeleton import Keypoint
from manip_model.rotations import matrix_from_rotvec, mirrored
from manip_training.losses import LossWeights, compute_losses
from manip_training.physics_loss import anatomical_angles, joint_limits, penetration
from model_fixtures import labelled_batch, learning, open_hand, output_at_truth, sphere

ALONE = LossWeights(**{name: float(name == "physics") for name in vars(LossWeights())})


def physics(output, batch) -> float:
    return compute_losses(output, batch, LossWeights())["physics"].item()


def test_penetration_measures_depth():
    valid = torch.tensor([True])

    def cost(radius):
        # Just below one of the points, where the tangent plane is the sphere.
        points = sphere()[:, 100, 3:][:, None] * radius
        return penetration(points, sphere(), valid).item()

    assert cost(0.05) == cost(0.0385) == 0
    # 10 mm, less 2 mm of flesh, of one vertex out of fifty.
    assert cost(0.030) == pytest.approx(10 * 0.008 / 50, rel=1e-3)
    assert cost(0.025) > cost(0.030)
    # Far inside and far outside nothing is known.
    assert cost(0.0) == cost(0.2) == 0


def test_penetration_pushes_outwards_and_ignores_where_the_whole_hand_is():
    batch = labelled_batch(2)
    middle = batch["joints"].mean(1, keepdim=True)
    batch["object_surface"] = sphere().repeat(2, 1, 1) + torch.cat(
        (middle, torch.zeros(2, 1, 3)), dim=-1
    )
    truth = output_at_truth(batch)
    inside = physics(truth, batch)
    assert inside > 0.05
    move = torch.tensor([0.1, -0.05, 0.2])
    moved = replace(truth, vertices=truth.vertices + move, mano_joints=truth.mano_joints + move)
    assert physics(moved, batch) == pytest.approx(inside, rel=1e-3)
    said = learning(truth)
    compute_losses(said, batch, ALONE)["total"].backward()
    pull = said.vertices.grad.sum(1) + said.mano_joints.grad.sum(1)
    assert pull.abs().max() < 1e-5 * said.vertices.grad.abs().sum()
    better = replace(truth, vertices=truth.vertices - 1e-4 * said.vertices.grad.sign())
    assert physics(better, batch) < inside
    batch["joints_valid"][:, 0] = False
    assert physics(truth, batch) == 0


def bent(degrees: dict[int, float], axis: int) -> torch.Tensor:
    """``(1, 16, 3, 3)`` a hand at rest but for some joints turned about a rest axis."""
    vectors = torch.zeros(1, 16, 3)
    for joint, angle in degrees.items():
        vectors[0, joint, axis] = math.radians(angle)
    return matrix_from_rotvec(vectors)


FINGERS = range(1, 13)
RIGHT, LEFT = torch.tensor([1]), torch.tensor([0])


def test_flexion_is_towards_the_palm():
    hand, none = open_hand(), torch.zeros(1, 3)
    rest = hand(bent({}, 0), torch.zeros(1, 10), none, RIGHT).joints[0]
    fist = hand(bent(dict.fromkeys(FINGERS, 40), 2), torch.zeros(1, 10), none, RIGHT).joints[0]
    for tip in (Keypoint.INDEX_TIP, Keypoint.MIDDLE_TIP, Keypoint.LITTLE_TIP):
        assert fist[tip, 1] < rest[tip, 1] - 0.03
    angles = anatomical_angles(bent(dict.fromkeys(FINGERS, 40), 2)[:, 1:])[0, :12]
    assert torch.rad2deg(angles[:, 0]).min() > 35


@pytest.mark.parametrize("angle", [0, 40, 80])
def test_hands_that_close_are_free(angle):
    assert joint_limits(bent(dict.fromkeys(FINGERS, angle), 2), RIGHT) == 0


def test_hands_that_break_are_not():
    back = [joint_limits(bent(dict.fromkeys(FINGERS, -a), 2), RIGHT).item() for a in (40, 60, 90)]
    assert 0 < back[0] < back[1] < back[2]
    assert joint_limits(bent({1: 20}, 1), RIGHT) == 0
    assert joint_limits(bent({1: 70}, 1), RIGHT) > 0.1
    assert joint_limits(bent({2: 70}, 0), RIGHT) > 0.1
    # 70 degrees over-extended where 45 and 15 of slack are granted; the index finger is 6 askew.
    expected = math.radians(70 * math.cos(math.radians(6)) - 60) ** 2
    assert joint_limits(bent({1: -70}, 2), RIGHT).item() == pytest.approx(expected, rel=1e-4)


def test_left_hands_are_right_hands_in_the_mirror():
    pose = matrix_from_rotvec(torch.randn(5, 16, 3, generator=torch.manual_seed(0)))
    sides = [side.expand(5) for side in (LEFT, RIGHT)]
    assert joint_limits(mirrored(pose), sides[0]).item() == pytest.approx(
        joint_limits(pose, sides[1]).item(), rel=1e-5
    )
    flexed = bent(dict.fromkeys(FINGERS, 80), 2)
    assert joint_limits(flexed, LEFT) > 1
