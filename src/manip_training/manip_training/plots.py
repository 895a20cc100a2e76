"""Pictures of an evaluation and of training: error plots, and a sheet of crops."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from manip_core.hand_skeleton import BONES, FINGER_CHAINS, FINGER_COLOURS, FINGERS, TIPS, Keypoint
from manip_core.metrics import area_under_curve

_FINGER_COLOURS = {
    finger: "#{:02x}{:02x}{:02x}".format(*colour) for finger, colour in FINGER_COLOURS.items()
}
_WRIST_COLOUR = "#b4b4b4"
_AXIS_COLOURS = ("#ff4b4b", "#50dc50", "#5a8cff")
_DARK, _INK = "#141414", "#303030"
_LINES = {"root-relative": "#1f6fb4", "scaled": "#8a63b0", "PA": "#d1601f", "absolute": "#7a7a7a"}
_STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.edgecolor": "#808080",
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
}


@dataclass(kw_only=True)
class Picture:
    """A crop, with what is predicted and what is true, in its pixels.

    Attributes:
        image: ``(S, S, 3)`` uint8 RGB.
        pa_mm, root_mm: Errors of its joints, Procrustes-aligned and root-relative.
        predicted, true: ``(21, 2)`` [px].
        valid: ``(21,)`` which of ``true`` are labelled.
        predicted_axes, true_axes: ``(4, 2)`` [px] each: origin and ends of x, y, z of an object.
    """

    image: np.ndarray
    pa_mm: float
    root_mm: float
    predicted: np.ndarray
    true: np.ndarray
    valid: np.ndarray
    predicted_axes: list[np.ndarray] = field(default_factory=list)
    true_axes: list[np.ndarray] = field(default_factory=list)


def keypoint_colours() -> list[str]:
    """Colour of each of the 21 keypoints."""
    colours = [_WRIST_COLOUR] * len(Keypoint)
    for finger, chain in zip(FINGERS, FINGER_CHAINS, strict=True):
        for keypoint in chain:
            colours[keypoint] = _FINGER_COLOURS[finger]
    return colours


def joint_bars(errors: Mapping[str, np.ndarray], title: str) -> Figure:
    """Bars of the first kind of per-joint errors ``(21,)`` [mm], marks for the others."""
    with mpl.rc_context(_STYLE):
        figure = _figure(9.6, 4.2)
        axes = figure.subplots()
        places = np.arange(len(Keypoint)) + np.repeat(np.arange(6) * 0.7, [1, 4, 4, 4, 4, 4])
        (kind, bars), *others = errors.items()
        axes.bar(places, bars, 0.8, color=keypoint_colours(), label=kind)
        mean = np.nanmean(bars)
        axes.axhline(mean, color=_INK, lw=0.9, ls=(0, (4, 3)), label=f"mean {mean:.1f} mm")
        for other, values in others:
            style = {"mfc": "white", "mec": _INK, "mew": 1.3, "ls": "", "marker": "D", "ms": 5}
            axes.plot(places, values, label=other, **style)
        axes.set_xticks(places, [_short(keypoint) for keypoint in Keypoint], fontsize=9)
        for finger, chain in zip(FINGERS, FINGER_CHAINS, strict=True):
            middle = places[chain].mean()
            axes.text(
                middle,
                -0.09,
                finger,
                ha="center",
                va="top",
                fontweight="bold",
                transform=axes.get_xaxis_transform(),
            )
        axes.set_ylabel("joint error [mm]")
        axes.set_xlim(places[0] - 0.8, places[-1] + 0.8)
        axes.set_ylim(0, 1.18 * np.nanmax([np.nanmax(v) for v in errors.values()]))
        axes.grid(axis="y")
        axes.tick_params(axis="x", length=0)
        handles, labels = axes.get_legend_handles_labels()
        handles = [
            Patch(color="#8c8c8c") if label == kind else h
            for h, label in zip(handles, labels, strict=True)
        ]
        axes.legend(handles, labels, loc="upper right", ncols=3)
        axes.set_title(f"Error of each joint: {title}", loc="left")
        return figure


def pck_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str) -> Figure:
    """Fractions of correct keypoints over thresholds [mm], with the area under each."""
    with mpl.rc_context(_STYLE):
        figure = _figure(6.4, 4.4)
        axes = figure.subplots()
        for kind, (thresholds, fractions) in curves.items():
            label = f"{kind}  (area {area_under_curve(fractions, thresholds):.3f})"
            axes.plot(thresholds, 100 * fractions, lw=2.2, color=_LINES.get(kind), label=label)
        axes.set_xlim(0, max(t[-1] for t, _ in curves.values()))
        axes.set_ylim(0, 102)
        axes.set_xlabel("threshold [mm]")
        axes.set_ylabel("keypoints within it [%]")
        axes.grid()
        axes.legend(loc="lower right")
        axes.set_title(f"Correct keypoints: {title}", loc="left")
        return figure


def error_histogram(errors: Mapping[str, np.ndarray], title: str) -> Figure:
    """How many samples have which error [mm]; beyond the 99th percentile in the last bin."""
    with mpl.rc_context(_STYLE):
        figure = _figure(6.4, 4.4)
        axes = figure.subplots()
        errors = {kind: values[np.isfinite(values)] for kind, values in errors.items()}
        top = max(np.quantile(values, 0.99) for values in errors.values())
        top = max(float(top), 1e-3) * 1.05
        samples = max(map(len, errors.values()))
        bins = np.linspace(0.0, top, int(np.clip(2 * np.sqrt(samples), 10, 40)) + 1)
        for kind, values in errors.items():
            colour, median = _LINES.get(kind), np.median(values)
            axes.hist(
                np.minimum(values, top),
                bins,
                color=colour,
                alpha=0.45,
                label=f"{kind}  (median {median:.1f} mm)",
            )
            axes.hist(np.minimum(values, top), bins, color=colour, histtype="step", lw=1.2)
            axes.axvline(median, color=colour, lw=1.4, ls=(0, (4, 3)))
        axes.set_xlim(0, top)
        axes.set_xlabel("mean joint error of a sample [mm]; larger ones in the last bin")
        axes.set_ylabel("samples")
        axes.grid(axis="y")
        axes.legend(loc="upper right")
        axes.set_title(f"Errors of samples: {title}", loc="left")
        return figure


def picture_sheet(pictures: Mapping[str, list[Picture]], title: str) -> Figure:
    """One row of crops for each kind, predicted hands in colour over true ones in white."""
    pictures = {kind: row for kind, row in pictures.items() if row}
    rows, columns = len(pictures), max(map(len, pictures.values()))
    size = 2.55
    with mpl.rc_context(_STYLE):
        # The legend needs 9.6 inches, however few the columns are.
        figure = _figure(max(size * columns + 0.3, 9.6), (size + 0.3) * rows + 0.85)
        grid = figure.subplots(rows, columns, squeeze=False)
        for (kind, row), line in zip(pictures.items(), grid, strict=True):
            for axes in line:
                axes.axis("off")
            for axes, picture in zip(line, row, strict=False):
                draw_picture(axes, picture)
            line[0].text(
                -0.05,
                0.5,
                kind,
                rotation=90,
                ha="right",
                va="center",
                fontsize=13,
                fontweight="bold",
                transform=line[0].transAxes,
            )
        figure.suptitle(f"By Procrustes-aligned error: {title}", x=0.01, ha="left", fontsize=12)
        figure.legend(
            handles=_sheet_legend(),
            loc="outside lower center",
            ncols=10,
            fontsize=9,
            handlelength=1.5,
            columnspacing=1.4,
        )
        return figure


def draw_picture(axes, picture: Picture) -> None:
    """One crop with both skeletons, the objects' axes and its errors."""
    size = picture.image.shape[0]
    axes.imshow(picture.image, interpolation="lanczos")
    for ends in picture.true_axes:
        _draw_axes(axes, ends, 1.2, (0, (2, 1.5)))
    for ends in picture.predicted_axes:
        _draw_axes(axes, ends, 2.2, "-")
    colours = keypoint_colours()
    for parent, child in BONES:
        _line(axes, picture.predicted[[parent, child]], colours[child], 2.4)
    marks = np.where(np.isin(np.arange(len(Keypoint)), TIPS), 26, 13)
    axes.scatter(*picture.predicted.T, s=marks, c=colours, edgecolors=_DARK, lw=0.7, zorder=4)
    for parent, child in BONES:
        if picture.valid[parent] and picture.valid[child]:
            _line(axes, picture.true[[parent, child]], "white", 0.9, zorder=5)
    axes.set_xlim(-0.5, size - 0.5)
    axes.set_ylim(size - 0.5, -0.5)
    text = f"PA {picture.pa_mm:.1f} mm"
    if np.isfinite(picture.root_mm):
        text += f",  root {picture.root_mm:.1f} mm"
    axes.set_title(text, fontsize=10)


def learning_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str) -> Figure:
    """A panel for each logged quantity: steps and finite values."""
    with mpl.rc_context(_STYLE):
        figure = _figure(4.6 * len(curves) + 0.4, 3.6)
        panels = figure.subplots(1, len(curves), squeeze=False)[0]
        for axes, (name, (steps, values)) in zip(panels, curves.items(), strict=True):
            # A few values are shown as they are; of many, their running mean over 2 % besides.
            width, colour = max(1, len(values) // 50), _LINES["root-relative"]
            if width == 1:
                axes.plot(steps, values, color=colour, lw=1.9, marker="o", ms=3.5)
            else:
                axes.plot(steps, values, color=colour, lw=1, alpha=0.3)
                smooth = np.convolve(values, np.ones(width) / width, "valid")
                axes.plot(steps[width - 1 :], smooth, color=colour, lw=1.9)
            if values.min() > 0 and values.max() > 10 * values.min():
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel("step")
            axes.set_title(name, loc="left")
            axes.grid(which="major")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG whose bytes depend on the figure alone; returns the path."""
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _line(axes, ends: np.ndarray, colour: str, width: float, style="-", zorder: int = 3) -> None:
    axes.plot(
        *ends.T,
        color=colour,
        lw=width,
        ls=style,
        solid_capstyle="round",
        zorder=zorder,
        path_effects=[Stroke(linewidth=width + 1.2, foreground=_DARK), Normal()],
    )


def _draw_axes(axes, ends: np.ndarray, width: float, style) -> None:
    for end, colour in zip(ends[1:], _AXIS_COLOURS, strict=True):
        _line(axes, np.stack((ends[0], end)), colour, width, style, zorder=2)


def _sheet_legend() -> list:
    lines = [Line2D([], [], color=c, lw=3, label=finger) for finger, c in _FINGER_COLOURS.items()]
    outline = [Stroke(linewidth=2.6, foreground=_DARK), Normal()]
    true = Line2D([], [], color="white", lw=1.2, label="true hand", path_effects=outline)
    axes = [
        Line2D([], [], color=colour, lw=2.2, label=f"object {name}")
        for colour, name in zip(_AXIS_COLOURS, "xyz", strict=True)
    ]
    dashes = Line2D([], [], color=_INK, lw=1.3, ls=(0, (2, 1.5)), label="true object")
    return [*lines, true, *axes, dashes]


def _short(keypoint: Keypoint) -> str:
    return keypoint.name.split("_")[-1]
