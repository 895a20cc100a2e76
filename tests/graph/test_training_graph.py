"""The training node: a run started, followed and cancelled over ROS."""

import pytest
from harness import running

from manip_bringup.graph import NodeSpec
from manip_core.interfaces import CANCEL_TRAINING, START_TRAINING, TRAINING_STATE
from manip_ros.topics import message_type
from manip_training.data.generate import generate_tree

State = message_type(TRAINING_STATE)
# The smallest run that goes through the whole line.
SMALL = [
    "preset=tiny",
    "data.name=generated",
    "train.steps=3",
    "train.batch=2",
    "train.device=cpu",
    "run.log_every=1",
]


@pytest.fixture(scope="module")
def small_tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "tree"
    return generate_tree(root, subjects=1, sequences=5, serials=1, frames=4)


@pytest.fixture
def node(probe, tmp_path):
    with running([NodeSpec("manip_training", "training_node", {"runs": str(tmp_path / "runs")})]):
        yield probe(TRAINING_STATE)


def last(node):
    return node.last(TRAINING_STATE)


@pytest.mark.timeout(300)
def test_a_run_reports_its_progress_and_ends(node, small_tree):
    answer = node.call(START_TRAINING, overrides=[*SMALL, f"data.root={small_tree}"], name="first")
    assert answer.success, answer.message
    assert answer.run.endswith("runs/first")
    again = node.call(START_TRAINING, overrides=SMALL)
    assert not again.success and "under way" in again.message
    node.wait(lambda: last(node).status not in (State.RUNNING,), 200, "end of the run")
    end = last(node)
    assert end.status == State.DONE, end.message
    assert (end.step, end.steps, end.progress) == (3, 3, 1.0)
    metrics = dict(zip(end.metric_names, end.metric_values, strict=True))
    assert metrics["loss"] > 0
    steps = [msg.step for msg in node.received[TRAINING_STATE.name]]
    assert steps == sorted(steps)


@pytest.mark.timeout(300)
def test_a_run_is_cancelled_and_a_wrong_one_explained(node, small_tree):
    assert not node.call(CANCEL_TRAINING).success
    long = [*SMALL, f"data.root={small_tree}", "train.steps=100000"]
    assert node.call(START_TRAINING, overrides=long, name="long").success
    node.wait(lambda: last(node).step > 0, 200, "first step")
    assert node.call(CANCEL_TRAINING).success
    node.wait(lambda: last(node).status == State.CANCELLED, 60, "cancelled")
    assert node.call(START_TRAINING, overrides=["preset=gigantic"], name="wrong").success
    node.wait(lambda: last(node).status == State.FAILED, 60, "failed")
    assert "gigantic" in last(node).message
