"""What loggers show of records: rows of values by name, and lines to be laid over one another.

Names are ``<section>/<split>_<metric>/<arm>``, so that what belongs together stands together; with
several learning rates an arm is called ``lr=<lr>/<arm>``. The number of what is shown by itself
does not grow with the levels: the rest can be had by its name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from lth.measured import Measured
from lth.records.budget import PREFIX, QUANTITIES, TEST, VALIDATION, Weighed, is_budget
from lth.records.judged import ACCURACY, judged
from lth.records.record import Record
from lth.records.statistics import (
    EARLY,
    Cell,
    Summary,
    curve_means,
    percent,
    summarise,
    without_diverged,
)

Row = dict[str, float]

BUDGET_COLUMNS = (*QUANTITIES, VALIDATION, TEST)
"""What is told of a network's budget."""

MOST_CURVES = 12
"""Learning curves in one chart; of more levels some are left out, never the first or the last."""


class Chart(NamedTuple):
    """Lines over one shared axis: ``lines[name]`` are points ``(x, y)``."""

    title: str
    axis: str
    lines: dict[str, list[tuple[float, float]]]


def label(lr: float, arm: str, several: bool) -> str:
    """Name an arm, with its learning rate where there are several."""
    return f"lr={lr:g}/{arm}" if several else arm


def level_rows(
    records: Sequence[Record], several: bool, measured: Measured = ACCURACY
) -> list[Row]:
    """Return a row per level and density: means, and of what is judged the spread and the trials.

    ``tickets/<split>_<metric>/<arm>`` are means over trials at early stop (``_end``: at the last
    step), ``spread/.../min`` and ``max`` the least and the greatest, ``trials/.../<trial>`` each.
    """
    rows: dict[tuple[int, float], Row] = defaultdict(dict)
    judged_names = _judged(records, measured)
    for cell, summary in summarise(r for r in records if not is_budget(r)).items():
        row, arm = rows[cell.level, summary.density], label(cell.lr, cell.arm, several)
        row |= {"level": cell.level, "density": summary.density}
        row |= {f"tickets/{name}/{arm}": v.mean for name, v in summary.values.items()}
        row[f"tickets/diverged/{arm}"] = summary.diverged
        for name in (n for n in judged_names if n in summary.values):
            row |= _spread(name, arm, summary)
    return [rows[key] for key in sorted(rows, key=lambda k: (k[0], -k[1]))]


def _spread(name: str, arm: str, summary: Summary) -> Row:
    own = summary.values[name]
    found = {f"spread/{name}/{arm}/min": own.low, f"spread/{name}/{arm}/max": own.high}
    trials = summary.trials[name].items()
    return found | {f"trials/{name}/{arm}/{trial}": value for trial, value in trials}


def _judged(records: Sequence[Record], measured: Measured) -> tuple[str, str]:
    """Return what is shown of a level: the judged value and the step of early stop."""
    return judged(records, measured).name, EARLY


def curve_rows(curves: Sequence[Record], several: bool) -> list[Row]:
    """Return a row per level and step: ``curves/<split>_<metric>/<arm>/L<level>``, means."""
    rows: dict[tuple[int, int], Row] = {}
    for m, mean in curve_means(curves).items():
        row = rows.setdefault((m.level, m.step), {"step": m.step})
        row[f"curves/{m.split}_{m.metric}/{label(m.lr, m.arm, several)}/L{m.level}"] = mean
    return [rows[key] for key in sorted(rows)]


def is_shown(name: str, records: Sequence[Record], measured: Measured = ACCURACY) -> bool:
    """Whether a value has a panel by itself: what is judged, early stop, and what moves."""
    section, _, rest = name.partition("/")
    what = judged(records, measured)
    if section == "live":
        return rest.startswith(f"validation_{what.metric}/")
    return section == "tickets" and rest.partition("/")[0] in (what.name, EARLY)


def axis_of(name: str) -> str | None:
    """Return what a value is drawn against; None for an axis itself."""
    axes = {"curves": "step", "live": "live/updates", "tickets": "density", "spread": "density",
            "trials": "density", "layers": "density"}  # fmt: skip
    return None if name in (*axes.values(), "level") else axes.get(name.partition("/")[0])


def charts(
    records: Sequence[Record],
    curves: Sequence[Record],
    several: bool,
    measured: Measured = ACCURACY,
) -> dict[str, Chart]:
    """Return what lays all arms over one another: over density, by trial, and over steps."""
    plain = [r for r in records if not is_budget(r)]
    summaries, what = list(summarise(plain).values()), judged(plain, measured)
    found = {
        "accuracy" if what.metric == "accuracy" else what.metric: _means(
            summaries, what.name, f"{what.words}: mean, least and most of the trials", several
        ),
        "early_stop": _means(
            summaries, EARLY, "step of early stop: mean, least and most of the trials", several
        ),
        "trials": _trials(summaries, what.name, f"{what.words}: every trial", several),
    }
    found["learning"] = _learning(without_diverged(curves, records), plain, what.metric, several)
    return {name: chart for name, chart in found.items() if any(chart.lines.values())}


def _means(summaries: Sequence[Summary], name: str, title: str, several: bool) -> Chart:
    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for s in summaries:
        if name in s.values:
            arm, own = label(s.cell.lr, s.cell.arm, several), s.values[name]
            lines[arm].append((s.density, own.mean))
            if own.n > 1:
                lines[f"{arm}, least"].append((s.density, own.low))
                lines[f"{arm}, most"].append((s.density, own.high))
    return Chart(title, "density", dict(lines))


def _trials(summaries: Sequence[Summary], name: str, title: str, several: bool) -> Chart:
    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for s in summaries:
        for trial, value in s.trials.get(name, {}).items():
            arm = label(s.cell.lr, s.cell.arm, several)
            lines[f"{arm}, trial {trial}"].append((s.density, value))
    return Chart(title, "density", dict(lines))


def _learning(
    curves: Sequence[Record], records: Sequence[Record], metric: str, several: bool
) -> Chart:
    """Return learning curves of some levels, each named by its arm and its density."""
    densities = {cell: s.density for cell, s in summarise(records).items()}
    means = {m: v for m, v in curve_means(curves).items()
             if (m.split, m.metric) == ("validation", metric)}  # fmt: skip
    cells = dict.fromkeys(Cell(m.lr, m.arm, m.level) for m in means)
    levels = sorted({c.level for c in cells})
    each = max(2, MOST_CURVES // max(1, len({c[:2] for c in cells})))
    places = {round(n * (len(levels) - 1) / (each - 1)) for n in range(each)}
    chosen = {level for place, level in enumerate(levels) if place in places}
    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for m, value in means.items():
        if m.level in chosen and (cell := Cell(m.lr, m.arm, m.level)) in densities:
            arm = label(m.lr, m.arm, several)
            lines[f"{arm}, {percent(densities[cell])}"].append((m.step, value))
    words = f"validation {metric} while training, means over trials"
    return Chart(words, "step", {name: sorted(points) for name, points in lines.items()})


def budget_rows(found: Sequence[Weighed]) -> list[list[object]]:
    """Return a row per network: its name, level, phase and density, and means over trials."""
    return [
        [w.spot.arm, w.spot.level, w.spot.phase, w.density, *(_known(w, n) for n in BUDGET_COLUMNS)]
        for w in found
    ]


def budget_summary(found: Sequence[Weighed], several: bool) -> dict[str, float]:
    """Return what each arm has come to: ``budget/<arm>/bytes`` of its last level and phase there.

    With ``several`` learning rates the arm is named ``lr=<lr>/<arm>``.
    """
    last: dict[str, Weighed] = {}
    for w in sorted(found, key=lambda w: (w.spot.level, w.spot.phase)):
        last[label(w.spot.lr, w.spot.arm, several)] = w
    return {
        f"{PREFIX}{arm}/{name}": value
        for arm, w in last.items()
        for name in BUDGET_COLUMNS
        if (value := _known(w, name)) is not None
    }


def _known(found: Weighed, name: str) -> float | None:
    return found.mean(name) if name in found.values else None
