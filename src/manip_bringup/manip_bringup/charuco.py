"""The calibration board: a ChArUco board that is printed, and then found in pictures."""

import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

# Markers of 4x4 bits with a border of one are 6 modules wide. On squares of 8 modules every edge
# falls on a module's edge, so that the board can be drawn exactly.
_DICTIONARY = cv2.aruco.DICT_4X4_50
_MARKER_MODULES, _SQUARE_MODULES = 6, 8
# A4 lying down, in PDF points of 1/72 inch.
_PAGE_M = (0.297, 0.210)
_POINT_M = 0.0254 / 72
_PNG_DPI = 300
# Half of the inner corners of the default board: fewer, and one marker too few was seen.
_FEWEST_CORNERS = 8


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """Corners of the board in one picture.

    Attributes:
        points: ``(n, 3)`` [m] in the board's frame: origin at a corner of its outline, x along the
            long side, z away from the camera behind the sheet.
        pixels: ``(n, 2)`` where they are seen [px].
        name: Of the picture, for messages.
    """

    points: np.ndarray
    pixels: np.ndarray
    name: str = ""

    def __post_init__(self):
        shapes = self.points.shape, self.pixels.shape
        if shapes[0][1:] != (3,) or shapes[1][1:] != (2,) or len(self.points) != len(self.pixels):
            raise ValueError(f"points must be (n, 3) and pixels (n, 2), got {shapes}")

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True, kw_only=True)
class Board:
    """A chessboard with a marker in each white square.

    Attributes:
        columns, rows: Squares along the long and the short side.
        square: Side of a square [m]. Printers scale: measure it on the print.
    """

    columns: int = 7
    rows: int = 5
    square: float = 0.035

    def __post_init__(self):
        if min(self.columns, self.rows) < 4 or self.columns * self.rows > 100:
            raise ValueError(
                "the board needs at least 4 squares a side and at most 100 in all, "
                f"got {self.columns} x {self.rows}"
            )
        if not 0.005 <= self.square <= 0.5:
            raise ValueError(f"square must lie between 0.005 and 0.5 m, got {self.square}")

    @cached_property
    def _board(self) -> cv2.aruco.CharucoBoard:
        return cv2.aruco.CharucoBoard(
            (self.columns, self.rows),
            self.square,
            self.square * _MARKER_MODULES / _SQUARE_MODULES,
            cv2.aruco.getPredefinedDictionary(_DICTIONARY),
        )

    @cached_property
    def _detector(self) -> cv2.aruco.CharucoDetector:
        return cv2.aruco.CharucoDetector(self._board)

    @cached_property
    def corners(self) -> np.ndarray:
        """``(n, 3)`` all inner corners in the board's frame [m]."""
        return np.asarray(self._board.getChessboardCorners(), dtype=float)

    @property
    def modules(self) -> np.ndarray:
        """The board as it is printed, ``(8 rows, 8 columns)`` uint8, 0 or 255."""
        size = (self.columns * _SQUARE_MODULES, self.rows * _SQUARE_MODULES)
        return self._board.generateImage(size, marginSize=0, borderBits=1)

    def find(self, image: np.ndarray, name: str = "") -> Sighting | None:
        """The board in a picture ``(H, W)`` or ``(H, W, 3)`` uint8; ``None`` where it is not seen
        well enough: fewer than 8 corners, or all of them in a line.
        """
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        pixels, ids, _, _ = self._detector.detectBoard(grey)
        if ids is None or len(ids) < _FEWEST_CORNERS:
            return None
        points = self.corners[np.ravel(ids)]
        spread = np.linalg.svd(points[:, :2] - points[:, :2].mean(0), compute_uv=False)
        if spread[1] < self.square:
            return None
        pixels = np.asarray(pixels, dtype=float).reshape(-1, 2)
        return Sighting(points=points, pixels=pixels, name=name)

    def print(self, path: Path) -> None:
        """Write the board to a ``.pdf`` (A4, true to size) or a ``.png`` (300 dpi).

        Raises:
            ValueError: Another suffix, or a board larger than the page.
        """
        width, height = self.columns * self.square, self.rows * self.square
        if path.suffix == ".pdf":
            if width > _PAGE_M[0] - 0.02 or height > _PAGE_M[1] - 0.02:
                raise ValueError(
                    f"a board of {width:.3f} x {height:.3f} m does not fit on A4 with a margin of "
                    f"1 cm: take smaller squares than {self.square} m, or a .png and a larger sheet"
                )
            path.write_bytes(self._pdf())
        elif path.suffix == ".png":
            module = max(1, round(self.square / _SQUARE_MODULES / 0.0254 * _PNG_DPI))
            image = self.modules.repeat(module, axis=0).repeat(module, axis=1)
            quiet = _SQUARE_MODULES * module // 2
            frame = cv2.copyMakeBorder(image, *(quiet,) * 4, cv2.BORDER_CONSTANT, value=255)
            cv2.imwrite(str(path), frame)
        else:
            raise ValueError(f"the board is written as .pdf or .png, got {path.name!r}")

    def _pdf(self) -> bytes:
        """One page with a black rectangle for each run of black modules (PDF 1.4, ISO 32000-1)."""
        page = [length / _POINT_M for length in _PAGE_M]
        module = self.square / _SQUARE_MODULES / _POINT_M
        modules = self.modules
        rows, columns = modules.shape
        left, top = (page[0] - columns * module) / 2, (page[1] + rows * module) / 2
        draw = ["0 g"]
        for y, row in enumerate(modules == 0):
            edges = np.flatnonzero(np.diff(np.r_[False, row, False].astype(int)))
            for begin, end in edges.reshape(-1, 2):
                x, below = left + begin * module, top - (y + 1) * module
                draw.append(f"{x:.4f} {below:.4f} {(end - begin) * module:.4f} {module:.4f} re f")
        note = (
            f"{self.columns} x {self.rows} squares of {self.square * 1e3:g} mm. Print at 100 %, "
            "glue to a flat plate, and measure a square."
        )
        draw.append(f"BT /F1 9 Tf {left:.1f} {(page[1] - rows * module) / 4:.1f} Td ({note}) Tj ET")
        content = zlib.compress("\n".join(draw).encode())
        objects = [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {page[0]:.3f} {page[1]:.3f}] "
            "/Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>".encode(),
            f"<< /Length {len(content)} /Filter /FlateDecode >>\nstream\n".encode()
            + content
            + b"\nendstream",
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        ]
        out, offsets = bytearray(b"%PDF-1.4\n"), []
        for number, body in enumerate(objects, 1):
            offsets.append(len(out))
            out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
        start = len(out)
        out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
        out += b"".join(f"{offset:010d} 00000 n \n".encode() for offset in offsets)
        out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\n".encode()
        return bytes(out + f"startxref\n{start}\n%%EOF\n".encode())
