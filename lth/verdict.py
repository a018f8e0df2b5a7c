"""The verdict: how far down each arm matches the dense network, and by which rule."""

from __future__ import annotations

from collections.abc import Iterable

from lth.records import Record
from lth.statistics import Cell, Spread, Summary, percent, summarise

WINNER = "winning_ticket"
MEASURE = "test_accuracy"

NAMES = {
    "winning_ticket": "tickets", "random_reinit": "reinitialised ones",
    "random_mask": "random masks", "small_dense": "small dense networks",
    "small_dense_longer": "small dense networks trained longer",
}  # fmt: skip


def verdict(records: Iterable[Record]) -> list[str]:
    """Return plain sentences, one per learning rate, and the rule behind them."""
    summaries = summarise(records)
    rates = list(dict.fromkeys(cell.lr for cell in summaries))
    lines = [_sentence(summaries, lr, len(rates) > 1) for lr in rates]
    trials = max((s.values[MEASURE].n for s in summaries.values() if s.values), default=0)
    compared = any(cell.level > 0 for cell in summaries)
    return [*lines, _rule(trials)] if trials and compared else lines


def last_matching(summaries: dict[Cell, Summary], lr: float, arm: str) -> Summary | None:
    """Return the arm's lowest level that matches, most of the levels down to it matching too.

    A level matches if ``mean(accuracy) >= mean(dense) - std(dense)``, test accuracy at early stop.
    Most, not all: with few trials a level now and then falls short by chance, and that must not
    hide what a dozen levels below it show; nor may one lucky level far down stand for an arm.
    """
    dense = dense_spread(summaries, lr)
    if dense is None:
        return None
    found, matches = None, 0
    levels = [s for c, s in summaries.items() if c.lr == lr and c.arm == arm and c.level > 0]
    for number, summary in enumerate(levels, start=1):
        spread = summary.values.get(MEASURE)
        if spread and not summary.diverged and spread.mean >= dense.mean - dense.std:
            matches += 1
            found = summary if 2 * matches > number else found
    return found


def dense_spread(summaries: dict[Cell, Summary], lr: float) -> Spread | None:
    """Return the dense network's test accuracy at early stop."""
    dense = summaries.get(Cell(lr, WINNER, 0))
    return dense.values.get(MEASURE) if dense else None


def _sentence(summaries: dict[Cell, Summary], lr: float, several: bool) -> str:
    prefix = f"lr {lr:g}: " if several else ""
    if dense_spread(summaries, lr) is None:
        return f"{prefix}the dense network diverged: there is nothing to match"
    deepest = [c for c in summaries if c.lr == lr and c.level > 0]
    arms = sorted(dict.fromkeys(c.arm for c in deepest), key=lambda a: a != WINNER)
    if not arms:
        return f"{prefix}only the dense network was trained: there is nothing to compare"
    lowest = {a: max(c.level for c in deepest if c.arm == a) for a in arms}
    parts = []
    for arm in arms:
        found = last_matching(summaries, lr, arm)
        parts.append(_clause(arm, found, lowest[arm], first=arm == arms[0]))
    return prefix + "; ".join(parts)


def _clause(arm: str, found: Summary | None, lowest: int, first: bool) -> str:
    name = NAMES.get(arm, arm.replace("_", " "))
    dense = " the dense network" if first else ""
    if found is None:
        return f"{name} fall short{' of' + dense if first else ''}"
    down = percent(found.density)
    if found.cell.level == lowest:
        return f"{name} match{dense} down to {down} of the weights, the lowest level trained"
    return (
        f"{name} match{dense} down to {down} of the weights" if first else f"{name} stop at {down}"
    )


def _rule(trials: int) -> str:
    rule = (
        "(to match: mean test accuracy at early stop not below the dense mean by more than one "
        f"standard deviation over the {trials} trials, there and at most of the levels above)"
    )
    if trials == 1:
        return "(one trial: no spread to judge by; to match: test accuracy not below the dense one)"
    return rule
