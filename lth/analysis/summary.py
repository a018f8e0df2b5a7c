"""What an analysis found, in a few lines for the console."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from lth.analysis.connectivity import STABLE
from lth.analysis.matching import FALLS_SHORT, MATCHES, UNDECIDED, Match
from lth.analysis.table import Row
from lth.statistics import percent

WORDS = {
    MATCHES: "matches at {}", FALLS_SHORT: "falls short at {}", UNDECIDED: "is undecided at {}",
}  # fmt: skip

INSTABILITIES = "test_instability", "test_instability_recalibrated"


def summary(rows: Sequence[Row], matches: Iterable[Match]) -> list[str]:
    """Say how often each arm matches by its interval, and how unstable it is at worst."""
    return [*_matching(list(matches)), *_stability(rows)]


def _matching(matches: Sequence[Match]) -> Iterator[str]:
    several = len({m.lr for m in matches}) > 1
    for lr, arm in dict.fromkeys((m.lr, m.arm) for m in matches):
        counts = Counter(m.verdict for m in matches if (m.lr, m.arm) == (lr, arm))
        said = ", ".join(WORDS[word].format(n) for word, n in counts.items())
        prefix = f"lr {lr:g}: " if several else ""
        yield f"{prefix}{arm}: {said} of {counts.total()} densities, by Student's 95 % interval"


def _stability(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the highest mean instability per arm, and where it is."""
    rises: dict[tuple[float, str, str], dict[float, list[float]]]
    rises = defaultdict(lambda: defaultdict(list))
    for r in rows:
        if r.measure in INSTABILITIES:
            rises[r.lr, r.measure, r.arm][round(r.density, 6)].append(r.value)
    several = len({lr for lr, *_ in rises}) > 1
    for (lr, measure, arm), found in rises.items():
        means = {d: sum(v) / len(v) for d, v in found.items()}
        density = max(means, key=lambda d: means[d])
        said = "stable" if means[density] < STABLE else "not stable"
        prefix = f"lr {lr:g}: " if several else ""
        yield (
            f"{prefix}{arm}: {measure} at most {100 * means[density]:.2f} points, at "
            f"{percent(density)}: {said} (below {100 * STABLE:g})"
        )
