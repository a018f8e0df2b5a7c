"""What the figures share: colours and marks of arms, styles, words, numbers and plain axes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple
from zlib import crc32

import matplotlib as mpl
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.typing import LineStyleType

from lth.types import WINNER

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9",
           "#A55AFF", "#3C3C00", "#C3D278", "#4B1E2D", "#001E87", "#0000FF")  # fmt: skip
"""Six of Okabe & Ito's, then six that are farthest from these and each other, as the colour-blind
see them too: in CIELAB no two are nearer than 26, for protanopes 20, for deuteranopes 17."""

ON_DARK = ("#4DA6E8", "#E8703A", "#19A87F", "#F2BEDD", "#F0A500", "#96F087",
           "#5A3CFF", "#F0FF69", "#D2FFD2", "#C30096", "#4B78F0", "#C31E3C")  # fmt: skip
"""The same on a dark ground: no two are nearer than 35, 25 and 23."""

MARKERS: tuple[Any, ...] = ("o", "s", "D", "^", "v", "P", "X", "*", "<", ">", (4, 1, 0), "h")
STROKES: tuple[LineStyleType, ...] = ("-", (0, (5, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1)))

KNOWN = {WINNER: 0, "random_reinit": 1, "random_mask": 2, "small_dense": 3}
"""The commonest arms have colours of their own; any other's follows from its name."""

LETTER = 0.085
"""Inches that a letter of a legend takes, about, in a font of 10 points."""

DARK = {
    "figure.facecolor": "#15181C", "axes.facecolor": "#15181C", "savefig.facecolor": "#15181C",
    "text.color": "#E8E8E8", "axes.labelcolor": "#E8E8E8", "axes.edgecolor": "#E8E8E8",
    "axes.titlecolor": "#E8E8E8", "xtick.color": "#E8E8E8", "ytick.color": "#E8E8E8",
}  # fmt: skip

PAPER = {"font.family": "serif", "mathtext.fontset": "stix", "font.serif":
         ["STIXGeneral", "Times New Roman", "DejaVu Serif"]}  # fmt: skip


NO_LOOKS = (
    "backend", "date.epoch", "docstring.", "figure.max_open", "figure.raise", "figure.hooks",
    "interactive", "keymap.", "macosx.", "savefig.directory", "timezone", "tk.", "toolbar",
    "webagg.",
)  # fmt: skip
"""With what settings of matplotlib begin that no figure shows."""


class Look(NamedTuple):
    """How an arm is drawn."""

    color: Any
    marker: Any
    ls: LineStyleType


def looks(arms: Iterable[str]) -> dict[str, Look]:
    """Give every arm its look: no two of 12 share colour or marker, none of 100 both.

    An arm's follows from its name alone, in every figure and study, unless one before it has taken
    that: then it is the next that is free.
    """
    colours, taken = palette(), dict[str, Look]()
    free: list[int] = []
    for arm in dict.fromkeys(arms):
        turn = (
            0
            if len(taken) < len(COLOURS)
            else 1 + (len(taken) - len(COLOURS)) // (len(COLOURS) - 1)
        )
        free = free or [*range(min(turn, 1), len(COLOURS))]  # the winning ticket's is its alone
        first = KNOWN.get(arm, len(KNOWN) + crc32(arm.encode()) % (len(COLOURS) - len(KNOWN)))
        slot = min(free, key=lambda s: (s - first) % len(COLOURS))
        free.remove(slot)
        marker = MARKERS[(slot + turn) % len(MARKERS)]
        taken[arm] = Look(colours[slot], marker, STROKES[turn % len(STROKES)])
    return taken


def rc(name: str) -> Any:
    """Return a setting of matplotlib's, of the style in use."""
    found: Any = mpl.rcParams
    return found[name]


def palette() -> tuple[str, ...]:
    """Return the colours of arms on the ground that the style in use has."""
    return ON_DARK if is_dark() else COLOURS


def is_dark() -> bool:
    """Whether the ground of the style in use is dark."""
    return sum(to_rgb(rc("axes.facecolor"))) < 1.5


def grey(level: float) -> tuple[float, float, float]:
    """Return a grey between the ink (0) and the ground (1) of the style in use."""
    ends = zip(to_rgb(rc("text.color")), to_rgb(rc("axes.facecolor")),
               strict=True)  # fmt: skip
    red, green, blue = (ink + level * (ground - ink) for ink, ground in ends)
    return red, green, blue


def readable(colour: Any) -> tuple[float, float, float]:
    """Return a colour for text: so much nearer the ink that it stands out 3 to 1 from the ground.

    WCAG 2.1, 1.4.3: contrast is ``(L1 + 0.05) / (L2 + 0.05)``, of relative luminances.
    """
    own, ink, ground = (to_rgb(c) for c in (colour, rc("text.color"), rc("axes.facecolor")))
    mixed = own
    for step in range(11):
        red, green, blue = (a + step / 10 * (b - a) for a, b in zip(own, ink, strict=True))
        mixed = red, green, blue
        light, dark = sorted((_luminance(mixed), _luminance(ground)), reverse=True)
        if (light + 0.05) / (dark + 0.05) >= 3:
            break
    return mixed


def _luminance(colour: tuple[float, float, float]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def shades(count: int) -> list[tuple[float, ...]]:
    """Return so many colours, from near the ink to far from it."""
    low, high = (0.98, 0.28) if is_dark() else (0.05, 0.9)
    steps = [low + (high - low) * i / max(1, count - 1) for i in range(count)]
    return [colormaps["viridis"](step) for step in steps]


@cache
def offered() -> tuple[str, ...]:
    """Return the names of matplotlib's own styles."""
    from matplotlib.style import library

    return tuple(library)


def settings(style: str, font: float, dpi: float) -> dict[str, Any]:
    """Return matplotlib's settings for a style of ours, of matplotlib's, or of a file.

    Lines and marks are as thick as goes with the font, in points. PDFs hold their fonts as TrueType
    (42), which publishers ask for and editors can change; SVGs are the same bytes every time.
    """
    theirs = {} if style in ("light", "dark", "paper") else _library(style)
    ours = {"dark": DARK, "paper": PAPER}.get(style, {})
    scale = font / 10
    sizes = {
        "lines.linewidth": 1.7, "lines.markersize": 4.5, "errorbar.capsize": 2.0,
        "axes.linewidth": 0.8, "grid.linewidth": 0.8, "xtick.major.width": 0.8,
        "ytick.major.width": 0.8, "xtick.major.size": 3.5, "ytick.major.size": 3.5,
        "xtick.major.pad": 3.5, "ytick.major.pad": 3.5, "axes.labelpad": 4.0,
    }  # fmt: skip
    fixed = {
        "font.size": font, "figure.dpi": dpi, "savefig.dpi": "figure", "pdf.fonttype": 42,
        "ps.fonttype": 42, "svg.hashsalt": "lth", "axes.titlesize": "medium",
        "axes.labelsize": "medium", "xtick.labelsize": "small", "ytick.labelsize": "small",
        "legend.fontsize": "small", "legend.title_fontsize": "small", "figure.titlesize": "small",
        "savefig.bbox": None, "figure.autolayout": False, "text.usetex": False,
    }  # fmt: skip
    return {**_defaults(), **theirs, **ours, **fixed, **{k: v * scale for k, v in sizes.items()}}


@cache
def _defaults() -> dict[str, Any]:
    """Return what matplotlib ships with: figures do not depend on a user's settings."""
    shipped: Any = mpl.rcParamsDefault
    return _of_looks(shipped)


def _of_looks(found: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is not about looks but about windows, backends and files."""
    return {key: found[key] for key in found if not key.startswith(NO_LOOKS)}


def _library(style: str) -> dict[str, Any]:
    from matplotlib import rc_params_from_file
    from matplotlib.style import library

    found: Any = dict(library).get(style)
    if found is None:
        found = rc_params_from_file(style, use_default_template=False)
    return _of_looks(found)


def legend_columns(labels: Sequence[str], width: float, font: float = 10.0) -> int:
    """Return how many columns of labels fit into so many inches; one at least."""
    each = (LETTER * max(map(len, labels), default=0) + 0.6) * font / 10
    return max(1, min(len(labels), int(width / each)))


def words(arm: str) -> str:
    """Write an arm's name in words."""
    return arm.replace("_", " ")


def cut(text: str, most: int) -> str:
    """Cut a text that has more letters than that, and say so by an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def percent(value: float) -> str:
    """Write as the papers do: 100, 51.3, 3.6, 0.42."""
    return f"{value:.0f}" if value > 99.95 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def share(part: float) -> str:
    """Write a density or another share in percent: ``51.3 %``."""
    return f"{percent(100 * part)} %"


def wrapped(text: str, width: float, font: float) -> str:
    """Break a text into lines of so many inches at most."""
    letters = max(12, int(width / (LETTER * 0.9 * font / 10)))
    return "\n".join(balanced(part, letters) for part in text.split("\n"))


def balanced(text: str, letters: int) -> str:
    r"""Break a text into as few lines as it takes, all about as long.

    >>> balanced("validation accuracy (%)", 20)
    'validation\naccuracy (%)'
    """
    lines = textwrap.wrap(text, letters)
    shorter = (textwrap.wrap(text, n) for n in range(1, letters))
    return "\n".join(next((s for s in shorter if len(s) == len(lines)), lines))
