"""Model files: one path is enough, nothing is ever half written, and nothing in them is run."""

import os
import pickle
import resource
import signal

import pytest
import torch

from manip_model import checkpoint
from manip_model.build import build_model
from manip_model.config import preset
from manip_model.hand_model import HandModel
from manip_training.random_batch import random_batch

CONFIG = preset(
    "tiny",
    patch_size=56,
    hidden=32,
    layers=2,
    heads=2,
    taps=(1, 2),
    width=32,
    decoder_layers=1,
    decoder_heads=2,
    frame_width=16,
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(CONFIG, HandModel.open()).eval()


@pytest.fixture
def path(model, tmp_path):
    checkpoint.save_model(tmp_path / "model.pt", model.state_dict(), CONFIG, hand="open")
    return tmp_path / "model.pt"


def test_a_loaded_model_says_what_the_saved_one_said(model, path):
    batch = random_batch(2, model.hand_model)
    again = checkpoint.load_model(path)
    assert not again.training and again.config == CONFIG
    for name, value in model(batch["image"], batch["camera"]).tensors().items():
        there = again(batch["image"], batch["camera"]).tensors()[name]
        assert torch.equal(value, there), name
    assert checkpoint.read_config(path) == CONFIG


def test_no_weights_are_fetched_to_load_a_model_that_was_pretrained(model, tmp_path):
    config = preset("tiny", **{**CONFIG.to_dict(), "pretrained": "nobody/has-this"})
    checkpoint.save_model(tmp_path / "m.pt", model.state_dict(), config, hand="open")
    checkpoint.load_model(tmp_path / "m.pt")


def test_a_model_of_mano_needs_mano(model, tmp_path, monkeypatch):
    monkeypatch.delenv("MANO_DIR", raising=False)
    checkpoint.save_model(tmp_path / "m.pt", model.state_dict(), CONFIG, hand="mano")
    with pytest.raises(ValueError, match="trained with the hand 'mano'"):
        checkpoint.load_model(tmp_path / "m.pt")


def test_weights_that_do_not_fit_are_named(model, tmp_path):
    weights = model.state_dict()
    weights["extra"] = weights.pop("hand_head.queries")
    weights["variance.bias"] = torch.zeros(7)
    checkpoint.save_model(tmp_path / "m.pt", weights, CONFIG, hand="open")
    with pytest.raises(ValueError) as raised:
        checkpoint.load_model(tmp_path / "m.pt")
    for part in ("hand_head.queries is missing", "extra is unknown", "is (7,) instead of (3,)"):
        assert part in str(raised.value)


def test_weights_saved_under_an_older_transformers_are_read(model, tmp_path):
    """Its releases 5.17 and 5.23 name the same projections differently."""
    older = {
        name.replace(".attention.q_proj.", ".attention.attention.query.").replace(
            ".attention.o_proj.", ".attention.output.dense."
        ): value
        for name, value in model.state_dict().items()
    }
    assert older.keys() != model.state_dict().keys()
    checkpoint.save_model(tmp_path / "older.pt", older, model.config, hand="open")
    loaded = checkpoint.load_model(tmp_path / "older.pt")
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04rubbish"])
def test_what_is_no_model_file_is_said_to_be_none(content, tmp_path):
    (tmp_path / "m.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"m\.pt is not a model file"):
        checkpoint.load_model(tmp_path / "m.pt")


def test_other_formats_and_missing_files_are_refused(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="its format is None"):
        checkpoint.read(tmp_path / "other.pt")
    with pytest.raises(FileNotFoundError, match="no model file at"):
        checkpoint.read(tmp_path / "nowhere.pt")


def test_a_file_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was-run"),)

    torch.save({"format": checkpoint.FORMAT, "weights": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="is not a model file"):
        checkpoint.read(tmp_path / "evil.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="is not a model file"):
        checkpoint.read(tmp_path / "plain.pt")
    assert not (tmp_path / "was-run").exists()


def test_a_write_that_fails_leaves_the_last_good_file_and_nothing_else(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.write(path, {"format": checkpoint.FORMAT, "x": torch.ones(3)})
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # What the system says at the end of a quota, which a test can set and a disk's end it cannot.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, old_limit[1]))
    try:
        with pytest.raises(OSError, match="could not be written"):
            checkpoint.write(path, {"format": checkpoint.FORMAT, "x": torch.ones(10**6)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert [one.name for one in tmp_path.iterdir()] == ["last.pt"]
    assert checkpoint.read(path)["x"].tolist() == [1, 1, 1]


def test_a_missing_folder_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError):
        checkpoint.write(tmp_path / "nowhere" / "m.pt", {})
