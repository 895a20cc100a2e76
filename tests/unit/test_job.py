"""A training run as a child: started, followed, cancelled, and its failures reported."""

import json
import sys
import time

import pytest

from manip_training.job import Status, TrainingJob

# Stands in for the command: same words, same files, no training.
STAND_IN = """
import json, pathlib, signal, sys, time
words = dict(word.split("=", 1) for word in sys.argv[2:])
assert sys.argv[1] == "train"
run = pathlib.Path(words["run.folder"])
if "fail" in words:
    sys.exit("no dataset at nowhere")
(run / "run.json").write_text(json.dumps({"steps": 50}))
stop = []
signal.signal(signal.SIGINT, lambda *_: stop.append(1) if "deaf" not in words else None)
with (run / "metrics.jsonl").open("w") as log:
    for step in range(1, 51):
        line = json.dumps({"step": step, "loss": 1 / step, "note": "words are no figures"})
        log.write(line[:10]); log.flush(); time.sleep(0.01)
        log.write(line[10:] + "\\n"); log.flush()
        if stop:
            sys.exit(130)
"""


@pytest.fixture
def job(tmp_path):
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    job = TrainingJob((sys.executable, str(script)))
    yield job
    job.close()


def follow(job, until, timeout=20.0):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        state = job.poll(time.monotonic())
        if until(state):
            return state
        time.sleep(0.01)
    raise AssertionError(f"still {job.state}")


def test_a_run_is_followed_to_its_end(job, tmp_path):
    assert job.poll(0.0).status is Status.IDLE
    job.start(tmp_path / "run", [])
    middle = follow(job, lambda s: s.step > 5)
    assert middle.status is Status.RUNNING and middle.steps == 50
    assert middle.metrics == {"loss": pytest.approx(1 / middle.step)}
    end = follow(job, lambda s: s.status is not Status.RUNNING)
    assert (end.status, end.step) == (Status.DONE, 50)
    assert not job.active


def test_cancelling_asks_and_the_run_ends_by_itself(job, tmp_path):
    job.start(tmp_path / "run", [])
    follow(job, lambda s: s.step > 2)
    assert job.cancel(time.monotonic())
    assert job.state.status is Status.CANCELLING
    end = follow(job, lambda s: not job.active)
    assert end.status is Status.CANCELLED and end.step < 50
    assert not job.cancel(time.monotonic())


def test_a_run_that_will_not_end_is_ended(job, tmp_path):
    job.start(tmp_path / "run", ["deaf=1"])
    follow(job, lambda s: s.step > 1)
    job.cancel(now=0.0)
    end = follow(job, lambda s: not job.active)
    assert end.status is Status.CANCELLED and end.step < 50


def test_a_failure_is_told_in_the_runs_own_words(job, tmp_path):
    job.start(tmp_path / "run", ["fail=1"])
    end = follow(job, lambda s: not job.active)
    assert end.status is Status.FAILED
    assert end.message == "no dataset at nowhere"


def test_one_run_at_a_time(job, tmp_path):
    job.start(tmp_path / "one", [])
    with pytest.raises(RuntimeError, match=r"under way in .*one"):
        job.start(tmp_path / "two", [])


def test_another_run_starts_with_a_clean_state(job, tmp_path):
    job.start(tmp_path / "one", ["fail=1"])
    follow(job, lambda s: not job.active)
    job.start(tmp_path / "two", [])
    assert job.state.message == "" and job.state.metrics == {}
    end = follow(job, lambda s: not job.active)
    assert end.status is Status.DONE and json.loads((tmp_path / "two/run.json").read_text())
