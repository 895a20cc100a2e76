"""The losses' laws: nothing wrong costs nothing, more wrong costs more, no label costs nothing."""

import math
from dataclasses import fields, replace

import pytest
import torch

from manip_core.hand_skeleton import Keypoint
from manip_model.outputs import ModelOutput
from manip_model.rotations import matrix_from_rotvec
from manip_training import losses as L
from manip_training.batch import Batch, empty
from manip_training.losses import LossWeights, compute_losses
from model_fixtures import disturbed, labelled_batch, learning, output_at_truth, sphere

NAMES = [field.name for field in fields(LossWeights)]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def values(output: ModelOutput, batch: Batch, **more) -> dict[str, float]:
    found = compute_losses(output, batch, LossWeights(), **more)
    return {name: value.item() for name, value in found.items()}


def doubled(output: ModelOutput, batch: Batch) -> tuple[ModelOutput, Batch]:
    def double(value):
        return value.double() if value.is_floating_point() else value

    return output.map(double), {name: double(value) for name, value in batch.items()}


def single(name: str) -> LossWeights:
    return LossWeights(**{other: float(other == name) for other in NAMES})


# Weights


def test_weights_are_those_of_the_specification():
    assert LossWeights() == LossWeights(
        hand_coarse=1.326,
        hand_refined=1.189,
        object_position=0.822,
        object_rotation=0.463,
        contact=0.359,
        physics=0.086,
        diversity=0.060,
        reprojection=0.553,
        sigma_reparam=0.001,
    )


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_weights_that_make_no_sense_are_refused(bad):
    with pytest.raises(ValueError, match=f"contact must be finite and 0 or more, got {bad}"):
        LossWeights(contact=bad)


def test_the_total_is_the_weighted_sum():
    batch = labelled_batch(3)
    gammas = [torch.tensor(3.0)]
    found = values(disturbed(output_at_truth(batch)), batch, gammas=gammas)
    assert list(found) == [*NAMES, "total"]
    expected = sum(getattr(LossWeights(), name) * found[name] for name in NAMES)
    assert found["total"] == pytest.approx(expected, rel=1e-5)
    assert all(found[name] > 0 for name in NAMES if name != "diversity")


# Truth and error


@pytest.mark.parametrize("size", [1, 4])
def test_truth_costs_nothing(size):
    batch = labelled_batch(size)
    found = values(output_at_truth(batch, refine_steps=0), batch)
    # The likelihood of a variance has no least value: it is 0 at 1 cm, here 0.3 mm are claimed.
    assert found.pop("hand_refined") == pytest.approx(0.1 * math.log(math.exp(-8) / 0.01), rel=1e-3)
    assert found.pop("total") < 0
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=2e-4)


def test_more_error_costs_more_in_every_loss():
    batch = labelled_batch(8)
    truth = output_at_truth(batch)
    steps = [values(disturbed(truth, amount), batch) for amount in (0.0, 0.5, 1.0, 2.0)]
    for name in set(NAMES) - {"diversity", "sigma_reparam"}:
        costs = [found[name] for found in steps]
        assert costs == sorted(costs), name
        assert costs[-1] > costs[0] + 0.05, name


def test_a_centimetre_costs_a_tenth():
    batch = labelled_batch(2)
    truth = batch["joints"]
    moved = truth + torch.tensor([0.01, 0.0, 0.0])
    assert L.joints_loss(truth, batch) == 0
    # A move of the whole hand counts in its place alone.
    assert L.joints_loss(moved, batch).item() == pytest.approx(0.3 * 0.082, rel=0.01)
    bent = truth.clone()
    bent[:, Keypoint.INDEX_TIP, 0] += 0.01
    assert L.joints_loss(bent, batch).item() == pytest.approx(1.3 * 0.082 / 21, rel=0.01)


def test_every_refinement_counts_alike():
    batch = labelled_batch(2)
    truth = output_at_truth(batch, refine_steps=3)
    wrong = batch["joints"] + 0.03 * torch.randn(2, 21, 3, generator=torch.manual_seed(0))
    costs = []
    for step in range(3):
        refinements = list(truth.refinements)
        refinements[step] = wrong
        costs.append(L.hand_refined_loss(replace(truth, refinements=refinements), batch).item())
    assert costs == pytest.approx([costs[0]] * 3)
    expected = L.joints_loss(wrong, batch).item() / 3
    assert costs[0] - L.hand_refined_loss(truth, batch).item() == pytest.approx(expected, rel=1e-4)


def test_the_likeliest_deviation_is_that_of_the_errors():
    batch = labelled_batch(64)
    draw = torch.manual_seed(3)
    sign = torch.randint(0, 2, (64, 20, 3), generator=draw) * 2 - 1
    laplace = 0.006 * sign * torch.empty(64, 20, 3).exponential_(generator=draw)
    joints = batch["joints"].clone()
    joints[:, 1:] += laplace
    output = replace(output_at_truth(batch), joints=joints)
    logs = torch.linspace(-11, -8, 61)
    costs = [
        L.variance_loss(replace(output, joints_log_variance=log.expand(64, 21, 3)), batch).item()
        for log in logs
    ]
    best = math.exp(0.5 * logs[costs.index(min(costs))])
    # The maximum-likelihood deviation of a Laplace distribution.
    assert best == pytest.approx(math.sqrt(2) * laplace.abs().mean().item(), rel=0.03)


def test_hands_built_of_the_wrong_side_do_not_learn_its_rotations():
    batch = labelled_batch(4)
    output = disturbed(output_at_truth(batch))
    right, wrong = output.mano_rotations.clone(), output.side.clone()
    wrong[0] = 1 - wrong[0]
    right[0] = torch.eye(3)
    spoilt = replace(output, side=wrong, mano_rotations=right)
    rest = {k: v[1:] for k, v in batch.items()}
    angles = L.mano_loss(spoilt, batch) - L.mano_loss(output.map(lambda v: v[1:]), rest)
    # What differs is the shape, which is the same for both sides.
    shape = [(output.mano_shape - batch["mano_shape"])[rows] for rows in (slice(None), slice(1, 4))]
    all_, some = ((s.abs() - 0.05).where(s.abs() > 0.1, 5 * s * s).mean() for s in shape)
    assert angles.item() == pytest.approx(0.05 * (all_ - some).item(), abs=1e-5)


def test_the_2d_head_answers_only_for_keypoints_in_the_crop():
    batch = labelled_batch(1)
    batch["keypoints_px"][0, 0] = torch.tensor([-5.0, 20.0])
    truth = output_at_truth(batch)
    outside = truth.keypoints_px.clone()
    outside[0, 0] += 100
    logits = truth.keypoint_logits.clone()
    logits[0, 0] = 0
    assert L.keypoint_place_loss(replace(truth, keypoints_px=outside), batch) == 0
    assert L.keypoint_heat_loss(replace(truth, keypoint_logits=logits), batch) < 1e-5
    flat = replace(truth, keypoint_logits=torch.zeros_like(logits))
    assert L.keypoint_heat_loss(flat, batch).item() > 1


def test_reprojection_does_not_care_about_depth_and_is_bounded():
    batch = labelled_batch(2)
    truth = output_at_truth(batch)
    farther = {n: 1.2 * getattr(truth, n) for n in ("coarse_joints", "joints", "mano_joints")}
    camera = batch["camera"]
    assert L.reprojection_loss(replace(truth, **farther), batch) < 1e-4
    behind = {n: -v for n, v in farther.items()}
    far = L.reprojection_loss(replace(truth, **behind), batch)
    assert 1 < far.item() < 10
    # One pixel counts the same in the whole crop: 2.5 dm are 224 pixels.
    shifted = batch["keypoints_px"] + torch.tensor([20.0, 0.0])
    found = L.reprojection_loss(truth, batch | {"keypoints_px": shifted, "camera": camera})
    assert found.item() == pytest.approx(20 * 2.5 / 224 - 0.02, abs=0.002)


# Objects


def test_objects_do_not_care_about_the_order_of_queries():
    batch = labelled_batch(4)
    wrong = [disturbed(output_at_truth(batch, seed=s), 0.0) for s in (0, 1)]
    first, second = (values(output, batch) for output in wrong)
    assert first["object_position"] == pytest.approx(second["object_position"], abs=1e-6)
    output = disturbed(output_at_truth(batch))
    order = torch.randperm(10, generator=torch.manual_seed(0))
    names = [n.name for n in fields(output) if n.name.startswith("object")]
    mixed = replace(output, **{n: getattr(output, n)[:, order] for n in names})
    for name in ("object_position", "object_rotation"):
        assert values(mixed, batch)[name] == pytest.approx(values(output, batch)[name], rel=1e-5)


def test_objects_without_a_labelled_pose_count_for_class_and_confidence_alone():
    batch = labelled_batch(2)
    batch["object_pose_valid"][:] = False
    truth = output_at_truth(batch)
    lost = replace(truth, object_position=truth.object_position + 1)
    lost = replace(lost, object_rotation=torch.eye(3).expand(2, 10, 3, 3))
    found = values(lost, batch)
    assert found["object_rotation"] == 0 and found["object_position"] < 1e-5
    unsure = replace(lost, object_class_logits=torch.zeros(2, 10, 21))
    assert values(unsure, batch)["object_position"] == pytest.approx(0.2 * math.log(21), rel=1e-4)
    silent = replace(lost, object_confidence_logits=torch.full((2, 10), -20.0))
    # Three of ten queries, each wrong by 20.
    assert values(silent, batch)["object_position"] == pytest.approx(0.5 * 6, rel=1e-4)


def test_pictures_without_objects_teach_silence():
    batch = labelled_batch(2)
    batch["object_class"][:] = -1
    loud = replace(output_at_truth(batch), object_confidence_logits=torch.full((2, 10), 3.0))
    found = values(loud, batch)
    assert found["object_position"] == pytest.approx(0.5 * math.log(1 + math.exp(3)), rel=1e-5)
    assert found["object_rotation"] == 0


def test_wrong_depth_of_the_hand_is_not_charged_to_its_objects_and_contacts():
    batch = labelled_batch(2)
    truth = output_at_truth(batch)
    move = torch.tensor([0.0, 0.0, 0.05])
    names = ("joints", "mano_joints", "object_position", "contact_point")
    moved = values(replace(truth, **{n: getattr(truth, n) + move for n in names}), batch)
    # What is left is the share of the absolute place.
    assert moved["object_position"] == pytest.approx(0.3 * 0.48, rel=0.01)
    assert moved["contact"] < 1e-4


def test_half_turns_and_none_have_sound_gradients():
    batch = labelled_batch(1)
    output = output_at_truth(batch)
    half = matrix_from_rotvec(torch.tensor([math.pi, 0.0, 0.0]))
    for turn in (torch.eye(3), half):
        said = learning(replace(output, object_rotation=output.object_rotation @ turn))
        found = compute_losses(said, batch, single("object_rotation"))
        found["total"].backward()
        angle = math.pi if turn is half else 0.0
        assert found["object_rotation"].item() == pytest.approx(angle, abs=1e-3)
        assert torch.isfinite(said.object_rotation.grad).all()


# Contacts


def test_contact_details_count_only_where_there_is_contact():
    batch = labelled_batch(2)
    batch["contact_type"][:, ::2] = 0
    batch["contact_force_valid"][:, 5:] = False
    truth = output_at_truth(batch)
    lost = {
        "contact_point": truth.contact_point.clone(),
        "contact_force_direction": truth.contact_force_direction.clone(),
        "contact_force": truth.contact_force.clone(),
    }
    lost["contact_point"][:, ::2] += 1
    lost["contact_force_direction"][:, ::2] *= -1
    lost["contact_force"][:, 5:] += 10
    assert values(replace(truth, **lost), batch)["contact"] < 1e-4
    lost["contact_force"][:, :5] += 10
    assert values(replace(truth, **lost), batch)["contact"] > 0.1


def test_the_few_vertices_that_touch_count_as_much_as_all_others():
    batch = labelled_batch(2)
    batch["contact_map"][:] = 0
    batch["contact_map"][:, :78] = 1
    output = output_at_truth(batch)
    logits = torch.full((2, 778), -3.0)
    missed = L.contact_map_loss(replace(output, contact_map_logits=logits), batch)
    imagined = L.contact_map_loss(replace(output, contact_map_logits=-logits), batch)
    assert missed.item() == pytest.approx(imagined.item(), rel=1e-4)


def test_unlabelled_maps_do_not_change_the_balance():
    batch = labelled_batch(2)
    batch["contact_valid"][1] = False
    output = disturbed(output_at_truth(batch))
    before = L.contact_map_loss(output, batch).item()
    batch["contact_map"][1] = 1 - batch["contact_map"][1]
    assert L.contact_map_loss(output, batch).item() == pytest.approx(before)


# Diversity


def test_one_answer_for_all_lacks_all_diversity():
    batch = labelled_batch(6)
    truth = output_at_truth(batch)
    mean = batch["joints"].mean(0, keepdim=True).expand(6, 21, 3)
    assert L.diversity_loss(truth, batch) == 0
    flat = replace(truth, joints=mean, mano_joints=mean)
    assert L.diversity_loss(flat, batch).item() == pytest.approx(1, abs=1e-3)
    half = torch.lerp(batch["joints"], mean, 0.5)
    assert L.diversity_loss(replace(truth, joints=half, mano_joints=half), batch).item() == (
        pytest.approx(0.5, abs=1e-3)
    )
    wide = torch.lerp(batch["joints"], mean, -0.5)
    assert L.diversity_loss(replace(truth, joints=wide, mano_joints=wide), batch) == 0
    # A mesh that spreads too far does not make up for joints that do not.
    mixed = replace(truth, joints=mean, mano_joints=wide)
    assert L.diversity_loss(mixed, batch).item() == pytest.approx(0.5, abs=1e-3)
    # Moving the same hand about is no diversity.
    moved = mean + torch.randn(6, 1, 3, generator=torch.manual_seed(0))
    assert L.diversity_loss(replace(truth, joints=moved, mano_joints=moved), batch) > 0.99


def test_labels_without_spread_ask_for_none():
    batch = {k: v.expand(4, *v.shape[1:]).clone() for k, v in labelled_batch(1).items()}
    output = learning(disturbed(output_at_truth(batch)))
    same = compute_losses(output, batch, single("diversity"))
    same["total"].backward()
    assert same["diversity"] == 0 and output.joints.grad.abs().max() == 0
    one = labelled_batch(1)
    assert L.diversity_loss(disturbed(output_at_truth(one)), one) == 0


# Spectral norms


def test_only_large_spectral_norms_cost():
    small = [torch.tensor(0.1), torch.tensor(1.0)]
    assert L.sigma_reparam_loss(small) == 0
    found = L.sigma_reparam_loss([torch.tensor(math.e), torch.tensor([-math.e]), *small])
    assert found.item() == pytest.approx(0.5)
    gamma = torch.tensor(20.0, requires_grad=True)
    L.sigma_reparam_loss([gamma]).backward()
    assert gamma.grad.item() == pytest.approx(2 * math.log(20) / 20)


# Masks, precision, garbage


def test_no_labels_cost_nothing_and_pull_nowhere():
    batch = empty(3)
    output = learning(disturbed(output_at_truth(labelled_batch(3))))
    weights = replace(LossWeights(), physics=0.0)
    found = compute_losses(output, batch, weights)
    assert all(found[name] == 0 for name in (*NAMES, "total") if name != "physics")
    found["total"].backward()
    gradients = [t.grad for t in output.tensors().values() if t.grad is not None]
    assert len(gradients) > 15
    assert all((g == 0).all() for g in gradients)


@pytest.mark.parametrize("hidden", [["joints", "keypoints_px"], ["mano"], ["side"], ["contact"]])
def test_samples_without_a_label_do_not_count(hidden):
    batch, alone = labelled_batch(4), labelled_batch(4)
    output = disturbed(output_at_truth(batch))
    names = {
        "hand_coarse": lambda o, b: L.hand_coarse_loss(o, b),
        "hand_refined": lambda o, b: L.hand_refined_loss(o, b),
        "reprojection": lambda o, b: L.reprojection_loss(o, b),
        "contact": lambda o, b: L.contact_loss(o, b),
        "diversity": lambda o, b: L.diversity_loss(o, b),
    }
    for kind in hidden:
        batch[f"{kind}_valid"][3] = False
    if hidden[0] == "joints":
        batch["mano_valid"][3] = batch["side_valid"][3] = batch["contact_valid"][3] = False
        rest, kept = {k: v[:3] for k, v in alone.items()}, output.map(lambda v: v[:3])
        for name, loss in names.items():
            assert loss(output, batch).item() == pytest.approx(loss(kept, rest).item(), rel=1e-5), (
                name
            )
    wild = output.map(lambda v: v.clone())
    field = {"mano": "mano_rotations", "side": "side_logits", "contact": "contact_type_logits"}
    spoilt = getattr(wild, field.get(hidden[0], "coarse_joints"))
    spoilt[3] = torch.eye(3) if hidden[0] == "mano" else 7.0
    for loss in names.values():
        assert loss(wild, batch).item() == pytest.approx(loss(output, batch).item(), rel=1e-5)


def test_half_precision_outputs_are_judged_in_single():
    batch = labelled_batch(2)
    half = disturbed(output_at_truth(batch)).map(
        lambda v: v.bfloat16() if v.is_floating_point() else v
    )
    with torch.autocast("cpu", torch.bfloat16):
        found = compute_losses(half, batch, LossWeights())
    again = compute_losses(
        half.map(lambda v: v.float() if v.is_floating_point() else v), batch, LossWeights()
    )
    for name, value in found.items():
        assert value.dtype == torch.float32 and value == again[name], name


@pytest.mark.parametrize("size", [1, 3])
def test_degenerate_predictions_have_sound_losses_and_gradients(size):
    batch = labelled_batch(size)
    truth = output_at_truth(batch)
    for change in (torch.zeros_like, lambda v: 1e4 * torch.ones_like(v)):
        output = learning(truth.map(lambda v, c=change: c(v) if v.is_floating_point() else v))
        found = compute_losses(output, batch, LossWeights(), [torch.tensor(0.0)])
        assert all(torch.isfinite(v) for v in found.values())
        found["total"].backward()
        for name, tensor in output.tensors().items():
            if tensor.grad is not None:
                assert torch.isfinite(tensor.grad).all(), name


def test_numbers_that_are_none_show_up_in_their_own_losses_alone():
    batch = labelled_batch(2)
    output = output_at_truth(batch)
    position = output.object_position.clone()
    position[0] = math.nan
    found = values(replace(output, object_position=position), batch)
    assert math.isnan(found["object_position"]) and math.isnan(found["total"])
    assert found["object_rotation"] == found["object_rotation"]
    assert found["hand_coarse"] < 1e-3


# Gradients

# Fields that a loss reads but does not pull at, on purpose.
DETACHED = {
    ("hand_refined", "joints"),
    ("object_position", "joints"),
    ("contact", "mano_joints"),
}


def test_gradients_are_those_of_finite_differences():
    batch = labelled_batch(3)
    middle = batch["joints"].mean(1, keepdim=True)
    batch["object_surface"] = sphere().repeat(3, 1, 1) + torch.cat((middle, 0 * middle), dim=-1)
    # Bent out of range, and without the spread of the truth.
    output = disturbed(output_at_truth(batch), 2.0)
    for name in ("joints", "mano_joints"):
        setattr(output, name, 0.5 * getattr(output, name) + 0.5 * getattr(output, name)[:1])
    output, batch = doubled(output, batch)
    gammas = [torch.tensor(g, dtype=torch.float64) for g in (0.3, 1.7, 4.0)]
    draw = torch.manual_seed(0)
    checked = set()

    def cost(at, norms):
        return compute_losses(at, batch, LossWeights(), norms)

    said = learning(output)
    norms = [g.clone().requires_grad_() for g in gammas]
    found = cost(said, norms)
    leaves = {k: t for k, t in said.tensors().items() if t.is_floating_point()}
    assert all(found[name] > 0 for name in NAMES)
    slopes = {
        name: dict(
            zip(
                (*leaves, "gammas"),
                torch.autograd.grad(
                    value, (*leaves.values(), norms[2]), retain_graph=True, allow_unused=True
                ),
                strict=True,
            )
        )
        for name, value in found.items()
    }
    step = 1e-6
    for name, leaf in {**leaves, "gammas": norms[2]}.items():
        way = torch.randn(leaf.shape, generator=draw, dtype=torch.float64)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                leaf += sign * step * way
                ends.append(cost(said, norms))
                leaf -= sign * step * way
        for loss in NAMES:
            numeric = (ends[0][loss] - ends[1][loss]).item() / (2 * step)
            slope = slopes[loss][name]
            exact = 0.0 if slope is None else (slope * way).sum().item()
            if (loss, name) in DETACHED:
                assert exact == 0 and abs(numeric) > 1e-6, (loss, name)
            else:
                assert exact == pytest.approx(numeric, rel=1e-4, abs=1e-8), (loss, name)
                if exact:
                    checked.add((loss, name))
    assert {loss for loss, _ in checked} == set(NAMES)
    # All that a network says is judged; the pose vectors are the rotations once more.
    assert {name for _, name in checked} == {*leaves, "gammas"} - {"mano_pose"}
