"""What an analysis found, in a few lines for the console."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from lth.records.intervals import mean
from lth.records.record import Record
from lth.records.statistics import percent
from lth.records.verdict import verdict
from lth.results.analysis.connectivity import STABLE
from lth.results.analysis.table import Row

INSTABILITIES = "test_instability", "test_instability_recalibrated"


def summary(rows: Sequence[Row], records: Iterable[Record]) -> list[str]:
    """Give the study's verdict, as its run does, and say how unstable each arm is at worst."""
    return [*verdict(records), *_stability(rows)]


def _stability(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the highest mean instability per arm, and where it is."""
    rises: dict[tuple[float, str, str], dict[float, list[float]]]
    rises = defaultdict(lambda: defaultdict(list))
    for r in rows:
        if r.measure in INSTABILITIES:
            rises[r.lr, r.measure, r.arm][round(r.density, 6)].append(r.value)
    several = len({lr for lr, *_ in rises}) > 1
    for (lr, measure, arm), found in rises.items():
        means = {d: mean(v) for d, v in found.items()}
        density = max(means, key=lambda d: means[d])
        said = "stable" if means[density] < STABLE else "not stable"
        prefix, pairs = f"lr {lr:g}: " if several else "", len(found[density])
        over = f"over {pairs} pairs" if pairs > 1 else "one pair"
        yield (
            f"{prefix}{arm}: {measure} at most {100 * means[density]:.2f} points, at "
            f"{percent(density)}, {over}: {said} (below {100 * STABLE:g})"
        )
