"""A whole data set in the memory of the device that trains on it."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from manip_training.batch import FIELDS, Batch
from manip_training.data.layout import BadData

IMAGE_DTYPES = (torch.uint8, torch.bfloat16)
# Left for the network and its optimiser [bytes], unless told otherwise.
HEADROOM = 8 * 10**9
_FILL_BATCH = 64
_GB = 1e9


class DeviceCache:
    """Every sample of a data set, on one device.

    Pictures are ``uint8``, or ``bfloat16`` with the same values 0 to 255, which it holds exactly,
    at twice the memory. Labels stay ``float32``: the eight significant bits of ``bfloat16`` would
    round the place of a hand 0.8 m away to steps of 4 mm.

    Attributes:
        data: The samples, by the names of ``FIELDS``.
        kept: ``(N,)`` int64 numpy, index into the data set of each sample.
        dropped: What turned out to be corrupt, in words.
    """

    def __init__(
        self,
        dataset,
        device: torch.device | str,
        image_dtype: torch.dtype = torch.uint8,
        workers: int = 0,
        headroom: int = HEADROOM,
        progress: Callable[[int, int], None] | None = None,
    ):
        """Fill the cache.

        Args:
            dataset: Has ``len`` and gives samples as ``DexYCB`` does; those that raise ``BadData``
                are dropped.
            device: Where to.
            image_dtype: ``torch.uint8`` or ``torch.bfloat16``.
            workers: Processes that read; 0 reads in this one.
            headroom: Bytes of the device's free memory to leave.
            progress: Called with how many samples are done, of how many.

        Raises:
            MemoryError: The device has too little memory for it; nothing was read.
            ValueError: Another image dtype, no sample, or all corrupt.
        """
        if image_dtype not in IMAGE_DTYPES:
            raise ValueError(f"image_dtype must be one of {IMAGE_DTYPES}, got {image_dtype}")
        if not len(dataset):
            raise ValueError("the data set has no samples")
        self.device = torch.device(device)
        _check_memory(len(dataset), self.device, image_dtype, headroom)
        self.data = _allocate(len(dataset), self.device, image_dtype)
        self.dropped: list[str] = []
        self.kept = self._fill(dataset, workers, progress)
        if not len(self.kept):
            raise ValueError(f"all {len(dataset)} samples are corrupt; first: {self.dropped[0]}")
        self.data = {name: value[: len(self.kept)] for name, value in self.data.items()}

    @classmethod
    def of(cls, batches: Iterable[Batch], device: torch.device | str) -> "DeviceCache":
        """Of whole batches, as they come."""
        cache = cls.__new__(cls)
        cache.device = torch.device(device)
        held = [{k: v.to(cache.device) for k, v in batch.items()} for batch in batches]
        cache.data = {name: torch.cat([one[name] for one in held]) for name in FIELDS}
        cache.kept, cache.dropped = np.arange(len(cache.data["image"])), []
        return cache

    def _fill(self, dataset, workers: int, progress) -> np.ndarray:
        loader = torch.utils.data.DataLoader(
            _Tolerant(dataset),
            batch_size=_FILL_BATCH,
            num_workers=workers,
            collate_fn=_collate,
            pin_memory=self.device.type == "cuda",
        )
        kept, done = [], 0
        for batch, indices, reasons in loader:
            self.dropped += reasons
            if indices:
                for name, value in batch.items():
                    place = self.data[name][len(kept) : len(kept) + len(indices)]
                    place.copy_(value, non_blocking=True)
                kept += indices
            done += len(indices) + len(reasons)
            if progress:
                progress(done, len(dataset))
        return np.array(kept, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.kept)

    def batch(self, indices: Tensor) -> Batch:
        """The samples ``(B,)`` int64 names; the host neither copies nor waits.

        Raises:
            ValueError: Indices on another device, which would have to be copied.
        """
        if indices.device != self.data["image"].device:
            raise ValueError(
                f"indices must be on {self.data['image'].device}, got {indices.device}: "
                "move an epoch's order there once"
            )
        return {name: value.index_select(0, indices) for name, value in self.data.items()}

    def epoch(self, seed: int, epoch: int, batch_size: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch in its order, from number ``start`` on; an odd rest is left out.

        Fewer samples than ``batch_size`` make one smaller batch.
        """
        indices = order(len(self), seed, epoch).to(self.device)
        size = min(batch_size, len(self))
        for number in range(start, len(self) // size):
            yield self.batch(indices[number * size : (number + 1) * size])

    def save(self, path: str | Path) -> None:
        """Write the cache to a file, whole or not at all."""
        path = Path(path)
        partial = path.with_name(path.name + ".partial")
        content = {name: value.cpu() for name, value in self.data.items()}
        torch.save({"data": content, "kept": torch.from_numpy(self.kept)}, partial)
        partial.replace(path)

    @classmethod
    def load(
        cls, path: str | Path, device: torch.device | str, headroom: int = HEADROOM
    ) -> "DeviceCache":
        """A saved cache.

        Raises:
            FileNotFoundError: No such file.
            MemoryError: The device has too little memory for it.
            ValueError: It was made for other fields.
        """
        stored = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        data = stored["data"]
        shapes = {name: tuple(value.shape[1:]) for name, value in data.items()}
        if shapes != {name: field.shape for name, field in FIELDS.items()}:
            raise ValueError(f"{path} holds other fields than batch.FIELDS: fill the cache anew")
        cache = cls.__new__(cls)
        cache.device = torch.device(device)
        _check_memory(len(stored["kept"]), cache.device, data["image"].dtype, headroom)
        cache.data = {name: value.to(cache.device, copy=True) for name, value in data.items()}
        cache.kept, cache.dropped = stored["kept"].numpy().copy(), []
        return cache


def order(n: int, seed: int, epoch: int) -> Tensor:
    """``(n,)`` int64 on the CPU: a shuffle that depends on ``n``, ``seed`` and ``epoch`` alone.

    A run that is resumed in the middle of an epoch so goes on with the samples that were left.
    """
    return torch.randperm(n, generator=torch.Generator().manual_seed(mixed_seed(seed, epoch)))


def mixed_seed(*numbers: int) -> int:
    """One seed for a generator, 0 to 2^63 - 1, of several numbers, none of them negative."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def cache_bytes(samples: int, image_dtype: torch.dtype = torch.uint8) -> int:
    """Memory that a cache of so many samples takes."""
    return samples * sum(
        torch.Size(field.shape).numel() * dtype.itemsize
        for field, dtype in _dtypes(image_dtype).values()
    )


def _dtypes(image_dtype: torch.dtype) -> dict:
    return {
        name: (field, image_dtype if name == "image" else field.dtype)
        for name, field in FIELDS.items()
    }


def _allocate(samples: int, device: torch.device, image_dtype: torch.dtype) -> Batch:
    return {
        name: torch.empty((samples, *field.shape), dtype=dtype, device=device)
        for name, (field, dtype) in _dtypes(image_dtype).items()
    }


def _check_memory(
    samples: int, device: torch.device, image_dtype: torch.dtype, headroom: int
) -> None:
    need, free = cache_bytes(samples, image_dtype), _free_bytes(device)
    if free is not None and need + headroom > free:
        fit = max(free - headroom, 0) // cache_bytes(1, image_dtype)
        advice = "" if image_dtype == torch.uint8 else "keep pictures as uint8, "
        raise MemoryError(
            f"the cache of {samples} samples needs {need / _GB:.2f} GB, but {device} has "
            f"{free / _GB:.2f} GB free, of which {headroom / _GB:.2f} GB are left for the network: "
            f"{advice}take at most {fit} samples (limit or stride), or a device with more memory"
        )


def _free_bytes(device: torch.device) -> int | None:
    """Free memory, ``None`` where the platform does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "cpu" and "SC_AVPHYS_PAGES" in os.sysconf_names:
        meminfo = Path("/proc/meminfo")
        if meminfo.exists():
            # Counts what the page cache would give back.
            lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
            return int(lines["MemAvailable"].split()[0]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


class _Tolerant(torch.utils.data.Dataset):
    """Samples with their index; in place of a corrupt one, the reason."""

    def __init__(self, dataset):
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int):
        try:
            return index, self._dataset[index]
        except BadData as error:
            return index, f"sample {index}: {error}"


def _collate(items) -> tuple[Batch, list[int], list[str]]:
    sound = [(i, sample) for i, sample in items if not isinstance(sample, str)]
    batch = {
        name: torch.from_numpy(np.stack([sample[name] for _, sample in sound]))
        for name in (FIELDS if sound else ())
    }
    return batch, [i for i, _ in sound], [reason for _, reason in items if isinstance(reason, str)]
