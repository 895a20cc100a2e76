"""The gauges of the operator page's panel, as HTML: tracking, pinches, latency."""

from html import escape

import numpy as np

from manip_bringup.hand_drawing import FINGER_COLOURS, TOUCH
from manip_bringup.viewer_status import AMBER, GREEN, LATENCY_WINDOW_S, Latency, Monitor
from manip_core.hand import Hand
from manip_core.hand_skeleton import CONTACT_FINGERS, TIPS, Keypoint

_DIM, _TEXT, _FAINT = "#98a2b3", "#e6eaf0", "#ffffff1f"
# A thumb this far from a finger is drawn at the end of the scale [mm].
_FAR_MM = 100.0
_STAGE_COLOURS = ("#5aa9f0", "#8f7ff0", "#3ecf8e", "#f2b544", "#ee7fb4")
_BOX = f"margin:0 14px 8px;font-size:14px;color:{_TEXT};font-variant-numeric:tabular-nums"


def tracking_html(monitor: Monitor, now: float) -> str:
    """How the hand is seen, how surely, and how well where the truth is known."""
    text, colour = monitor.tracking(now)
    hand = monitor.seen(now)
    rows = [
        _row("Tracking", f'<span style="color:{colour};font-weight:600">{text}</span>'),
        _row("Confidence", _bar(hand.confidence) if hand else "–"),
    ]
    if error := monitor.error_mm(now):
        rows.append(
            _row(
                "Error to the truth",
                f'{error[0]:.0f}&thinsp;mm<span style="color:{_DIM}">, shape</span> '
                f"{error[1]:.0f}&thinsp;mm",
            )
        )
    return f'<div style="{_BOX}">{"".join(rows)}</div>'


def pinch_html(hand: Hand | None) -> str:
    """One gauge a finger: its gap to the thumb and a bar that fills as it closes.

    A finger that likely touches the thumb is lit.
    """
    cells = []
    for row, finger in enumerate(CONTACT_FINGERS):
        rgb = "rgb({},{},{})".format(*FINGER_COLOURS[finger])
        gap, likelihood = (np.nan, 0.0) if hand is None else _pinch(hand, row)
        touching = likelihood >= TOUCH
        closed = 0.0 if np.isnan(gap) else np.clip(1.0 - gap / _FAR_MM, 0.0, 1.0)
        said = "–" if np.isnan(gap) else "touch" if touching else f"{gap:.0f}&thinsp;mm"
        chance = "not seen" if hand is None else f"touches with {100 * likelihood:.0f} %"
        frame = f"background:{rgb};color:#101418" if touching else f"background:{_FAINT}"
        dim = "#10141899" if touching else _DIM
        cells.append(
            f'<div title="{chance}" style="flex:1;border-radius:7px;padding:5px 7px 6px;{frame}">'
            f'<div style="font-size:12px;color:{dim}">{finger}</div>'
            f'<div style="font-size:15px;font-weight:600;line-height:21px">{said}</div>'
            f'<div style="height:5px;border-radius:3px;background:#0000002e">'
            f'<div style="height:5px;border-radius:3px;width:{100 * closed:.0f}%;'
            f'background:{"#101418" if touching else rgb}"></div></div></div>'
        )
    return f'<div style="{_BOX};display:flex;gap:6px">{"".join(cells)}</div>'


def latency_html(monitor: Monitor, now: float) -> str:
    """Exposure to command: percentiles, the last half minute, and where the time goes."""
    found = monitor.latency(now)
    parts = [_percentiles(found), _trace(monitor.latencies_ms(now))]
    if found and found.shares:
        parts.append(_shares(found.shares))
    return f'<div style="{_BOX}">{"".join(parts)}</div>'


def _pinch(hand: Hand, row: int) -> tuple[float, float]:
    tips = hand.keypoints[TIPS[1 + row]] - hand.keypoints[Keypoint.THUMB_TIP]
    return 1e3 * float(np.linalg.norm(tips)), float(hand.contact[row])


def _percentiles(found: Latency | None) -> str:
    cells = []
    for name in ("p50", "p95", "p99"):
        value = found.percentiles.get(name) if found else None
        text = "–" if value is None else f"{value:.0f}"
        cells.append(
            f'<span><span style="color:{_DIM};font-size:12px">{name}</span> '
            f'<b style="font-size:17px">{text}</b></span>'
        )
    return (
        '<div style="display:flex;justify-content:space-between;align-items:baseline;'
        'white-space:nowrap">'
        f'<span style="color:{_DIM}" title="from the exposure of a picture to the command made of '
        'it">Latency [ms]</span>'
        f'<span style="display:flex;gap:14px">{"".join(cells)}</span></div>'
    )


def _trace(samples: list[tuple[float, float]], width: int = 320, height: int = 34) -> str:
    """The last half minute as a line, on a scale that begins at zero."""
    if len(samples) < 2:
        return f'<div style="height:{height}px"></div>'
    ages, values = np.array(samples).T
    top = max(100.0, float(values.max()))
    x = width * (1.0 - ages / LATENCY_WINDOW_S)
    y = height - 2 - (height - 4) * values / top
    points = " ".join(f"{a:.0f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return (
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" '
        f'style="display:block;width:100%;height:{height}px">'
        f'<line x1="0" x2="{width}" y1="{height - 1}" y2="{height - 1}" stroke="{_FAINT}"/>'
        f'<polyline points="{points}" fill="none" stroke="{GREEN}" stroke-width="1.5" '
        'vector-effect="non-scaling-stroke"/></svg>'
    )


def _shares(shares: dict[str, float]) -> str:
    total = sum(max(value, 0.0) for value in shares.values()) or 1.0
    bars, words = [], []
    for (stage, value), colour in zip(shares.items(), _STAGE_COLOURS, strict=False):
        bars.append(
            f'<div style="width:{100 * max(value, 0.0) / total:.1f}%;background:{colour}"></div>'
        )
        words.append(
            f'<span style="white-space:nowrap"><span style="color:{colour}">■</span> '
            f'<span style="color:{_DIM}">{escape(stage)}</span> {value:.1f}</span>'
        )
    return (
        '<div style="display:flex;height:10px;border-radius:5px;overflow:hidden;margin:5px 0 4px">'
        f"{''.join(bars)}</div>"
        '<div style="display:flex;flex-wrap:wrap;gap:1px 12px;font-size:12px;line-height:18px">'
        f"{''.join(words)}</div>"
    )


def _row(name: str, value: str) -> str:
    return (
        '<div style="display:flex;justify-content:space-between;align-items:center;'
        f'min-height:25px"><span style="color:{_DIM}">{name}</span><span>{value}</span></div>'
    )


def _bar(value: float) -> str:
    colour = GREEN if value >= 0.8 else AMBER
    return (
        '<span style="display:inline-flex;align-items:center;gap:8px">'
        f'<span style="display:inline-block;width:90px;height:6px;border-radius:3px;'
        f'background:{_FAINT}">'
        f'<span style="display:block;width:{90 * value:.0f}px;height:6px;border-radius:3px;'
        f'background:{colour}"></span></span>{100 * value:.0f}&thinsp;%</span>'
    )
