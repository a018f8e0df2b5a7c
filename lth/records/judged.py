"""What of a study's records is judged: one metric on one split, and how its numbers are written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from lth.measured import Measured
from lth.records.intervals import Interval
from lth.records.record import Record

ACCURACY = Measured()


class Judged(NamedTuple):
    """A metric and its split; of a ``share`` in [0, 1] numbers are written in percent."""

    split: str = "test"
    metric: str = "accuracy"
    higher: bool = True
    share: bool = True

    @property
    def name(self) -> str:
        """What summaries call its value at early stop."""
        return f"{self.split}_{self.metric}"

    @property
    def end(self) -> str:
        """What summaries call its value at the last step."""
        return f"{self.name}_end"

    @property
    def words(self) -> str:
        """The metric in words: ``test accuracy``."""
        return self.name.replace("_", " ")

    @property
    def factor(self) -> float:
        """What values are multiplied by to be shown."""
        return 100.0 if self.share else 1.0

    @property
    def percent(self) -> str:
        """``" (%)"`` behind the name of a share, nothing behind another."""
        return " (%)" if self.share else ""

    def text(self, value: float, sign: str = "") -> str:
        """Write a value as it is shown, without its unit.

        >>> Judged().text(0.9731), Judged(metric="loss", share=False).text(-1.23456, "+")
        ('97.31', '-1.235')
        """
        # 97.125 - 96.75 is a hair off: rounded first, equal differences are written alike
        return f"{round(100 * value, 9):{sign}.2f}" if self.share else f"{value:{sign}.4g}"

    def with_half(self, value: Interval, sign: str = "") -> str:
        """Write a mean with half its interval, where that is bounded.

        >>> Judged().with_half(Interval(0.9813, 0.9806, 0.982, 5))
        '98.13 ±0.07'
        """
        half = f" ±{self.text(value.high - value.mean)}" if value.bounded else ""
        return self.text(value.mean, sign) + half

    def merit(self, value: float | None) -> float:
        """Return a value turned so that more is better; what has none is worst of all."""
        return float("-inf") if value is None else value if self.higher else -value


TEST_ACCURACY = Judged()


def judged(records: Iterable[Record], measured: Measured = ACCURACY) -> Judged:
    """Return what these records are judged by: on test where it was measured, else on validation.

    A metric of which more is better and whose values lie in [0, 1] is a share. Of a measure with
    several values (``accuracy/exit1``, ...) it is the one that is monitored, else the last.
    """
    records = list(records)
    name = valued({r.metric: None for r in records}, measured)
    own = [r for r in records if r.metric == name]
    split = "validation" if own and all(r.split != "test" for r in own) else "test"
    share = measured.higher and all(0 <= r.value <= 1 for r in own)
    return Judged(split, name, measured.higher, share)


def valued(metrics: Iterable[str], measured: Measured) -> str:
    """Return the metric itself where it has a value of its own, else one of its values."""
    names = [m for m in metrics if m == measured.metric or m.startswith(f"{measured.metric}/")]
    if measured.metric in names or not names:
        return measured.metric
    return measured.monitor if measured.monitor in names else names[-1]
