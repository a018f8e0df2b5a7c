"""Summaries over trials, on records that a reader can work out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lth.records.intervals import Spread, bootstrap_interval, interval, mean, spread
from lth.records.record import Record
from lth.records.statistics import (
    Cell,
    Moment,
    curve_means,
    level_line,
    member_values,
    paired_difference,
    percent,
    summarise,
    without_diverged,
)
from tests.synthetic import REINIT, WINNER, study


def rows(trial, early, accuracy, end=None, copy=0, arm=WINNER, level=0, density=1.0):
    where = ("s", trial, copy, 0.1, arm, level, density)
    found = [
        Record(*where, early, "validation", "early_stop_step", float(early)),
        Record(*where, early, "test", "accuracy", accuracy),
    ]
    return found + ([Record(*where, 100, "test", "accuracy", end)] if end is not None else [])


def diverged(trial, step=7, copy=0, arm=WINNER, level=0, density=1.0):
    return Record("s", trial, copy, 0.1, arm, level, density, step, "train", "diverged", step)


def test_a_cell_has_mean_range_and_deviation_over_trials():
    summary = summarise(rows(0, 20, 0.5, 0.6) + rows(1, 40, 0.7, 0.9))[Cell(0.1, WINNER, 0)]
    assert summary.values["early_stop_step"] == (30, 20, 40, math.sqrt(200), 2)
    assert summary.values["test_accuracy"] == pytest.approx((0.6, 0.5, 0.7, math.sqrt(0.02), 2))
    assert summary.values["test_accuracy_end"].mean == pytest.approx(0.75)
    assert (summary.members, summary.diverged, summary.density) == (2, 0, 1.0)


def test_early_stop_at_the_last_step_counts_for_both():
    assert member_values(rows(0, 100, 0.5)) == {
        "early_stop_step": 100, "test_accuracy": 0.5, "test_accuracy_end": 0.5,
    }  # fmt: skip


def test_copies_are_averaged_within_their_trial_first():
    found = rows(0, 10, 0.2, copy=0) + rows(0, 10, 0.4, copy=1) + rows(1, 10, 0.6)
    summary = summarise(found)[Cell(0.1, WINNER, 0)]
    assert summary.values["test_accuracy"][:3] == pytest.approx((0.45, 0.3, 0.6))
    assert summary.values["test_accuracy"].n == 2
    assert summary.members == 3


def test_one_trial_has_no_deviation():
    assert spread([0.3]) == Spread(0.3, 0.3, 0.3, 0.0, 1)


def test_diverged_members_are_counted_and_left_out():
    summary = summarise([*rows(0, 10, 0.2), diverged(1)])[Cell(0.1, WINNER, 0)]
    assert (summary.members, summary.diverged) == (2, 1)
    assert summary.values["test_accuracy"] == Spread(0.2, 0.2, 0.2, 0.0, 1)
    assert summarise([diverged(0)])[Cell(0.1, WINNER, 0)].values == {}


def test_cells_come_by_rate_arm_as_first_seen_and_level():
    records, _ = study(trials=1, levels=2, rates=(0.2, 0.1))
    assert list(summarise(records))[:6] == [
        Cell(0.1, WINNER, 0), Cell(0.1, WINNER, 1), Cell(0.1, WINNER, 2),
        Cell(0.1, REINIT, 1), Cell(0.1, REINIT, 2), Cell(0.2, WINNER, 0),
    ]  # fmt: skip


def test_the_order_of_the_records_does_not_matter_to_the_values():
    records, _ = study(trials=3, levels=3, copies=2)
    assert summarise(records) == summarise(sorted(records, key=lambda r: (-r.trial, r.step)))


def test_curves_are_averaged_over_trials_with_copies_first():
    def point(trial, copy, value):
        return Record("s", trial, copy, 0.1, WINNER, 2, 0.5, 30, "test", "loss", value)

    means = curve_means([point(0, 0, 1.0), point(0, 1, 3.0), point(1, 0, 4.0)])
    assert means == {Moment(0.1, WINNER, 2, 30, "test", "loss"): 3.0}


def test_curves_of_diverged_members_are_dropped_and_no_others():
    place = (1, 0, 0.0012, REINIT, 2)
    records, curves = study(trials=2, levels=2, diverged={place})
    kept = without_diverged(curves, records)
    assert {r[1:6] for r in curves} - {r[1:6] for r in kept} == {place}
    assert without_diverged(curves, []) == curves


def test_percent_keeps_three_digits():
    assert [percent(d) for d in (1, 0.8004, 0.2107, 0.0119, 0.00421)] == [
        "100 %", "80 %", "21.1 %", "1.19 %", "0.421 %",
    ]  # fmt: skip


def test_a_paired_difference_is_taken_within_trials():
    records = rows(0, 5, 0.90) + rows(1, 5, 0.80) + rows(2, 5, 0.70)
    for trial, accuracies in enumerate(((0.5, 0.6), (0.3, 0.5), (0.4, 0.4))):
        for copy, accuracy in enumerate(accuracies):
            records += rows(trial, 5, accuracy, copy=copy, arm=REINIT, level=1)
    records += rows(3, 5, 0.1)  # no partner: left out
    found = paired_difference(records, Cell(0.1, WINNER, 0), Cell(0.1, REINIT, 1))
    assert found.n == 3
    assert found.mean == pytest.approx((0.35 + 0.40 + 0.30) / 3)
    half = 4.302653 * 0.05 / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((0.35 - half, 0.35 + half))


def test_one_trial_gives_no_interval():
    assert interval([0.5]) == (0.5, -math.inf, math.inf, 1)
    with pytest.raises(ValueError, match="no trial has"):
        paired_difference(rows(0, 5, 0.9), Cell(0.1, WINNER, 0), Cell(0.1, REINIT, 1))


@given(some.lists(some.floats(0, 1), min_size=1, max_size=6), some.integers(1, 7))
def test_a_mean_lies_within_its_range(values, copies):
    found = spread(values * copies)
    assert found.low <= found.mean <= found.high
    assert mean(values[:1] * copies) == values[0]


def test_means_of_equal_values_are_that_value_everywhere():
    """An ulp outside of its range, a mean cannot be drawn (`yerr` below 0) nor printed."""
    value = 0.045
    assert math.fsum([value] * 3) / 3 > value
    records = [r for t in range(3) for c in range(3) for r in rows(t, 20, value, value, copy=c)]
    found = summarise(records)[Cell(0.1, WINNER, 0)].values["test_accuracy"]
    assert found == Spread(value, value, value, 0.0, 3)
    curves = [r for r in records if r.step == 100]
    assert list(curve_means(curves).values()) == [value]


@given(some.integers(2, 9), some.integers(0, 50), some.integers(1, 50))
def test_values_that_differ_by_rounding_alone_give_no_interval(count, start, difference):
    """Five differences of 2 points are (0.92 - 0.90), (0.94 - 0.92), ...: equal but for an ulp."""
    pairs = [((start + n) / 50, (start + n + difference) / 50) for n in range(count)]
    for kind in (interval, bootstrap_interval):
        found = kind([b - a for a, b in pairs])
        assert (found.low, found.high, found.n) == (-math.inf, math.inf, count)
        assert not found.bounded and kind([*(b - a for a, b in pairs), 0.7313]).bounded


def test_a_changing_density_is_the_one_at_early_stop():
    where = ("s", 0, 0, 0.1, "gradual", 1)
    records = [
        Record(*where, 1.0, 10, "validation", "accuracy", 0.3),
        Record(*where, 0.4, 60, "validation", "early_stop_step", 60.0),
        Record(*where, 0.4, 60, "test", "accuracy", 0.5),
        Record(*where, 0.2, 100, "test", "accuracy", 0.4),
    ]
    assert summarise(records)[Cell(0.1, "gradual", 1)].density == 0.4


def test_a_level_is_told_by_the_tickets_density_and_an_arm_by_its_own():
    records = rows(0, 5, 0.9, level=3, density=0.0557)
    records += rows(0, 5, 0.8, arm="supermask", level=3, density=0.494)
    records += rows(0, 5, 0.7, arm=REINIT, level=3, density=0.0557)
    assert level_line(records) == (
        "density 5.57 %  winning_ticket 90.00%  supermask (at 49.4 %) 80.00%  random_reinit 70.00%"
    )
