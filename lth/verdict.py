"""The verdict: how far down each arm matches the dense network, how surely, and by which rule."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from lth.records import Record
from lth.statistics import (
    Cell,
    Interval,
    Spread,
    Summary,
    Trials,
    bootstrap_interval,
    by_trial,
    differences,
    percent,
    summarise,
)

WINNER = "winning_ticket"
MEASURE = "test_accuracy"
WIDTH = 96
"""Columns of the terminal that a line of the rule takes."""

NAMES = {
    "winning_ticket": "tickets", "random_reinit": "reinitialised ones",
    "random_mask": "random masks", "small_dense": "small dense networks",
    "small_dense_longer": "small dense networks trained longer",
}  # fmt: skip


def verdict(records: Iterable[Record]) -> list[str]:
    """Return a plain sentence per learning rate and arm, and the rule behind them.

    Each names the mean difference to the dense network of the same trials there, in percentage
    points, and its 95 % paired bootstrap interval.
    """
    records = list(records)
    summaries, trials = summarise(records), by_trial(records)
    rates = list(dict.fromkeys(cell.lr for cell in summaries))
    lines = [line for lr in rates for line in _lines(summaries, trials, lr, len(rates) > 1)]
    most = max((s.values[MEASURE].n for s in summaries.values() if s.values), default=0)
    compared = any(cell.level > 0 for cell in summaries)
    return [*lines, *_rule(most)] if most and compared else lines


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
    for number, summary in enumerate(_below(summaries, lr, arm), start=1):
        spread = summary.values.get(MEASURE)
        if spread and not summary.diverged and spread.mean >= dense.mean - dense.std:
            matches += 1
            found = summary if 2 * matches > number else found
    return found


def dense_spread(summaries: dict[Cell, Summary], lr: float) -> Spread | None:
    """Return the dense network's test accuracy at early stop."""
    dense = summaries.get(Cell(lr, WINNER, 0))
    return dense.values.get(MEASURE) if dense else None


def _below(summaries: dict[Cell, Summary], lr: float, arm: str) -> list[Summary]:
    return [s for c, s in summaries.items() if (c.lr, c.arm) == (lr, arm) and c.level > 0]


def _lines(
    summaries: dict[Cell, Summary], trials: dict[Cell, Trials], lr: float, several: bool
) -> list[str]:
    prefix = f"lr {lr:g}: " if several else ""
    if dense_spread(summaries, lr) is None:
        return [f"{prefix}the dense network diverged: there is nothing to match"]
    arms = dict.fromkeys(c.arm for c in summaries if c.lr == lr and c.level > 0)
    if not arms:
        return [f"{prefix}only the dense network was trained: there is nothing to compare"]
    first, *rest = sorted(arms, key=lambda a: a != WINNER)
    lines = [_sentence(summaries, trials, lr, first, " the dense network")]
    return [prefix + s for s in (*lines, *(_sentence(summaries, trials, lr, a) for a in rest))]


def _sentence(
    summaries: dict[Cell, Summary], trials: dict[Cell, Trials], lr: float, arm: str, dense: str = ""
) -> str:
    """Say how far down an arm matches, and how surely; one that never does, at its first level."""
    levels, found = _below(summaries, lr, arm), last_matching(summaries, lr, arm)
    at = levels[0] if found is None else found
    name, density = NAMES.get(arm, arm.replace("_", " ")), percent(at.density)
    if found is None:
        said = f"fall short{' of' + dense if dense else ''}, at {density} of the weights already"
    elif at.cell.level == levels[-1].cell.level:
        said = f"match{dense} down to {density} of the weights, the lowest trained"
    else:
        said = f"match{dense} down to {density} of the weights"
    return f"{name} {said}: {_difference(trials, at)}"


def _difference(trials: dict[Cell, Trials], at: Summary) -> str:
    """Write the difference to the dense network as ``+0.34 points (-0.02 to 0.70)``."""
    gone = f"{at.diverged} of {at.members} diverged" if at.diverged else ""
    if not at.values:
        return gone
    one, dense = (trials[c].values[MEASURE] for c in (at.cell, Cell(at.cell.lr, WINNER, 0)))
    return ", ".join(filter(None, (points(bootstrap_interval(differences(one, dense))), gone)))


def points(found: Interval) -> str:
    """Write a difference of accuracies in percentage points, with its interval where there is one.

    >>> points(Interval(0.00341, -0.0002, 0.00699, 5)), points(Interval(-0.01, -9.0, 9.0, 1))
    ('+0.34 points (-0.02 to 0.70)', '-1.00 points')
    """
    mean, low, high = (100 * v for v in found[:3])
    return f"{mean:+.2f} points" + (f" ({low:.2f} to {high:.2f})" if found.n > 1 else "")


def _rule(trials: int) -> list[str]:
    rule = (
        "(to match: mean test accuracy at early stop not below the dense mean by more than one "
        f"standard deviation over the {trials} trials, there and at most of the levels above; in "
        "brackets a 95 % paired bootstrap interval, too narrow for few trials)"
    )
    if trials == 1:
        rule = "(one trial: no spread to judge by; to match: test accuracy not below the dense one)"
    return textwrap.wrap(rule, WIDTH)
