"""Marks set from a shell reach the recording, and the recorder says what it made of them."""

import pytest
from harness import only, running, sim

from manip_bringup.bag_arrays import open_bag
from manip_bringup.cdr import read_text
from manip_bringup.episodes import Mark
from manip_bringup.mark_node import send
from manip_core.interfaces import (
    DIAGNOSTICS,
    EPISODE_MARK,
)

WORDS = ("start lift the cube", "success", "start", "failure", "discard")


def test_marks_are_recorded_and_reported(tmp_path, probe):
    folder = tmp_path / "bag"
    listener = probe(DIAGNOSTICS)

    def said() -> dict[str, str]:
        return {
            value.key: value.value
            for message in listener.received[DIAGNOSTICS.name][-1:]
            for status in message.status
            for value in status.values
        }

    with running(only(sim(record=str(folder)), "recorder_node")):
        for words in WORDS:
            send(Mark.parse(words))
        listener.wait(
            lambda: (
                said().get("episodes") == "1 success, 1 discard" and said()["episode"] == "none"
            ),
            what="the recorder's report",
        )
    with open_bag(folder) as reader:
        marks = [c for c in reader.connections if c.topic == EPISODE_MARK.name]
        assert tuple(read_text(data) for *_, data in reader.messages(marks)) == WORDS


def test_a_mark_that_nobody_records_is_told(monkeypatch):
    monkeypatch.setattr("manip_bringup.mark_node._FIND_S", 0.5)
    with pytest.raises(ValueError, match="is a recording running"):
        send(Mark.parse("success"))
