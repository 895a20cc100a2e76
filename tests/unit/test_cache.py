"""The cache: the samples as they are, sized before it is filled, in an order a resume repeats."""

import numpy as np
import pytest
import torch

from manip_training.batch import FIELDS, check, empty
from manip_training.data import cache as cache_module
from manip_training.data.cache import DeviceCache, cache_bytes, mixed_seed, order
from manip_training.data.layout import BadData


class Samples:
    """``size`` samples of noise, some corrupt."""

    def __init__(self, size, bad=()):
        self.size, self.bad, self.asked = size, set(bad), []

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        self.asked.append(index)
        if index in self.bad:
            raise BadData("no JPEG")
        rng = np.random.default_rng(index)
        return {
            name: np.asarray(rng.integers(0, 100, field.shape)).astype(
                str(field.dtype).removeprefix("torch.")
            )
            for name, field in FIELDS.items()
        }


def test_batches_are_the_samples():
    samples = Samples(10)
    cache = DeviceCache(samples, "cpu")
    indices = torch.tensor([7, 2, 2])
    batch = cache.batch(indices)
    check(batch)
    for row, index in enumerate(indices.tolist()):
        for name, value in samples[index].items():
            np.testing.assert_array_equal(batch[name][row].numpy(), value)


@pytest.mark.parametrize("workers", [0, 2])
def test_corrupt_samples_are_dropped_and_named(workers):
    cache = DeviceCache(Samples(70, bad=(3, 66)), "cpu", workers=workers)
    assert len(cache) == 68
    assert cache.kept.tolist() == [i for i in range(70) if i not in (3, 66)]
    assert cache.dropped == ["sample 3: no JPEG", "sample 66: no JPEG"]
    expected = Samples(70)[69]["image"]
    np.testing.assert_array_equal(cache.batch(torch.tensor([67]))["image"][0].numpy(), expected)


def test_only_corrupt_samples_are_an_error():
    with pytest.raises(ValueError, match="all 2 samples are corrupt; first: sample 0: no JPEG"):
        DeviceCache(Samples(2, bad=(0, 1)), "cpu")
    with pytest.raises(ValueError, match="no samples"):
        DeviceCache(Samples(0), "cpu")


def test_bfloat16_pictures_are_exact():
    class Grey(Samples):
        def __getitem__(self, index):
            image = np.resize(np.arange(256, dtype=np.uint8), FIELDS["image"].shape)
            return super().__getitem__(index) | {"image": image}

    plain, half = (DeviceCache(Grey(2), "cpu", d) for d in (torch.uint8, torch.bfloat16))
    some = torch.tensor([1])
    image = half.batch(some)["image"]
    assert image.dtype == torch.bfloat16
    assert torch.equal(image.to(torch.uint8), plain.batch(some)["image"])
    assert half.batch(some)["joints"].dtype == torch.float32
    with pytest.raises(ValueError, match=r"image_dtype must be one of.*got torch.float16"):
        DeviceCache(Samples(1), "cpu", torch.float16)


def test_size_is_what_is_allocated():
    cache = DeviceCache(Samples(3), "cpu")
    assert sum(v.numel() * v.element_size() for v in cache.data.values()) == cache_bytes(3)
    held = sum(value.nbytes for value in empty(3).values())
    assert cache_bytes(3) == held
    assert cache_bytes(1, torch.bfloat16) == held / 3 + 3 * 224 * 224


def test_what_cannot_fit_is_refused_before_anything_is_read(monkeypatch):
    free = 10 * cache_bytes(1) + 10**6
    monkeypatch.setattr(cache_module, "_free_bytes", lambda device: free)
    samples = Samples(500)
    with pytest.raises(MemoryError) as caught:
        DeviceCache(samples, "cpu", headroom=10**6)
    message = str(caught.value)
    assert f"500 samples needs {cache_bytes(500) / 1e9:.2f} GB" in message
    assert f"cpu has {free / 1e9:.2f} GB free" in message
    assert "at most 10 samples" in message
    assert not samples.asked
    assert len(DeviceCache(Samples(10), "cpu", headroom=10**6)) == 10


def test_the_real_free_memory_is_known():
    assert 10**8 < cache_module._free_bytes(torch.device("cpu")) < 10**14


def test_progress_is_told():
    told = []
    DeviceCache(Samples(70), "cpu", progress=lambda done, total: told.append((done, total)))
    assert told == [(64, 70), (70, 70)]


def test_order_is_a_function_of_seed_and_epoch():
    assert torch.equal(order(1000, 3, 5), order(1000, 3, 5))
    assert torch.equal(order(1000, 3, 5).sort().values, torch.arange(1000))
    others = [order(1000, 3, 6), order(1000, 4, 5), order(1000, 5, 3)]
    for i, a in enumerate(others):
        assert all((a == b).float().mean() < 0.05 for b in others[i + 1 :])
    assert len({mixed_seed(a, b) for a in range(40) for b in range(40)}) == 1600


def test_an_epoch_can_be_taken_up_in_its_middle():
    cache = DeviceCache(Samples(11), "cpu")
    whole = list(cache.epoch(seed=1, epoch=2, batch_size=3))
    rest = list(cache.epoch(seed=1, epoch=2, batch_size=3, start=2))
    assert len(whole) == 3
    assert len(rest) == 1
    assert torch.equal(whole[2]["image"], rest[0]["image"])
    assert len(list(cache.epoch(seed=1, epoch=2, batch_size=64))) == 1


def test_indices_must_be_on_the_device():
    cache = DeviceCache(Samples(2), "cpu")
    with pytest.raises(ValueError, match="indices must be on cpu, got meta"):
        cache.batch(torch.zeros(1, dtype=torch.int64, device="meta"))


def test_saved_and_loaded_it_is_the_same(tmp_path):
    cache = DeviceCache(Samples(5, bad=(1,)), "cpu")
    cache.save(tmp_path / "cache.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["cache.pt"]
    again = DeviceCache.load(tmp_path / "cache.pt", "cpu")
    assert again.kept.tolist() == [0, 2, 3, 4]
    for name, value in cache.data.items():
        assert torch.equal(again.data[name], value)
    with pytest.raises(FileNotFoundError):
        DeviceCache.load(tmp_path / "none.pt", "cpu")
    del cache.data["side"]
    cache.save(tmp_path / "old.pt")
    with pytest.raises(ValueError, match="other fields"):
        DeviceCache.load(tmp_path / "old.pt", "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_on_a_gpu_neither_copy_nor_wait():
    cache = DeviceCache(Samples(8), "cuda")
    indices = order(8, 0, 0).cuda()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        batch = cache.batch(indices)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = Samples(8)[int(indices[0])]["image"]
    np.testing.assert_array_equal(batch["image"][0].cpu().numpy(), expected)
