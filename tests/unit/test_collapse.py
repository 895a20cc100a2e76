"""The watch on training: it speaks up when predictions are all alike, and only then."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from manip_core.hand_skeleton import Keypoint
from manip_model.rotations import matrix_from_rotvec
from manip_training.batch import empty
from manip_training.collapse import (
    CollapseWatch,
    WatchConfig,
    attention_entropy,
    gradient_norms,
)
from model_fixtures import labelled_batch, output_at_truth

QUICK = WatchConfig(every=1, spread=0.3, patience=3, warmup=0)


@pytest.fixture
def batch():
    return labelled_batch(8)


def alike(batch, share: float = 1.0):
    """Predictions that are so much of the way to the mean."""
    joints = torch.lerp(batch["joints"], batch["joints"].mean(0, keepdim=True), share)
    return replace(output_at_truth(batch), joints=joints)


def test_truth_spreads_like_the_truth(batch):
    figures = CollapseWatch(QUICK).look(1, output_at_truth(batch), batch)
    assert figures["spread_ratio"] == pytest.approx(1)
    assert figures["articulation_ratio"] == pytest.approx(1)
    joints = [value for name, value in figures.items() if name.startswith("joint/")]
    assert len(joints) == 21 and max(joints) == 0


def test_half_the_way_to_the_mean_is_half_the_spread(batch):
    figures = CollapseWatch(QUICK).look(1, alike(batch, 0.5), batch)
    assert figures["spread_ratio"] == pytest.approx(0.5, rel=1e-4)


def test_orientation_without_articulation_shows(batch):
    rest = batch["joints"][:1] - batch["joints"][:1, :1]
    turns = matrix_from_rotvec(torch.randn(8, 3, generator=torch.manual_seed(0)))
    turned = (turns[:, None] @ rest[..., None]).squeeze(-1)
    figures = CollapseWatch(QUICK).look(1, replace(alike(batch), joints=turned), batch)
    assert figures["spread_ratio"] > 0.5
    assert figures["articulation_ratio"] < 1e-3


def test_the_error_of_each_joint_is_relative_to_the_wrist(batch):
    joints = batch["joints"].clone() + 0.4
    joints[:, Keypoint.RING_TIP, 1] += 0.021
    watch = CollapseWatch(QUICK)
    figures = watch.look(1, replace(alike(batch), joints=joints), batch)
    assert figures["joint/ring_tip_mm"] == pytest.approx(21, rel=1e-3)
    assert figures["joint/wrist_mm"] == 0
    assert watch.state.error_mm == pytest.approx(1, rel=1e-2)


def test_collapse_is_told_after_so_many_looks_with_numbers_and_advice(batch):
    watch = CollapseWatch(QUICK)
    for step in (1, 2, 3):
        assert watch.collapsed() is None
        watch.look(step, alike(batch, 0.9), batch, {"a.1": 0.7, "b.2": 0.02})
    message = watch.collapsed()
    for part in ("over 3 looks", "0.100 times", "0.3 times", "0.020, in b.2", "lower optim.lr"):
        assert part in message, part


def test_one_good_look_begins_the_count_again(batch):
    watch = CollapseWatch(QUICK)
    for step, share in enumerate((1, 1, 0, 1, 1)):
        watch.look(step + 1, alike(batch, share), batch)
    assert watch.collapsed() is None
    watch.look(6, alike(batch), batch)
    assert watch.collapsed()


def test_warm_up_does_not_count(batch):
    watch = CollapseWatch(replace(QUICK, warmup=10))
    for step in range(1, 13):
        watch.look(step, alike(batch), batch)
    assert watch.collapsed() is None
    watch.look(13, alike(batch), batch)
    assert watch.collapsed()


def test_no_patience_at_all_never_ends_a_training(batch):
    watch = CollapseWatch(replace(QUICK, patience=0))
    for step in range(1, 9):
        watch.look(step, alike(batch), batch)
    assert watch.collapsed() is None


def test_predictions_that_are_no_numbers_count_as_collapsed(batch):
    watch = CollapseWatch(QUICK)
    for step in (1, 2, 3):
        watch.look(step, replace(alike(batch), joints=math.nan * batch["joints"]), batch)
    assert "nan times" in watch.collapsed()


def test_labels_that_do_not_vary_say_nothing(batch):
    same = {k: v[:1].expand(8, *v.shape[1:]).clone() for k, v in batch.items()}
    watch = CollapseWatch(QUICK)
    watch.look(1, alike(batch), batch)
    for step in range(2, 9):
        assert "spread_ratio" not in watch.look(step, alike(same), same)
    assert watch.state.low_in_a_row == 1


@pytest.mark.parametrize("size", [0, 1])
def test_too_few_labelled_hands_say_nothing(batch, size):
    few = empty(8)
    few["joints_valid"][:size] = True
    figures = CollapseWatch(QUICK).look(1, alike(batch), few)
    assert "spread_ratio" not in figures
    assert ("joint/wrist_mm" in figures) == bool(size)


def test_a_watch_goes_on_where_it_stopped(batch):
    whole, first = CollapseWatch(QUICK), CollapseWatch(QUICK)
    for watch in (whole, first):
        for step in (1, 2):
            watch.look(step, alike(batch, 0.9), batch, {"a": 0.5})
    second = CollapseWatch(QUICK)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for watch in (whole, second):
        watch.look(3, alike(batch, 0.8), batch)
    assert second.state_dict() == whole.state_dict()
    assert second.collapsed() == whole.collapsed() is not None


def test_looks_are_due_every_so_many_steps():
    watch = CollapseWatch(WatchConfig(every=4))
    assert [step for step in range(1, 13) if watch.due(step)] == [4, 8, 12]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"every": 0}, "every must be 1 or more, got 0"),
        ({"patience": -1}, "patience must be 0 or more, got -1"),
        ({"spread": 1.5}, "spread must lie within 0 and 1, got 1.5"),
    ],
)
def test_configs_that_make_no_sense_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        WatchConfig(**bad)


# Attention


def test_entropy_runs_from_one_place_to_everywhere():
    weights = torch.zeros(2, 3, 4, 16)
    weights[:, 0, :, 5] = 1
    weights[:, 1] = 1 / 16
    weights[:, 2, :, :4] = 1 / 4
    assert attention_entropy(weights).tolist() == pytest.approx([0, 1, 0.5])
    random = torch.randn(2, 3, 4, 16).mul(3).softmax(-1)
    assert (attention_entropy(random) > 0).all() and (attention_entropy(random) < 1).all()
    assert attention_entropy(random.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("shape", [(3, 4, 16), (2, 3, 4, 1)])
def test_weights_of_another_form_are_refused(shape):
    with pytest.raises(ValueError, match=r"weights must be \(B, H, Q, K\) with K > 1, got"):
        attention_entropy(torch.ones(shape))


# Gradients


def test_gradient_norms_add_up_to_that_of_all():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head, self.idle = nn.Linear(3, 3), nn.Linear(3, 1), nn.Linear(2, 2)
            self.token = nn.Parameter(torch.ones(3))

    network = Network()
    assert gradient_norms(network) == {}
    network.head(network.body(network.token)).sum().backward()
    norms = gradient_norms(network)
    assert set(norms) == {"body", "head", "token", "all"}
    grads = [p.grad for p in network.head.parameters()]
    assert norms["head"] == pytest.approx(torch.nn.utils.get_total_norm(grads).item())
    parts = [value**2 for name, value in norms.items() if name != "all"]
    assert norms["all"] == pytest.approx(math.sqrt(sum(parts)))
