"""What an analysis found, in a few lines for the console."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lth.measured import Measured
from lth.records.intervals import grouped, mean
from lth.records.judged import ACCURACY
from lth.records.record import Record
from lth.records.statistics import percent
from lth.records.verdict import verdict
from lth.results.analysis.connectivity import STABLE
from lth.results.analysis.policies import Policies, said
from lth.results.analysis.table import Row

INSTABILITIES = "test_instability", "test_instability_recalibrated"


def summary(
    rows: Sequence[Row], records: Iterable[Record], measured: Measured = ACCURACY
) -> list[str]:
    """Give the study's verdict, as its run does, and say how unstable each arm is at worst."""
    return [*verdict(records, measured), *_stability(rows), *_policies(rows)]


def _policies(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what the gated networks of each arm do."""
    shown = (r for r in rows if r.measure in Policies._fields)
    for (arm, _), own in grouped(shown, lambda r: (r.arm, r.level)).items():
        each = grouped(own, lambda r: (r.trial, r.lr, r.copy)).values()
        yield said(arm, [{r.measure: r.value for r in one} for one in each])


def _stability(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the highest mean instability per arm, and where it is."""
    shown = (r for r in rows if r.measure in INSTABILITIES)
    rises = grouped(shown, lambda r: (r.lr, r.measure, r.arm))
    several = len({lr for lr, *_ in rises}) > 1
    for (lr, measure, arm), own in rises.items():
        levels = grouped(own, lambda r: round(r.density, 6))
        means = {d: mean([r.value for r in at]) for d, at in levels.items()}
        density = max(means, key=lambda d: means[d])
        word = "stable" if means[density] < STABLE else "not stable"
        prefix, pairs = f"lr {lr:g}: " if several else "", len(levels[density])
        over = f"over {pairs} pairs" if pairs > 1 else "one pair"
        yield (
            f"{prefix}{arm}: {measure} at most {100 * means[density]:.2f} points, at "
            f"{percent(density)}, {over}: {word} (below {100 * STABLE:g})"
        )
