"""Hands by the manipulation transformer: pose, mesh, objects and contacts, followed by itself."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from manip_core import resources
from manip_core.camera import CameraIntrinsics
from manip_core.hand import SIDES, Hand
from manip_core.preprocessing import Crop, Undistorter, crop
from manip_model.shards import read_index
from manip_perception.amt_hands import HandMaker
from manip_perception.estimator import HandEstimator, checked_image
from manip_perception.hand_finder import HandFinder
from manip_perception.hand_reading import BeliefConfig, Reading, read
from manip_perception.hand_tracker import Track, TrackerConfig, overlap
from manip_perception.metric import MetricConfig
from manip_perception.runtimes import AUTO, RUNTIMES, Runtime, choose_runtime

MODEL = "assets/amt/small"


@dataclass(frozen=True, kw_only=True)
class AmtConfig:
    """How the pose transformer is run.

    Attributes:
        model: Folder of the exported model; empty: the one that ships.
        runtime: ``"auto"``: the fastest here; or one of ``manip_perception.runtimes.RUNTIMES``.
        num_hands: 1 or 2.
        min_confidence: Least belief, 0 to 1, in a hand that is followed, and least score of the
            detector.
        hand_length: The user's hand, wrist to middle fingertip along the bones [m]; 0: as the
            network sees it.
        threads: Of the CPU; 0: as many as there are.
        object_confidence, contact_confidence: Least probability of what is told of.
        seek_every: While a hand is missing, it is sought every so often [s]; the second one, ten
            times as seldom.
        check_every: So often the detector looks whether a hand that is followed is one [s].
    """

    model: str = ""
    runtime: str = AUTO
    num_hands: int = 1
    min_confidence: float = 0.5
    hand_length: float = 0.0
    threads: int = 0
    object_confidence: float = 0.5
    contact_confidence: float = 0.5
    seek_every: float = 0.05
    check_every: float = 1.0

    def __post_init__(self):
        if self.num_hands not in (1, 2):
            raise ValueError(f"num_hands must be 1 or 2, got {self.num_hands}")
        if self.runtime != AUTO and self.runtime not in RUNTIMES:
            raise ValueError(
                f"runtime must be {AUTO} or one of {', '.join(RUNTIMES)}, got {self.runtime!r}"
            )
        for name in ("min_confidence", "object_confidence", "contact_confidence"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be within 0 and 1, got {getattr(self, name)}")
        if self.hand_length:
            MetricConfig(hand_length=self.hand_length)
        if self.threads < 0:
            raise ValueError(f"threads must be 0 or more, got {self.threads}")
        for name in ("seek_every", "check_every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


@dataclass
class _Lens:
    """What belongs to one camera."""

    camera: CameraIntrinsics
    undistorter: Undistorter = field(init=False)

    def __post_init__(self):
        self.undistorter = Undistorter(self.camera)

    def pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels ``(N, 2)`` of the picture as it came, for those of the undistorted one."""
        if not self.camera.distortion:
            return pixels
        slopes = self.undistorter.camera.rays(pixels)
        return self.camera.project(np.column_stack((slopes, np.ones(len(slopes)))))


class AmtEstimator(HandEstimator):
    """The manipulation transformer on crops that follow the hands.

    Attributes:
        description: What runs it, and how fast that was measured at the start.
        lost: Why the last hand was lost that was followed, in words; empty before any was.
    """

    # Times as seldom as the first hand, the second is sought: the detector costs as much as the
    # network, and the second hand may never come.
    SECOND_SELDOM = 10
    # A hand that is believed in so much is followed even where the detector sees none: it misses
    # hands that hold things.
    BEYOND_DOUBT = 0.85
    MISSES = 2
    # Of the usual time between two checks, while there is need.
    HURRY = 0.3

    def __init__(
        self,
        config: AmtConfig | None = None,
        *,
        runtime: Runtime | None = None,
        finder: HandFinder | None = None,
        tracker: TrackerConfig | None = None,
    ):
        """Load everything.

        Args:
            config: How to run it.
            runtime, finder: In place of those that the config names.
            tracker: When a hand is lost.

        Raises:
            FileNotFoundError: The model, or the detector's, is not there.
            Unusable: Nothing here can run it; the message says why.
        """
        self.config = config or AmtConfig()
        folder = _model_folder(self.config.model)
        index = read_index(folder)
        self._tracker = tracker or TrackerConfig(belief=BeliefConfig(**index["limits"]))
        if index["config"]["mirror_left"]:
            # It sees left hands in the mirror, and cannot say which they are.
            self._tracker = replace(self._tracker, ask_every=0)
        self._maker = HandMaker(
            tuple(index["config"]["object_classes"]),
            hand_length=self.config.hand_length,
            object_confidence=self.config.object_confidence,
            contact_confidence=self.config.contact_confidence,
        )
        if runtime is None:
            runtime, said = choose_runtime(
                folder,
                self.config.runtime,
                threads=self.config.threads,
                largest=self.config.num_hands,
            )
        else:
            said = f"runtime {runtime.name}"
        self.description = f"amt: {said}"
        self._runtime: Runtime | None = runtime
        self._finder = finder or HandFinder(self.config.num_hands, self.config.min_confidence)
        self._lens: _Lens | None = None
        self._tracks: list[Track] = []
        self._sought = -np.inf
        self.lost = ""

    def estimate(self, image: np.ndarray, stamp: float, camera: CameraIntrinsics) -> list[Hand]:
        if self._runtime is None:
            raise RuntimeError("the estimator is closed")
        image = checked_image(image, camera)
        if not np.isfinite(stamp):
            raise ValueError(f"stamp must be finite, got {stamp}")
        if self._lens is None or self._lens.camera != camera:
            self._lens = _Lens(camera)
            self._tracks = []
        image = self._lens.undistorter.image(image)
        self._look_around(image, stamp)
        crops = self._crops(image, stamp)
        if not crops:
            return []
        hands = [
            self._maker.hand(track, reading, stamp, self._lens.pixels(reading.pixels))
            for track, reading in self._followed(crops, stamp)
        ]
        return sorted(hands, key=lambda hand: -hand.confidence)

    def close(self) -> None:
        if self._runtime is not None:
            self._runtime.close()
            self._finder.close()
            self._runtime = None

    def _look_around(self, image: np.ndarray, stamp: float) -> None:
        """Ask the detector, where a hand is missing or one is long unconfirmed, and it is time."""
        missing = len(self._tracks) < self.config.num_hands
        wait = self.config.seek_every * (self.SECOND_SELDOM if self._tracks else 1)
        due = missing and _passed(self._sought, stamp, wait)
        stale = any(
            _passed(max(track.confirmed, self._sought), stamp, self._check_wait(track))
            for track in self._tracks
        )
        if not (due or stale):
            return
        self._sought = stamp
        found = self._finder.find(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        for track in self._tracks:
            there = track.points(stamp, self._tracker)
            same = [d for d in found if overlap(d.pixels, there) > 0.5 * self._tracker.overlap]
            if same:
                track.confirm(same[0].pixels, same[0].side, same[0].score, stamp)
                found = [d for d in found if not any(d is s for s in same)]
            else:
                track.missed += 1
        for track in list(self._tracks):
            if track.missed >= self.MISSES and track.belief < self.BEYOND_DOUBT:
                self._lose(track, "the detector sees no hand there")
        for one in found[: self.config.num_hands - len(self._tracks)]:
            self._tracks.append(Track(one.pixels, one.side, one.score, stamp))

    def _check_wait(self, track: Track) -> float:
        """How long [s] after the last look the detector is asked about a hand that is followed."""
        # Soon again, where the detector alone knows the side or the hand is hardly believed in.
        hurry = not (self._tracker.ask_every or track.settled) or track.belief < self.BEYOND_DOUBT
        return self.config.check_every * (self.HURRY if hurry else 1)

    def _crops(self, image: np.ndarray, stamp: float) -> list[tuple[Track, Crop]]:
        """What to look at, of each hand that is followed."""
        crops = []
        for track in list(self._tracks):
            box = track.box(stamp, self._tracker)
            if box.overlaps(image.shape[1], image.shape[0]):
                part = crop(image, self._lens.undistorter.camera, box, self._runtime.size)
                crops.append((track, part))
            else:
                self._lose(track, "it left the picture")
        return crops

    def _followed(
        self, crops: list[tuple[Track, Crop]], stamp: float
    ) -> list[tuple[Track, Reading]]:
        """All crops through the network at once; the hands that are still there."""
        rgb = [cv2.cvtColor(part.image, cv2.COLOR_BGR2RGB) for _, part in crops]
        cameras = [part.camera for _, part in crops]
        told = [track.told(self._tracker) for track, _ in crops]
        found = self._runtime.infer(
            np.stack(rgb).transpose(0, 3, 1, 2),
            np.array([(c.fx, c.fy, c.cx, c.cy) for c in cameras], dtype=np.float32),
            np.array([SIDES.index(track.side) for track, _ in crops]),
            np.array([-1 if side is None else SIDES.index(side) for side in told]),
        )
        size = (self._lens.camera.width, self._lens.camera.height)
        kept = []
        for row, (track, part) in enumerate(crops):
            reading = read(found, row, part)
            why = self._why_doubted(reading) or track.why_lost(reading, stamp, size, self._tracker)
            if why is None:
                kept.append((track, reading))
            else:
                self._lose(track, why)
        kept.sort(key=lambda one: -one[1].belief(self._tracker.belief))
        for number in range(len(kept) - 1, 0, -1):
            track, reading = kept[number]
            if any(
                overlap(reading.pixels, other.pixels) > self._tracker.overlap
                for _, other in kept[:number]
            ):
                self._lose(track, "it is the same hand as another")
                del kept[number]
        for track, reading in kept:
            track.follow(reading, stamp, self._tracker)
        return kept

    def _why_doubted(self, reading: Reading) -> str | None:
        belief = reading.belief(self._tracker.belief)
        if belief >= self.config.min_confidence:
            return None
        return (
            f"belief {belief:.2f}: spread {reading.spread:.2f}, disagreement "
            f"{reading.disagreement:.2f}, doubt {1e3 * reading.doubt:.0f} mm"
        )

    def _lose(self, track: Track, why: str) -> None:
        self._tracks.remove(track)
        self.lost = f"{track.side} hand: {why}"


def _passed(before: float, now: float, wait: float) -> bool:
    """Whether it is time again; a clock that jumps back starts anew."""
    return not 0 <= now - before < wait


def _model_folder(given: str) -> Path:
    if given:
        return Path(given).expanduser()
    try:
        return resources.find(MODEL)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}. Train and export one by scripts/train_small.sh, or name a folder that "
            "manip export made: model:=FOLDER"
        ) from error
