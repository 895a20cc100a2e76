"""From a camera's picture to the square hand crop that the pose transformer sees, and its camera.

Training and inference both go through here, so that they cannot differ. A crop is whole pixels of
the picture resized to a square: its camera is then exact, and shrinking can average over areas.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from manip_core.camera import CameraIntrinsics

CROP_SIZE = 224  # [px]
# Side of the crop over the longer side of the box around the hand's keypoints: room for skin, which
# reaches one to two centimetres beyond them.
BOX_SCALE = 1.2
MIN_BOX = 8  # [px]
BORDERS = {"replicate": cv2.BORDER_REPLICATE, "black": cv2.BORDER_CONSTANT}


@dataclass(frozen=True)
class CropBox:
    """A square of whole pixels of a picture; it may reach beyond the picture.

    Attributes:
        left, top: Column and row of its top left pixel.
        size: Pixels along each side.
    """

    left: int
    top: int
    size: int

    def __post_init__(self):
        for name in ("left", "top", "size"):
            value = getattr(self, name)
            if value != int(value):
                raise ValueError(f"{name} must be a whole number of pixels, got {value}")
            object.__setattr__(self, name, int(value))
        if self.size < 1:
            raise ValueError(f"size must be 1 px or more, got {self.size}")

    @classmethod
    def around_points(cls, points: np.ndarray, scale: float = BOX_SCALE) -> "CropBox":
        """The square around points ``(N, 2)`` in [px], ``scale`` times as wide as they spread.

        Raises:
            ValueError: Another shape, or points that are not finite.
        """
        points = np.asarray(points, dtype=float)
        if points.ndim != 2 or points.shape[1] != 2 or not len(points):
            raise ValueError(f"points must be (N, 2) in [px], got {points.shape}")
        return cls.around_box((*points.min(axis=0), *points.max(axis=0)), scale)

    @classmethod
    def around_box(cls, box, scale: float = BOX_SCALE) -> "CropBox":
        """The square about the centre of a box ``left, top, right, bottom`` in [px].

        Its side is ``scale`` times the box's longer side, and ``MIN_BOX`` pixels or more.

        Raises:
            ValueError: Not four finite numbers in that order, or a scale that is not positive.
        """
        box = np.asarray(box, dtype=float)
        if box.shape != (4,) or not np.isfinite(box).all() or (box[2:] < box[:2]).any():
            raise ValueError(f"box must be left, top, right, bottom, finite; got {box.tolist()}")
        if not (np.isfinite(scale) and scale > 0):
            raise ValueError(f"scale must be positive and finite, got {scale}")
        size = max(round(scale * max(box[2] - box[0], box[3] - box[1])), MIN_BOX)
        centre = 0.5 * (box[:2] + box[2:])
        # A square of n pixels spans n - 1 from centre to centre.
        left, top = np.round(centre - 0.5 * (size - 1)).astype(int)
        return cls(int(left), int(top), size)

    def overlaps(self, width: int, height: int) -> bool:
        """Some pixel of it lies within a picture of that size."""
        return (
            self.left < width
            and self.top < height
            and self.left + self.size > 0
            and self.top + self.size > 0
        )


@dataclass(frozen=True)
class Crop:
    """A square part of a picture, resized.

    Attributes:
        image: ``(S, S, 3)`` or ``(S, S)``, in the picture's dtype and order of colours.
        camera: Its intrinsics: ``camera.project`` gives pixels of ``image``.
        box: Where it was cut out.
    """

    image: np.ndarray
    camera: CameraIntrinsics
    box: CropBox

    def to_crop(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels ``(…, 2)`` of the crop for pixels of the picture."""
        scale = self.camera.width / self.box.size
        return (pixels - (self.box.left - 0.5, self.box.top - 0.5)) * scale - 0.5

    def to_picture(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels ``(…, 2)`` of the picture for pixels of the crop."""
        scale = self.camera.width / self.box.size
        return (np.asarray(pixels) + 0.5) / scale + (self.box.left - 0.5, self.box.top - 0.5)


def crop_camera(camera: CameraIntrinsics, box: CropBox, size: int = CROP_SIZE) -> CameraIntrinsics:
    """Intrinsics of the ``size`` x ``size`` crop of a picture.

    Raises:
        ValueError: The camera has lens distortion, which no crop's camera can express.
    """
    if camera.distortion:
        raise ValueError(
            f"the picture has lens distortion {camera.distortion}: undistort it first (Undistorter)"
        )
    part = CameraIntrinsics(
        width=box.size,
        height=box.size,
        fx=camera.fx,
        fy=camera.fy,
        cx=camera.cx - box.left,
        cy=camera.cy - box.top,
    )
    return part.scaled(size, size)


def crop(
    image: np.ndarray,
    camera: CameraIntrinsics,
    box: CropBox,
    size: int = CROP_SIZE,
    border: str = "replicate",
) -> Crop:
    """Cut ``box`` out of a picture and resize it to ``size`` x ``size``.

    Shrinking averages over the area of each new pixel, so that nothing aliases; enlarging is
    bilinear.

    Args:
        image: ``(H, W, 3)`` or ``(H, W)``, without lens distortion.
        camera: The picture's.
        box: What to cut out.
        size: Pixels along each side of the crop.
        border: Beyond the picture: ``"replicate"`` its edge, or ``"black"``.

    Raises:
        ValueError: The camera is of another image size or has distortion, the box misses the
            picture, or no such border.
    """
    height, width = image.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise ValueError(
            f"the camera is of {camera.width} x {camera.height} px, the picture {width} x {height}"
        )
    if border not in BORDERS:
        raise ValueError(f"border must be one of {', '.join(BORDERS)}, got {border!r}")
    if not box.overlaps(width, height):
        raise ValueError(f"{box} lies outside the picture of {width} x {height} px")
    cropped_camera = crop_camera(camera, box, size)
    right, bottom = box.left + box.size, box.top + box.size
    part = image[max(box.top, 0) : min(bottom, height), max(box.left, 0) : min(right, width)]
    beyond = (-box.top, bottom - height, -box.left, right - width)
    if max(beyond) > 0:
        part = cv2.copyMakeBorder(part, *(max(edge, 0) for edge in beyond), BORDERS[border])
    how = cv2.INTER_AREA if box.size > size else cv2.INTER_LINEAR
    return Crop(cv2.resize(part, (size, size), interpolation=how), cropped_camera, box)


class Undistorter:
    """Takes a lens' distortion out of pictures and of pixels; the maps are made once.

    Attributes:
        camera: Of the undistorted pictures: the same without distortion.
    """

    def __init__(self, camera: CameraIntrinsics):
        self._distorted = camera
        self.camera = CameraIntrinsics(
            width=camera.width,
            height=camera.height,
            fx=camera.fx,
            fy=camera.fy,
            cx=camera.cx,
            cy=camera.cy,
        )
        self._maps = None
        if camera.distortion:
            self._maps = cv2.initUndistortRectifyMap(
                camera.matrix,
                np.array(camera.distortion),
                None,
                self.camera.matrix,
                (camera.width, camera.height),
                cv2.CV_16SC2,
            )

    def image(self, image: np.ndarray) -> np.ndarray:
        """The picture ``(H, W, 3)`` or ``(H, W)`` as :attr:`camera` would see it.

        Raises:
            ValueError: A picture of another size than the camera's.
        """
        height, width = image.shape[:2]
        if (width, height) != (self.camera.width, self.camera.height):
            raise ValueError(
                f"the camera is of {self.camera.width} x {self.camera.height} px, "
                f"the picture {width} x {height}"
            )
        if self._maps is None:
            return image
        return cv2.remap(image, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels ``(…, 2)`` of the undistorted picture for those of the distorted one."""
        slopes = self._distorted.rays(pixels)
        return slopes * (self.camera.fx, self.camera.fy) + (self.camera.cx, self.camera.cy)
