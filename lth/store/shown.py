"""How a study shows itself: a line, and in a notebook a table of its levels and its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from lth.measured import Measured
from lth.records.intervals import grouped
from lth.records.judged import Judged, judged
from lth.records.record import Record
from lth.records.statistics import Summary, percent, summarise
from lth.spec.shown import html_table

ARMS = 8
"""Columns of arms that are shown."""


def study_html(
    line: str, records: Sequence[Record], measured: Measured, verdict: Sequence[str] = ()
) -> str:
    """Return a study's levels as a table of HTML: the judged value per arm, mean over trials."""
    what, cells = judged(records, measured), summarise(records)
    arms = list(dict.fromkeys(c.arm for c in cells))
    rates = sorted({c.lr for c in cells})
    rows = {}
    for (lr, level), own in grouped(cells, lambda c: (c.lr, c.level)).items():
        by_arm = {c.arm: cells[c] for c in own}
        name = f"{f'lr {lr:g}, ' * (len(rates) > 1)}level {level}"
        values = [_value(by_arm.get(arm), what) for arm in arms[:ARMS]]
        rows[name] = [percent(cells[own[0]].density), *values]
    more = [f"and {len(arms) - ARMS} arms more"] * (len(arms) > ARMS)
    head = ["", "density", *arms[:ARMS]]
    caption = f"{line}; {what.words}{what.percent} at early stop, mean over trials"
    claims = [text for text in verdict if not text.startswith("(")]
    lines = "<br>".join(escape(text) for text in [*more, *claims[:12]])
    return f"{html_table(head, rows, caption)}<p>{lines}</p>"


def _value(summary: Summary | None, what: Judged) -> str:
    if summary is None:
        return ""
    value = summary.values.get(what.name)
    if value is None:
        return "-" if summary.values else "diverged"
    return what.text(value.mean)
