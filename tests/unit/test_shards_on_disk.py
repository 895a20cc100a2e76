"""Rendered hands on disk: what is written is read, what is broken is named."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch

from manip_training.batch import FIELDS, check
from manip_training.data.cache import mixed_seed
from manip_training.data.layout import BadData
from manip_training.synthetic import shards
from manip_training.synthetic.shards import HAND_LABEL, INDEX, Shards
from manip_training.synthetic.world import SyntheticWorld
from manip_training.synthetic.world_config import WorldConfig

COUNT, PER_SHARD = 9, 4


@pytest.fixture(scope="module")
def world():
    return SyntheticWorld(WorldConfig(backgrounds="", holding=0.7))


@pytest.fixture(scope="module")
def folder(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("synth") / "hands"
    shards.write(world, folder, count=COUNT, per_shard=PER_SHARD, seed=3)
    return folder


@pytest.fixture(scope="module")
def samples(folder):
    return Shards(folder, split="train"), Shards(folder, split="val")


def test_all_is_there_once(folder, samples):
    assert sorted(path.name for path in folder.iterdir()) == [
        INDEX,
        *(f"shard-{n:05d}.tar" for n in range(3)),
    ]
    assert [len(one) for one in samples] == [8, 1]
    assert len(Shards(folder, limit=3)) == 3


def test_what_is_read_is_what_was_drawn(world, samples):
    first = world.rendered(PER_SHARD, mixed_seed(3, 0))[1]
    for i in range(PER_SHARD):
        read = samples[0][i]
        for name, field in FIELDS.items():
            true, value = first[name][i].numpy(), read[name]
            assert value.shape == field.shape, name
            if name == "image":
                # JPEG keeps the picture, but not its noise.
                off = (value.astype(float) - true).reshape(3, 28, 8, 28, 8).mean((2, 4))
                assert np.abs(off).mean() < 2
            elif name.startswith("object_") and true.ndim and len(true) == 10:
                there = first["object_class"][i].numpy() >= 0
                assert np.allclose(value[there], true[there], atol=1e-5), name
            else:
                assert np.allclose(value, true, atol=2e-5), name


def test_a_batch_of_it_is_one(samples):
    items = [samples[0][i] for i in range(8)]
    batch = {name: torch.from_numpy(np.stack([one[name] for one in items])) for name in FIELDS}
    check(batch)


def test_labels_agree_with_the_picture(folder):
    with tarfile.open(folder / "shard-00000.tar") as tar:
        held = [
            dict(np.load(io.BytesIO(tar.extractfile(member).read())))
            for member in tar
            if member.name.endswith(".npz")
        ]
    for one in held:
        assert one["seg"].shape == one["depth"].shape == (224, 224)
        assert set(np.unique(one["seg"])) <= {0, HAND_LABEL, *one["ycb_ids"].tolist()}
        seen = one["seg"] == HAND_LABEL
        depth, joints = one["depth"].astype(float), one["joint_3d"][0]
        assert seen.sum() > 300
        # The skin that is seen is no farther from the joints than a hand is large.
        assert np.abs(depth[seen] - joints[:, 2].mean()).max() < 0.2
        assert one["pose_m"].shape == (1, 51) and one["pose_y"].shape[1:] == (3, 4)


def test_the_same_seed_writes_the_same(world, folder, tmp_path):
    shards.write(world, tmp_path / "again", count=COUNT, per_shard=PER_SHARD, seed=3)
    for path in folder.glob("*.tar"):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_what_was_broken_off_goes_on(world, folder, tmp_path):
    target = tmp_path / "broken"
    shards.write(world, target, count=COUNT, per_shard=PER_SHARD, seed=3)
    (target / "shard-00001.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"shard-00001\.tar is missing"):
        Shards(target)
    kept = (target / "shard-00000.tar").stat().st_mtime_ns
    shards.write(world, target, count=COUNT, per_shard=PER_SHARD, seed=3)
    assert (target / "shard-00001.tar").read_bytes() == (folder / "shard-00001.tar").read_bytes()
    assert (target / "shard-00000.tar").stat().st_mtime_ns == kept


def test_a_full_disk_costs_one_shard(world, tmp_path, monkeypatch):
    target = tmp_path / "full"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards, "_write_samples", full)
    with pytest.raises(OSError, match="No space left"):
        shards.write(world, target, count=COUNT, per_shard=PER_SHARD)
    assert [path.name for path in target.iterdir()] == [INDEX]


def test_another_data_set_is_not_written_over(world, folder, tmp_path):
    with pytest.raises(ValueError, match="another seed"):
        shards.write(world, folder, count=COUNT, per_shard=PER_SHARD, seed=4)
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds something already"):
        shards.write(world, tmp_path, count=1)
    with pytest.raises(ValueError, match="got 0 and 5"):
        shards.write(world, tmp_path, count=0, per_shard=5)


def test_what_is_no_data_set_is_named(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="manip synth"):
        Shards(tmp_path)
    (tmp_path / INDEX).write_text(json.dumps({"format": "other"}))
    with pytest.raises(ValueError, match="format 'other'"):
        Shards(tmp_path)


def test_a_corrupt_sample_is_named(world, tmp_path):
    shards.write(world, tmp_path / "torn", count=2, per_shard=2)
    path = tmp_path / "torn" / "shard-00000.tar"
    data = bytearray(path.read_bytes())
    data[512:1024] = bytes(512)
    path.write_bytes(data)
    with pytest.raises(BadData, match="sample 0"):
        Shards(tmp_path / "torn")[0]
