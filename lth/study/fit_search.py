"""What a fit is asked for: a knob, the values to try, and the budget to keep to."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from lth.config import FIT, NOT_IN_STUDY_ID
from lth.errors import LthError, nearest
from lth.records.budget import QUANTITIES, Weighed
from lth.spec.argument_types import one_of
from lth.spec.plain import short

LIMITED = (*QUANTITIES, "density")
"""What a budget may limit."""


class Limit(NamedTuple):
    """What a network may cost: ``bytes <= 27000``."""

    name: str
    most: float


@dataclass(frozen=True)
class Search:
    """What is asked for: a knob by its dotted place, values or a range, limits."""

    knob: str
    values: tuple[Any, ...]
    low: float | None
    high: float | None
    limits: tuple[Limit, ...]
    of: str

    def fits(self, row: Weighed) -> bool:
        """Whether a network keeps to every limit: in all trials, or in their mean."""
        return all(self.cost(row, limit.name) <= limit.most for limit in self.limits)

    def cost(self, row: Weighed, name: str) -> float:
        """Return what is held to the limit; NaN, which fits none, where it is not known."""
        if name == "density":
            return row.density
        values = list(row.trials.get(name, {}).values())
        if not values:
            return math.nan
        return max(values) if self.of == "all" else sum(values) / len(values)


def search_of(config: Mapping[str, Any]) -> Search:
    """Read what is asked for; anything that cannot be is refused before work."""
    given = config.get("fit") or {}
    if not isinstance(given, Mapping):
        raise LthError(f"fit={short(given)}: fit.knob=..., fit.values=[...], fit.budget=...")
    for name in given:
        if name not in FIT:
            raise LthError(f"fit.{name}: no such setting{nearest(name, FIT)}")
    knob, values, low, high = (given.get(n) for n in ("knob", "values", "low", "high"))
    if not isinstance(knob, str) or not knob:
        raise LthError("fit.knob: name the setting to choose, such as fit.knob=prune.rate")
    if values is not None and not (isinstance(values, list) and values):
        raise LthError(f"fit.values={short(values)}: a list of values to try, such as [2,3,4]")
    numbers = [type(n) in (int, float) for n in (low, high)]
    if (values is None) == (low is None and high is None) or (values is None and not all(numbers)):
        raise LthError("fit: give fit.values=[...], or fit.low and fit.high, numbers to bisect")
    if values is None and not low < high:  # type: ignore[operator]
        raise LthError(f"fit.low={low} must be below fit.high={high}")
    of = one_of("fit.trials", given.get("trials") or "all", ("all", "mean"))
    _check_knob(knob)
    with_value(config, knob, None)
    return Search(knob, tuple(values or ()), low, high, _limits(given.get("budget")), of)


def _check_knob(knob: str) -> None:
    """Refuse a setting that makes no other network, and luck."""
    first, _, rest = knob.partition(".")
    if first == "seed":
        raise LthError("fit.knob=seed: a seed is chance and no setting: trials=N replicates")
    same = {*NOT_IN_STUDY_ID} - {"levels", "arms", "method", "trainer"}
    if first in same or (first == "trainer" and rest not in ("precision", "compile")):
        raise LthError(
            f"fit.knob={knob}: it makes no network smaller or better: name what does, such as "
            "prune.rate or method.cluster.moves.0.bits"
        )


def _limits(given: Any) -> tuple[Limit, ...]:
    found = []
    for text in given if isinstance(given, list) else [given]:
        parts = re.fullmatch(r"\s*(\w+)\s*<=\s*([\d._]+(?:[eE][+-]?\d+)?)\s*", str(text))
        if parts is None:
            raise LthError(f"fit.budget={short(text)}: such as fit.budget='bytes<=27000'")
        if parts[1] not in LIMITED:
            raise LthError(f"fit.budget: no {parts[1]} is counted{nearest(parts[1], LIMITED)}")
        try:
            found.append(Limit(parts[1], float(parts[2])))
        except ValueError:
            raise LthError(f"fit.budget={short(text)}: {parts[2]} is no number") from None
    return tuple(found)


def with_value(config: Mapping[str, Any], place: str, value: Any) -> dict[str, Any]:
    """Return settings with another value at a dotted place, which must be there already."""

    def changed(node: Any, path: list[str]) -> Any:
        if not path:
            return value
        name, rest = path[0], path[1:]
        if isinstance(node, Mapping) and name in node:
            return {**node, name: changed(node[name], rest)}
        if isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            return [changed(n, rest) if i == int(name) else n for i, n in enumerate(node)]
        known = [*map(str, node if isinstance(node, Mapping) else range(len(node or ())))]
        near = nearest(name, known) if known else ": nothing is chosen there"
        raise LthError(f"fit.knob={place}: there is no {name}{near}")

    return changed(config, place.split("."))
