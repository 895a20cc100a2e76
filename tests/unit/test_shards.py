"""Weights in shards: what was put in comes out, and damage is noticed."""

import json

import numpy as np
import pytest

from manip_model import shards
from manip_model.shards import SPREAD, STEP, entries, matrix, plain_weights, read_stored


@pytest.fixture
def stored():
    draw = np.random.default_rng(0)
    return {
        "a.weight": draw.integers(-127, 128, (40, 30)).astype(np.int8),
        f"a.weight{STEP}": draw.uniform(1e-3, 1e-2, 30).astype(np.float32),
        f"a.weight{SPREAD}": draw.uniform(0.1, 10, 40).astype(np.float32),
        "a.bias": draw.normal(size=30).astype(np.float32),
        "positions": draw.normal(size=(1, 17, 24)).astype(np.float16),
        "number": np.float32(3.5).reshape(()),
    }


def test_every_tensor_comes_back_bit_by_bit(tmp_path, stored):
    where = shards.write_shards(tmp_path, stored, {"hand": "open"})
    again = read_stored(tmp_path)
    assert again.keys() == stored.keys() == where.keys()
    for name, value in stored.items():
        assert again[name].dtype == value.dtype
        assert np.array_equal(again[name], value)
    assert shards.read_index(tmp_path)["hand"] == "open"


def test_entries_are_byte_ranges_at_multiples_of_their_number_size(tmp_path, stored):
    for name, entry in shards.write_shards(tmp_path, stored, {}).items():
        raw = (tmp_path / entry.shard).read_bytes()[entry.offset : entry.offset + entry.length]
        assert raw == stored[name].tobytes()
        assert entry.offset % entry.dtype.itemsize == 0


def test_files_stay_below_the_limit_and_none_is_left_from_before(tmp_path, stored):
    shards.write_shards(tmp_path, stored, {}, limit=2000)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) > 1
    assert max(file.stat().st_size for file in files) <= 2000
    assert read_stored(tmp_path).keys() == stored.keys()
    shards.write_shards(tmp_path, stored, {})
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_others_can_read_it(tmp_path, stored):
    safetensors = pytest.importorskip("safetensors.numpy")
    shards.write_shards(tmp_path, stored, {})
    again = safetensors.load_file(tmp_path / "weights-1.safetensors")
    assert all(np.array_equal(again[name], value) for name, value in stored.items())


def test_a_matrix_is_levels_times_step_over_spread(stored):
    levels, step, spread = (stored[f"a.weight{end}"] for end in ("", STEP, SPREAD))
    found = matrix(levels, step, spread)
    assert found.shape == (30, 40)
    assert found[7, 3] == pytest.approx(levels[3, 7] * step[7] / spread[3])
    weights = plain_weights(stored)
    assert weights.keys() == {"a.weight", "a.bias", "positions", "number"}
    assert np.array_equal(weights["a.weight"], found)
    assert {value.dtype for value in weights.values()} == {np.dtype(np.float32)}


def test_what_is_not_there_or_damaged_is_named(tmp_path, stored):
    with pytest.raises(FileNotFoundError, match=r"index\.json"):
        read_stored(tmp_path)
    shards.write_shards(tmp_path, stored, {})
    file = tmp_path / "weights-1.safetensors"
    sound = file.read_bytes()

    file.write_bytes(sound[:-5])
    with pytest.raises(ValueError, match="cut off"):
        read_stored(tmp_path)
    file.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    with pytest.raises(ValueError, match="checksum"):
        read_stored(tmp_path)
    file.write_bytes(b"no safetensors file at all")
    with pytest.raises(ValueError, match="no safetensors"):
        entries(file)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"weights-1\.safetensors"):
        read_stored(tmp_path)

    index = tmp_path / "index.json"
    index.write_text(json.dumps({"format": "another"}))
    with pytest.raises(ValueError, match="another"):
        shards.read_index(tmp_path)
    index.write_text("{")
    with pytest.raises(ValueError, match="JSON"):
        shards.read_index(tmp_path)


def test_what_cannot_be_stored_is_refused(tmp_path):
    with pytest.raises(ValueError, match="float64"):
        shards.write_shards(tmp_path, {"x": np.zeros(3)}, {})
    with pytest.raises(ValueError, match="x has 4000 bytes"):
        shards.write_shards(tmp_path, {"x": np.zeros(1000, np.float32)}, {}, limit=3000)
