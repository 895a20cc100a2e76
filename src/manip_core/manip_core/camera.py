"""A pinhole camera with lens distortion: points to pixels and back."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

# Coefficients k1 k2 p1 p2 [k3 [k4 k5 k6]], in the order of OpenCV and of ROS's plumb_bob and
# rational_polynomial models (sensor_msgs/CameraInfo).
_DISTORTION_LENGTHS = (0, 4, 5, 8)
_MODELS = ("plumb_bob", "rational_polynomial")


@dataclass(frozen=True, kw_only=True)
class CameraIntrinsics:
    """Where a point in ``camera_optical_frame`` (z forward, x right, y down) falls in the image.

    Attributes:
        width, height: Image size in [px].
        fx, fy: Focal lengths in [px].
        cx, cy: Principal point in [px]; (0, 0) is the centre of the top left pixel.
        distortion: 0, 4, 5 or 8 coefficients ``k1 k2 p1 p2 k3 k4 k5 k6``.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()

    def __post_init__(self):
        for name in ("width", "height"):
            value = getattr(self, name)
            if value != int(value) or value < 1:
                raise ValueError(f"{name} must be a positive whole number of pixels, got {value}")
            object.__setattr__(self, name, int(value))
        for name in ("fx", "fy"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value}")
        distortion = tuple(float(k) for k in self.distortion)
        if len(distortion) not in _DISTORTION_LENGTHS:
            raise ValueError(
                f"distortion must have {_DISTORTION_LENGTHS} coefficients, got {len(distortion)}"
            )
        if not np.isfinite((self.cx, self.cy, *distortion)).all():
            raise ValueError(
                "cx, cy and distortion must be finite, "
                f"got cx={self.cx}, cy={self.cy}, distortion={distortion}"
            )
        object.__setattr__(self, "distortion", distortion if any(distortion) else ())

    @classmethod
    def from_fov(cls, width: int, height: int, fov_deg: float) -> "CameraIntrinsics":
        """An ideal camera of a horizontal field of view in degrees, principal point centred."""
        if not 0.0 < fov_deg < 180.0:
            raise ValueError(f"fov_deg must lie between 0 and 180 degrees, got {fov_deg}")
        focal = 0.5 * width / np.tan(0.5 * np.radians(fov_deg))
        return cls(
            width=width,
            height=height,
            fx=float(focal),
            fy=float(focal),
            cx=0.5 * (width - 1),
            cy=0.5 * (height - 1),
        )

    @classmethod
    def from_yaml(cls, path: str | Path) -> "CameraIntrinsics":
        """Read a calibration file as ROS's ``camera_calibration`` writes it.

        Raises:
            FileNotFoundError: No such file.
            ValueError: Not such a calibration; the message says what is missing or unsound.
        """
        path = Path(path)
        try:
            content = yaml.safe_load(path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not YAML: {error}") from error
        if not isinstance(content, dict):
            raise ValueError(f"{path} is no camera calibration: it holds no mapping")
        model = content.get("distortion_model", _MODELS[0])
        if model not in _MODELS:
            raise ValueError(f"{path}: distortion_model must be one of {_MODELS}, got {model!r}")
        try:
            k = np.asarray(content["camera_matrix"]["data"], dtype=float)
            if k.size != 9:
                raise ValueError(f"camera_matrix must hold 9 numbers, got {k.size}")
            k = k.reshape(3, 3)
            return cls(
                width=content["image_width"],
                height=content["image_height"],
                fx=k[0, 0],
                fy=k[1, 1],
                cx=k[0, 2],
                cy=k[1, 2],
                distortion=tuple(content.get("distortion_coefficients", {}).get("data", ())),
            )
        except KeyError as error:
            raise ValueError(f"{path} is no camera calibration: {error} is missing") from error
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    @property
    def matrix(self) -> np.ndarray:
        """``(3, 3)`` camera matrix in [px]."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def scaled(self, width: int, height: int) -> "CameraIntrinsics":
        """The same camera when its whole image is resized to ``width`` x ``height``."""
        sx, sy = width / self.width, height / self.height
        return CameraIntrinsics(
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            # Pixel centres sit at whole numbers, so the image begins at -1/2.
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
            distortion=self.distortion,
        )

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels ``(…, 2)`` of points ``(…, 3)`` in [m]; NaN for points not before the camera."""
        points = np.asarray(points, dtype=float)
        if points.shape[-1:] != (3,):
            raise ValueError(f"points must be (…, 3), got {points.shape}")
        depth = np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
        ideal = self._distorted(points[..., :2] / depth)
        return ideal * (self.fx, self.fy) + (self.cx, self.cy)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """``(…, 2)`` slopes x/z, y/z of the lines of sight through pixels ``(…, 2)``."""
        pixels = np.asarray(pixels, dtype=float)
        if pixels.shape[-1:] != (2,):
            raise ValueError(f"pixels must be (…, 2), got {pixels.shape}")
        seen = (pixels - (self.cx, self.cy)) / (self.fx, self.fy)
        if not self.distortion:
            return seen
        # Fixed-point iteration; converges in a few steps for lenses that do not fold the image.
        slopes = seen.copy()
        for _ in range(20):
            error = seen - self._distorted(slopes)
            slopes = slopes + error
            if np.nanmax(np.abs(error), initial=0.0) < 1e-10:
                break
        return slopes

    def unproject(self, pixels: np.ndarray, depth: np.ndarray | float) -> np.ndarray:
        """Points ``(…, 3)`` in [m] at ``depth`` ``(…)`` in [m] along z on the pixels' lines."""
        slopes = self.rays(pixels)
        depth = np.broadcast_to(np.asarray(depth, dtype=float), slopes.shape[:-1])[..., None]
        return np.concatenate((slopes * depth, depth), axis=-1)

    def _distorted(self, slopes: np.ndarray) -> np.ndarray:
        """Distorted slopes ``(…, 2)`` of ideal ones; formula of the OpenCV calib3d manual."""
        if not self.distortion:
            return slopes
        k1, k2, p1, p2, k3, k4, k5, k6 = (*self.distortion, *(0.0,) * 8)[:8]
        x, y = slopes[..., 0], slopes[..., 1]
        r2 = x * x + y * y
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        return np.stack(
            (
                x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
            ),
            axis=-1,
        )
