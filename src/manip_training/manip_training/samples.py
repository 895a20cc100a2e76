"""Where training gets its batches from: a data set in memory, or a stream that never ends."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from manip_model.config import NUM_OBJECT_QUERIES
from manip_model.hand_model import HandModel
from manip_training.batch import IMAGE_SIZE, OBJECT_SLOTS, Batch, resized
from manip_training.cuda_graphs import RecordedWorld, record_world
from manip_training.data.cache import DeviceCache, mixed_seed, order
from manip_training.evaluate import Sequences


@dataclass(frozen=True)
class Piece:
    """One of the equal pieces that the batch of a step is computed in, over all processes.

    Attributes:
        seed: Of the run.
        step: Of the optimiser, from 0.
        batch: Samples of the whole step.
        number, count: Which piece, of how many.
    """

    seed: int
    step: int
    batch: int
    number: int
    count: int

    @property
    def size(self) -> int:
        """Samples in the piece."""
        return self.batch // self.count


class Source(ABC):
    """Samples to train on.

    Attributes:
        hand_model: Of their labels.
    """

    hand_model: HandModel

    @abstractmethod
    def __len__(self) -> int:
        """Samples in an epoch."""

    @abstractmethod
    def piece(self, piece: Piece, device: torch.device) -> Batch:
        """The samples of a piece, on ``device``; a function of the arguments alone."""

    @abstractmethod
    def batch(self, indices: Tensor, device: torch.device) -> Batch:
        """Samples by ``(B,)`` int64 indices, on ``device``."""

    def prepare(self, piece: Piece, device: torch.device) -> None:  # noqa: B027
        """Begin to make a piece that will be asked for next, while the device does other work."""


@dataclass
class Samples(Source):
    """Samples in memory, and what else is known of them.

    Attributes:
        cache: Has ``len()``, ``device`` and ``batch(indices)``.
        hand_model: Of their labels.
        name: Of the data set.
        split: Of it.
        box_scale: Side of the crops over the extent of the keypoints.
        sequences: Which samples follow each other.
        object_points: Of the objects, by index.
        image_size: Side of the pictures that are delivered [px].
    """

    cache: DeviceCache
    hand_model: HandModel
    name: str
    split: str
    box_scale: float
    sequences: Sequences | None = None
    object_points: dict | None = None
    image_size: int = IMAGE_SIZE

    def __post_init__(self):
        self._epoch: tuple[int, int] | None = None
        self._order: Tensor | None = None

    def __len__(self) -> int:
        return len(self.cache)

    def piece(self, piece: Piece, device: torch.device) -> Batch:
        """Of the shuffled order of the epoch, the pieces of a step side by side."""
        epoch, within = divmod(piece.step, len(self) // piece.batch)
        if self._epoch != (piece.seed, epoch):
            self._order = order(len(self), piece.seed, epoch).to(self.cache.device)
            self._epoch = piece.seed, epoch
        first = within * piece.batch + piece.number * piece.size
        return self.batch(self._order[first : first + piece.size], device)

    def batch(self, indices: Tensor, device: torch.device) -> Batch:
        """Samples by ``(B,)`` int64 indices, on ``device``."""
        chosen = self.cache.batch(indices.to(self.cache.device))
        moved = {name: value.to(device, non_blocking=True) for name, value in chosen.items()}
        return resized(moved, self.image_size)

    def batches(self, size: int, device: torch.device) -> Iterator[Batch]:
        """All samples in their order."""
        for first in range(0, len(self), size):
            yield self.batch(torch.arange(first, min(first + size, len(self))), device)


class Stream(Source):
    """Samples that are made anew for every batch, as a world of ``batch(size, seed)`` makes them.

    On a GPU the next batch is made on a stream of its own beside the training step.
    """

    def __init__(
        self, world, hand_model: HandModel, epoch: int, object_slots: int = NUM_OBJECT_QUERIES
    ):
        """Of a world.

        Args:
            world: Has ``batch(size, seed)``, a function of its arguments. On a GPU, one that has
                ``next_rendered(size)`` as well is recorded as a CUDA graph.
            hand_model: Of its labels.
            epoch: Samples that count as one.
            object_slots: So many of its label slots may hold an object; the others are left out.
        """
        self.world, self.hand_model, self._epoch = world, hand_model, epoch
        self._object_slots = object_slots
        self._records: dict[int, RecordedWorld | None] = {}
        self._ahead: tuple[Piece, Batch, torch.cuda.Event] | None = None
        self._beside: torch.cuda.Stream | None = None

    def __len__(self) -> int:
        return self._epoch

    def piece(self, piece: Piece, device: torch.device) -> Batch:
        """As drawn for seed, step and number of the piece."""
        ahead, self._ahead = self._ahead, None
        if ahead is None or ahead[0] != piece:
            return self._draw(piece, device)
        _, batch, done = ahead
        current = torch.cuda.current_stream(device)
        current.wait_event(done)
        for value in batch.values():
            value.record_stream(current)
        return batch

    def prepare(self, piece: Piece, device: torch.device) -> None:
        """Draw on a stream of its own; nothing where there is no GPU to do it meanwhile."""
        if device.type != "cuda":
            return
        self._beside = self._beside or torch.cuda.Stream(device)
        with torch.cuda.stream(self._beside):
            batch = self._draw(piece, device)
            done = self._beside.record_event()
        self._ahead = piece, batch, done

    def batch(self, indices: Tensor, device: torch.device) -> Batch:
        """As many samples as there are indices; the first of them numbers the draw."""
        return self._made(len(indices), mixed_seed(int(indices[0])), device)

    def _draw(self, piece: Piece, device: torch.device) -> Batch:
        return self._made(piece.size, mixed_seed(piece.seed, piece.step, piece.number), device)

    def _made(self, size: int, seed: int, device: torch.device) -> Batch:
        recorded = self._recorded(size, device) if device.type == "cuda" else None
        batch = recorded.batch(seed) if recorded else self.world.batch(size, seed)
        few = {name: batch[name][:, : self._object_slots] for name in OBJECT_SLOTS}
        return {name: value.to(device) for name, value in (batch | few).items()}

    def _recorded(self, size: int, device: torch.device) -> RecordedWorld | None:
        """The world's batches of one size as a CUDA graph, where they can be recorded."""
        if size not in self._records and hasattr(self.world, "next_rendered"):
            # A larger batch than the recorded one would take other work areas.
            self._records = {size: record_world(self.world, size, device)}
        return self._records.get(size)
