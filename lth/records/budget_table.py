"""The table of budgets: one row per network, what it costs beside what it gives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.markup import escape
from rich.table import Table

from lth.measured import Measured
from lth.records.budget import TEST, Weighed, judged_of, ratios, weighed
from lth.records.intervals import grouped
from lth.records.judged import ACCURACY, Judged
from lth.records.record import Record
from lth.records.statistics import percent
from lth.records.table import plain_table

WIDE = 100
"""Columns of a terminal that hold what is counted beside bytes, too."""

NAME = 16
"""Least columns of a name."""


def budget_tables(
    records: Iterable[Record], width: int = 80, measured: Measured = ACCURACY
) -> list[Table]:
    """Return a table per learning rate of the networks that have been weighed; none: no table."""
    records = list(records)
    rows, what = weighed(records), judged_of(records, measured)
    every = list(zip(rows, ratios(rows), strict=True))
    rates = grouped(every, lambda row: row[0].spot.lr)
    return [_table(own, what, width >= WIDE, len(rates) > 1) for own in rates.values()]


def _table(rows: Sequence[tuple[Weighed, float]], what: Judged, wide: bool, several: bool) -> Table:
    trials = max((len(w.trials.get("bytes", ())) for w, _ in rows), default=0)
    rate = f"lr {rows[0][0].spot.lr:g}; " * several
    over = f"mean of {trials} trials" if trials > 1 else "one trial"
    table = plain_table(
        f"budget: {rate}{over}; of the packed file, ratio to the dense network's float32"
    )
    phases = any(w.spot.phase for w, _ in rows)
    scored = any(TEST in w.values for w, _ in rows)
    table.add_column("network", overflow="fold", min_width=NAME)
    heads = ["level", *["phase"] * phases, *["density", "params", "nonzeros"] * wide]
    heads += ["kB", "ratio", "MACs", *["nonzero", "search"] * wide]
    heads += [f"{what.split}{' %' * what.share}"] * scored
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for found, ratio in rows:
        spot = found.spot
        name = "dense network" if spot.level == 0 else spot.arm.replace("_", " ")
        cells = [str(spot.level), *[str(spot.phase or "")] * phases]
        cells += [
            percent(found.density),
            *(_count(found, n) for n in ("params", "nonzeros")),
        ] * wide
        cells += [kilo(found.mean("bytes")), f"{times(ratio)}", _count(found, "macs")]
        cells += [_count(found, n) for n in ("macs_nonzero", "search_macs")] * wide
        cells += [_score(found, what)] * scored
        table.add_row(escape(name), *cells, style="dim" if spot.level == 0 else "")
    return table


def _count(found: Weighed, name: str) -> str:
    return short(found.mean(name)) if name in found.values else "-"


def _score(found: Weighed, what: Judged) -> str:
    value = found.values.get(TEST)
    return "-" if value is None else what.with_half(value)


def short(count: float) -> str:
    """Write a count to three digits.

    >>> short(266200), short(2.293e6), short(431), short(1.2e13)
    ('266k', '2.29M', '431', '12.0T')
    """
    if not math.isfinite(count):
        return "-"
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * size:
            return f"{_three(count / size)}{letter}"
    return f"{count:.0f}"


def kilo(size: float) -> str:
    """Write bytes in kB (1,000 bytes) to three digits.

    >>> kilo(26640), kilo(1066440), kilo(431)
    ('26.6', '1,066', '0.431')
    """
    return _three(size / 1000)


def times(ratio: float) -> str:
    """Write how many times smaller something is.

    >>> times(40.03), times(1.0), times(float("nan"))
    ('40.0x', '1.00x', '-')
    """
    return f"{_three(ratio)}x" if math.isfinite(ratio) else "-"


def _three(value: float) -> str:
    if value >= 99.95:
        return f"{value:,.0f}"
    digits = 1 if value >= 9.995 else 2 if value >= 0.9995 else 3
    return f"{value:.{digits}f}"
