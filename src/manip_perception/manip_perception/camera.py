"""Where pictures come from: a webcam, a video file, a folder of images, the bundled clip."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from manip_core import resources

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
FOLDER_RATE = 10.0
DEMO = "demo"
AUTO = "auto"


class SourceMissingError(RuntimeError):
    """A camera is not there, or not there any more: worth trying again."""


@dataclass(frozen=True, kw_only=True)
class CameraConfig:
    """What the camera node publishes.

    Attributes:
        source: Webcam index or ``/dev/video…``, video file, folder of images, ``demo`` (the
            bundled clip), or ``auto``: the first webcam, else the clip.
        rate: Frames per second; negative: the source's own; 0: as fast as the graph keeps up,
            dropping none (files only).
        loop: Start a file or folder again at its end.
        width, height: Size asked of a webcam, in [px].
        calibration: Path of a camera calibration YAML as ``camera_calibration`` writes it; empty:
            the one beside the clip for ``demo``, else none.
        fov_deg: Horizontal field of view, in degrees, where there is no calibration.
    """

    source: str = AUTO
    rate: float = -1.0
    loop: bool = True
    width: int = 640
    height: int = 480
    calibration: str = ""
    fov_deg: float = 60.0

    def __post_init__(self):
        if not self.source:
            raise ValueError("source must name a webcam, a video, a folder or demo, got nothing")
        if not 1.0 <= self.fov_deg < 180.0:
            raise ValueError(f"fov_deg must be within 1 and 180 degrees, got {self.fov_deg}")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"width and height must be positive, got {self.width}x{self.height}")


class FrameSource(ABC):
    """Pictures, one after the other.

    Attributes:
        rate: The source's own frames per second.
        live: True for a camera: its frames come when they come and cannot wait.
    """

    rate: float
    live = False

    @abstractmethod
    def read(self) -> tuple[np.ndarray, float] | None:
        """The next picture ``(H, W, 3)`` uint8 BGR and its age in [s]; ``None`` at the end.

        Raises:
            SourceMissingError: The camera gave nothing.
        """

    def rewind(self) -> None:
        """Start again at the first picture."""
        raise NotImplementedError

    @abstractmethod
    def close(self) -> None:
        """Free what the source holds."""


class Webcam(FrameSource):
    """A V4L2 camera through OpenCV."""

    live = True

    def __init__(self, device: int | str, width: int, height: int):
        self._capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise SourceMissingError(f"camera {device} cannot be opened: {_webcams_found()}")
        self.name = device
        # Webcams reach 30 fps at more than VGA only when they compress.
        self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*"MJPG"))
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.rate = self._capture.get(cv2.CAP_PROP_FPS) or 30.0

    def read(self) -> tuple[np.ndarray, float]:
        got, image = self._capture.read()
        if not got:
            raise SourceMissingError(f"camera {self.name} gave no picture: unplugged?")
        # V4L2 stamps its buffers on the monotonic clock; some drivers leave the stamp empty.
        age = time.monotonic() - self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e-3
        return image, age if 0.0 <= age < 1.0 else 0.0

    def close(self) -> None:
        self._capture.release()


class VideoFile(FrameSource):
    """A video file, every frame of it."""

    def __init__(self, path: Path):
        self.path = path
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        got, self._first = self._capture.read() if self._capture.isOpened() else (False, None)
        if not got:
            self._capture.release()
            raise ValueError(f"{path} is not a video that OpenCV can read")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 1.0 <= rate <= 1000.0 else 30.0

    def read(self) -> tuple[np.ndarray, float] | None:
        if self._first is not None:
            image, self._first = self._first, None
            return image, 0.0
        got, image = self._capture.read()
        return (image, 0.0) if got else None

    def rewind(self) -> None:
        self._capture.release()
        self.__init__(self.path)

    def close(self) -> None:
        self._capture.release()


class ImageFolder(FrameSource):
    """The images of a folder, by name. One that cannot be read is skipped, and listed."""

    rate = FOLDER_RATE

    def __init__(self, path: Path):
        self.paths = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        self.skipped: list[Path] = []
        self._next = 0
        if not any(cv2.haveImageReader(str(p)) for p in self.paths):
            raise ValueError(
                f"{path} holds no image that can be read (of {', '.join(IMAGE_SUFFIXES)})"
            )

    def read(self) -> tuple[np.ndarray, float] | None:
        while self._next < len(self.paths):
            path = self.paths[self._next]
            self._next += 1
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is not None:
                return image, 0.0
            if path not in self.skipped:
                self.skipped.append(path)
        return None

    def rewind(self) -> None:
        self._next = 0

    def close(self) -> None:
        pass


def demo_clip() -> Path:
    """Path of the bundled clip."""
    return resources.find("assets/demo/right_hand.mp4")


def demo_truth() -> np.ndarray:
    """Exact keypoints of every frame of the clip, ``(N, 21, 3)`` in [m], camera_optical_frame."""
    with np.load(demo_clip().with_name("right_hand_truth.npz")) as truth:
        return truth["keypoints"].astype(float)


def resolve(source: str) -> str:
    """The source that ``auto`` stands for here; any other source unchanged."""
    if source != AUTO:
        return source
    return "0" if Path("/dev/video0").exists() else DEMO


def calibration_path(config: CameraConfig) -> Path | None:
    """The calibration to read: the one named, else the clip's own for the clip."""
    if config.calibration:
        return Path(config.calibration).expanduser()
    if resolve(config.source) == DEMO:
        return demo_clip().with_suffix(".yaml")
    return None


def open_source(config: CameraConfig) -> FrameSource:
    """Open what ``config.source`` names.

    Raises:
        SourceMissingError: A webcam that is not there (yet).
        FileNotFoundError: No such file or folder.
        ValueError: A file that is no video, a folder without images.
    """
    source = resolve(config.source)
    if source.isdecimal():
        return Webcam(int(source), config.width, config.height)
    if source.startswith("/dev/video"):
        return Webcam(source, config.width, config.height)
    path = demo_clip() if source == DEMO else Path(source).expanduser()
    if path.is_dir():
        return ImageFolder(path)
    if not path.exists():
        raise FileNotFoundError(
            f"source {source!r} is no webcam index, no /dev/video…, no file and no folder here"
        )
    return VideoFile(path)


def _webcams_found() -> str:
    found = sorted(str(path) for path in Path("/dev").glob("video*"))
    return f"cameras here are {', '.join(found)}" if found else "no camera is connected"
