"""Matching queries to objects: the cheapest assignment, whatever the labels lack."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from manip_training.batch import empty
from manip_training.object_matching import (
    assign,
    assign_few,
    is_matched,
    match_objects,
    matching_cost,
    of_matched,
)
from model_fixtures import disturbed, labelled_batch, output_at_truth


def test_queries_that_know_are_found():
    batch = labelled_batch(6)
    output = output_at_truth(batch, seed=4)
    matched = match_objects(output, batch)
    filled = batch["object_class"] >= 0
    assert ((matched >= 0) == filled).all()
    found = of_matched(output.object_position, matched)
    torch.testing.assert_close(found[filled], batch["object_position"][filled])
    sure = output.object_confidence_logits > 0
    assert (is_matched(matched, 10) == sure).all()


def test_small_errors_do_not_change_who_answers():
    batch = labelled_batch(6)
    output = output_at_truth(batch)
    assert (match_objects(disturbed(output, 0.3), batch) == match_objects(output, batch)).all()


def test_no_other_assignment_is_cheaper():
    batch = labelled_batch(4)
    output = disturbed(output_at_truth(batch), 3.0)
    cost, matched = matching_cost(output, batch), match_objects(output, batch)
    for sample in range(4):
        slots = [s for s in range(10) if matched[sample, s] >= 0]
        costs = cost[sample].numpy()
        ours = sum(costs[matched[sample, s], s] for s in slots)
        others = (
            sum(costs[q, s] for q, s in zip(queries, slots, strict=True))
            for queries in itertools.permutations(range(10), len(slots))
        )
        assert ours == pytest.approx(min(others), abs=1e-4)


@pytest.mark.parametrize("slots", (1, 2))
def test_few_slots_are_assigned_as_many_are(slots):
    draw = torch.Generator().manual_seed(slots)
    cost = torch.randn(200, 5, slots, generator=draw)
    # Two slots that want the same query.
    cost[:50] = cost[:50, :, :1] + 0.01 * cost[:50]
    there = torch.rand(200, slots, generator=draw) < 0.7
    expected = assign(torch.where(there[:, None], cost, torch.inf).numpy())
    assert np.array_equal(assign_few(cost, there).numpy(), expected)


def test_every_query_answers_at_most_once():
    batch = labelled_batch(3)
    batch["object_class"][:] = 4
    output = output_at_truth(batch).map(torch.zeros_like)
    matched = match_objects(output, batch)
    assert (matched.sort(dim=1).values == torch.arange(10)).all()


def test_each_error_decides_where_the_others_are_equal():
    batch = {k: v[:1] for k, v in labelled_batch(1).items()}
    batch["object_class"][:] = -1
    batch["object_class"][0, 5] = 7
    same = output_at_truth(batch)
    same = replace(
        same,
        object_class_logits=torch.zeros(1, 10, 21),
        object_confidence_logits=torch.zeros(1, 10),
        object_position=batch["object_position"][:, 5:6].expand(1, 10, 3) + 0.1,
        object_rotation=-torch.eye(3).expand(1, 10, 3, 3),
    )
    batch["object_pose_valid"][:] = True
    # Queries before it would have their turn first.
    same.object_position = same.object_position.clone()
    same.object_position[:, :3] = 100.0
    better = {
        "object_class_logits": lambda v: v[0, 3].__setitem__(7, 5.0),
        "object_confidence_logits": lambda v: v[0].__setitem__(3, 5.0),
        "object_position": lambda v: v[0, 3].copy_(batch["object_position"][0, 5]),
        "object_rotation": lambda v: v[0, 3].copy_(batch["object_rotation"][0, 5]),
    }
    for name, change in better.items():
        value = getattr(same, name).clone()
        change(value)
        assert match_objects(replace(same, **{name: value}), batch)[0, 5] == 3, name


def test_queries_that_know_alike_take_turns():
    """Without, ten would share the few objects of a hand, and each be sure of a tenth."""
    batch = labelled_batch(5)
    batch["object_class"][:, 2:] = -1
    batch["object_class"][1, 1] = -1
    draw = torch.Generator().manual_seed(0)
    alike = output_at_truth(batch).map(torch.zeros_like)
    place = batch["object_position"][:, :1] + 0.005 * torch.randn(5, 10, 3, generator=draw)
    matched = match_objects(replace(alike, object_position=place), batch)
    assert sorted(matched[matched >= 0].tolist()) == [0] * 5 + [1] * 4


def test_an_unlabelled_pose_leaves_class_and_confidence():
    batch = labelled_batch(2)
    batch["object_pose_valid"][:] = False
    batch["object_class"][:, :3] = torch.arange(3)
    output = output_at_truth(batch)
    lost = replace(output, object_position=output.object_position.flip(1))
    assert (match_objects(lost, batch) == match_objects(output, batch)).all()


def test_pictures_without_labels_match_nothing():
    output = output_at_truth(labelled_batch(2))
    assert (match_objects(output, empty(2)) == -1).all()
    batch = labelled_batch(2)
    batch["objects_valid"][0] = False
    matched = match_objects(output, batch)
    assert (matched[0] == -1).all() and (matched[1] >= 0).sum() == 3


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30])
def test_predictions_that_are_no_numbers_are_the_last_choice(bad):
    batch = labelled_batch(2)
    output = output_at_truth(batch)
    matched = match_objects(output, batch)
    idle = next(q for q in range(10) if q not in matched[0])
    output.object_position[0, idle] = bad
    output.object_class_logits[0, idle] = bad
    assert (match_objects(output, batch) == matched).all()
    output.object_position[:] = bad
    assert (match_objects(output, batch) >= 0).sum() == 6


def test_matching_has_no_gradient_and_takes_any_precision():
    batch = labelled_batch(2)
    output = output_at_truth(batch)
    wanted = match_objects(output, batch)
    output.object_position.requires_grad_()
    assert not match_objects(output, batch).requires_grad
    double = output.map(lambda v: v.double() if v.is_floating_point() else v)
    assert (match_objects(double, batch) == wanted).all()


def test_more_objects_than_queries_are_refused():
    with pytest.raises(ValueError, match="4 objects are labelled, but only 3 queries"):
        assign(np.zeros((1, 3, 4)))


def test_matched_values_of_any_rank():
    matched = torch.tensor([[2, -1, 0]])
    scalars = torch.tensor([[10.0, 11.0, 12.0]])
    assert of_matched(scalars, matched)[0, [0, 2]].tolist() == [12.0, 10.0]
    assert of_matched(torch.randn(1, 3, 3, 3), matched).shape == (1, 3, 3, 3)
    assert is_matched(matched, 4).tolist() == [[True, False, True, False]]
