"""How pictures look: colours in both schemes, type, and how each role is told apart without colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcdl.report.pictures import Role

# Each colour on white and on near-black: at least 4.5:1 against its paper (WCAG 2, AA), so that text may have it, and
# any two of the series apart for those who lack red or green cones, in lightness if not in hue (tests hold both).
COLOURS: dict[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#14171b"),
    "panel": ("#f5f6f8", "#1d2126"),
    "ink": ("#1a1d21", "#e8eaed"),
    "muted": ("#586069", "#a3adb8"),
    "faint": ("#dfe3e8", "#333a42"),
    "warning": ("#856000", "#e6c34a"),
    "series-1": ("#0a5fb4", "#63aef5"),
    "series-2": ("#c2410c", "#ff9a5a"),
    "series-3": ("#11756a", "#3fbfa5"),
    "series-4": ("#4b1d7a", "#dcc6ff"),
    "series-5": ("#4a3c00", "#f5e17a"),
    "series-6": ("#b0205a", "#ffb3cf"),
}
SERIES = tuple(name for name in COLOURS if name.startswith("series-"))
# What a part of a step is called, wherever it is drawn: it has one colour on a page, in tables and in pictures.
PHASES = {
    "input wait": "series-5",
    "compute": "series-1",
    "exchange wait": "series-2",
    "exposed communication": "series-2",
    "update": "series-3",
    "other": "series-3",
}
# Dark to light, even to the eye and to the colour-blind; the middle stops of matplotlib's viridis.
RAMP = ("#440154", "#472c7a", "#3b518b", "#2c718e", "#21908d", "#27ad81", "#5cc863", "#aadc32", "#fde725")
# The first is inside vl-convert; a browser takes what it has.
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
# Marks by name, and the path that stands for each in a legend, where one unit is the mark's radius.
SHAPES = {
    "circle": "M0.8,0A0.8,0.8,0,1,1,-0.8,0A0.8,0.8,0,1,1,0.8,0",
    "square": "M-0.7,-0.7H0.7V0.7H-0.7Z",
    "triangle-up": "M0,-0.8L0.8,0.7H-0.8Z",
    "diamond": "M0,-0.9L0.9,0L0,0.9L-0.9,0Z",
    "triangle-down": "M0,0.8L0.8,-0.7H-0.8Z",
    "cross": "M-0.8,-0.3H-0.3V-0.8H0.3V-0.3H0.8V0.3H0.3V0.8H-0.3V0.3H-0.8Z",
}

# Words are read lying: the title of y stands above its axis.
TITLE_ABOVE = {
    "titleAngle": 0,
    "titleAnchor": "end",
    "titleAlign": "left",
    "titleBaseline": "bottom",
    "titleX": 0,
    "titleY": -9,
}

Colours = dict[str, str]


@dataclass(frozen=True)
class Look:
    """How a role is drawn. `hollow` marks are filled with the paper; `plain` takes the grey of helping lines.

    `inside` is how much of its colour a bar is filled with.
    """

    dash: tuple[int, ...] = ()
    hollow: bool = False
    plain: bool = False
    opacity: float = 1.0
    inside: float = 1.0


LOOKS: Mapping[Role, Look] = {
    "measured": Look(),
    "ideal": Look(dash=(6, 4), plain=True, hollow=True, inside=0.0),
    "predicted": Look(dash=(1, 3), hollow=True, inside=0.12),
    "published": Look(dash=(8, 3, 2, 3), hollow=True, inside=0.0),
    "estimated": Look(dash=(4, 2), hollow=True, inside=0.3),
    "withheld": Look(dash=(2, 5), hollow=True, plain=True, opacity=0.6, inside=0.0),
}


def pick_colours(*, dark: bool = False) -> Colours:
    """The colours of one scheme by name."""
    return {name: pair[dark] for name, pair in COLOURS.items()}


def name_colours() -> Colours:
    """CSS variables in place of colours: what is drawn with them follows the page, on paper too."""
    return {name: f"var(--{name})" for name in COLOURS}


def colour_parts(names: Sequence[str]) -> dict[str, str]:
    """The series' colour of each part of a whole, by the names of COLOURS: phases have their own, others what is left.

    Two of one whole share a colour only where there are more parts than colours.
    """
    chosen = {name: PHASES[name] for name in names if name in PHASES}
    left = [colour for colour in SERIES if colour not in chosen.values()] or list(SERIES)
    others = [name for name in dict.fromkeys(names) if name not in chosen]
    return chosen | {name: left[place % len(left)] for place, name in enumerate(others)}


def name_series(name: str, role: Role) -> str:
    """A series' name, which says its role too."""
    return name if role == "measured" or role in name.lower() else f"{name} ({role})"


def configure(colours: Mapping[str, str], font: str = FONT) -> dict[str, Any]:
    """Vega-Lite's config: quiet axes, no frame, the data in front."""
    ink, muted, faint = colours["ink"], colours["muted"], colours["faint"]
    text = {"labelFont": font, "titleFont": font, "labelColor": muted, "titleColor": muted}
    return {
        # The figure around it tells in words what is to be seen; thousands of marks do not.
        "aria": False,
        "font": font,
        "background": None,
        "view": {"stroke": None},
        "title": {
            "anchor": "start",
            "frame": "bounds",
            "offset": 16,
            "color": ink,
            "fontSize": 15,
            "fontWeight": 600,
            "subtitleColor": muted,
            "subtitleFontSize": 12,
            "subtitlePadding": 5,
            "lineHeight": 19,
            "subtitleLineHeight": 16,
        },
        "axis": text
        | {
            "labelFontSize": 11,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "titlePadding": 8,
            "labelPadding": 5,
            "gridColor": faint,
            "gridWidth": 1,
            "domain": False,
            "ticks": False,
        },
        "axisX": {
            "grid": False,
            "domain": True,
            "domainColor": muted,
            "ticks": True,
            "tickColor": muted,
            "tickSize": 4,
        },
        "legend": text
        | {
            "orient": "top",
            "direction": "horizontal",
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "labelColor": ink,
            "labelLimit": 320,
            "columnPadding": 18,
            "rowPadding": 4,
            "offset": 12,
            "symbolSize": 70,
            "symbolStrokeWidth": 1.75,
        },
        "text": {"font": font, "fontSize": 11, "color": ink},
    }
