"""Where the time goes from a picture to the robot's command, in a bag whose delays are known."""

import pytest

from manip_bringup import latency
from manip_core import interfaces as topics
from recorded_bag import COMMAND_HZ, DELAYS, record


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return record(tmp_path_factory.mktemp("bag") / "bag", 4.0, jitter=0.002)


def test_each_stage_takes_what_it_took(bag):
    measured = latency.measure(bag)
    assert 0.9 * measured.pictures < len(measured.ages) <= measured.pictures == 120
    shares = dict(zip(latency.STAGES, measured.shares.T, strict=True))
    ages = [DELAYS[name] for name in ("camera", "hand", "smoothed", "target")]
    for name, before, after in zip(latency.STAGES, [0.0, *ages], ages, strict=False):
        assert shares[name] == pytest.approx(after - before, abs=1e-6)
    # The control loop sends at its next tick.
    whole = measured.ages[:, -1]
    assert whole.min() >= DELAYS["command"] - 1e-3
    assert whole.max() <= DELAYS["command"] + 1 / COMMAND_HZ + 1e-3


def test_the_table_adds_up(bag, capsys):
    assert latency.main([str(bag)]) == 0
    lines = capsys.readouterr().out.splitlines()
    parts = [int(line.split()[-1].rstrip("%")) for line in lines[1:6]]
    assert abs(sum(parts) - 100) <= 3
    assert [line.split("  ")[0] for line in lines[1:6]] == list(latency.STAGES)
    assert lines[6].startswith("exposure to command") and "pictures became a command" in lines[7]


def test_a_driver_whose_commands_bear_no_exposure(bag, monkeypatch):
    stages = latency.STAGES | {"control": topics.HAND_POSITIONS.name}
    monkeypatch.setattr(latency, "STAGES", stages)
    measured = latency.measure(bag)
    waited = measured.shares[:, -1]
    assert (waited >= 0).all() and waited.max() <= 1 / COMMAND_HZ + 1e-3


def test_says_what_is_missing(bag, monkeypatch, tmp_path):
    stages = {"camera": topics.TRUTH.name, "control": topics.HAND_COMMAND.name}
    monkeypatch.setattr(latency, "STAGES", stages)
    with pytest.raises(ValueError, match="no messages on /hand/truth"):
        latency.measure(bag)
    with pytest.raises(FileNotFoundError, match="no bag at"):
        latency.measure(tmp_path / "none")
