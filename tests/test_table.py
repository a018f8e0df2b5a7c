"""The table: what it says, and that it fits the terminal."""

import re

import pytest

from lth.records.statistics import Cell, summarise
from lth.records.table import ladders, render, tables
from tests.synthetic import REINIT, SIX_ARMS, WINNER, study


@pytest.mark.parametrize("width", [80, 120, 160])
@pytest.mark.parametrize("arms", [(WINNER,), (WINNER, REINIT), SIX_ARMS])
def test_nothing_is_cut_off(width, arms):
    records, _ = study(arms=arms, levels=3)
    text = render(records, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for summary in summarise(records).values():
        assert f"{summary.values['early_stop_step'].mean:.0f}" in text
        for name in ("test_accuracy", "test_accuracy_end"):
            found = summary.values[name]
            assert f"{100 * found.mean:.2f}" in text
            assert f"{100 * found.low:.2f}-{100 * found.high:.2f}" in text


def test_two_arms_stand_side_by_side_in_80_columns():
    records, _ = study()
    assert len(tables(records, 80)) == 1
    assert len(tables(study(arms=SIX_ARMS)[0], 80)) == 3


def test_a_row_holds_its_own_level():
    records, _ = study(levels=2)
    lines = render(records, 160).splitlines()
    summaries = summarise(records)
    (line,) = [x for x in lines if x.strip().startswith("64 %")]
    means = [float(x) for x in re.findall(r"([\d.]+) \(", line)]
    expected = []
    for arm in (WINNER, REINIT):
        values = summaries[Cell(0.0012, arm, 2)].values
        expected += [values["early_stop_step"].mean]
        expected += [100 * values[n].mean for n in ("test_accuracy", "test_accuracy_end")]
    assert means == pytest.approx(expected, abs=0.5 if means[0] > 999 else 0.006)


def test_ranges_are_left_out_for_one_trial():
    text = render(study(trials=1, levels=2)[0], 80)
    assert "(" not in text
    assert "min-max" not in text


def test_a_table_for_each_learning_rate():
    records, _ = study(rates=(0.0002, 0.004), levels=1)
    text = render(records, 80)
    assert text.index("lr 0.0002") < text.index("lr 0.004")
    assert len(tables(records, 80)) == 2


@pytest.mark.parametrize("width", [80, 160])
def test_diverged_members_are_said(width):
    some = {(0, 0, 0.0012, REINIT, 1)}
    every = {(t, 0, 0.0012, REINIT, 2) for t in range(3)}
    text = render(study(trials=3, levels=2, diverged=some | every)[0], width)
    assert text.count("1/3 diverged") == 1
    assert len(re.findall(r"(?<!3 )diverged", text)) == 1
    assert "diverged" not in render(study(trials=3, levels=2)[0], width)


def test_an_arm_stands_under_its_own_density():
    """A supermask keeps 49 % at every level: it is no row of the ladder's."""
    records, _ = study(levels=3, arms=(WINNER, REINIT, "supermask", "small_dense"))
    own = {"supermask": lambda r: 0.494, "small_dense": lambda r: r.density + 0.006}
    records = [
        r._replace(density=own.get(r.arm, lambda r: r.density)(r)) if r.level else r
        for r in records
    ]
    assert ladders(summarise(records)) == [[WINNER, REINIT], ["supermask"], ["small_dense"]]
    ladder, supermask, small = (list(t.columns[0].cells) for t in tables(records, 80))
    assert ladder == ["100 %", "80 %", "64 %", "51.2 %"]
    assert supermask == ["49.4 %"] * 3 and small == ["80.6 %", "64.6 %", "51.8 %"]
    told = tables(records, 80)[1].columns[1]
    assert told.header.strip() == "level" and list(told.cells) == ["1", "2", "3"]
    assert "level" not in render(records, 80).split("supermask")[0].split("\n", 1)[1]


@pytest.mark.parametrize("width", [80, 200])
def test_a_mean_is_printed_inside_its_range(width):
    """With as many digits as its range: 97.25 is not inside 97.2 to 97.2."""
    records, _ = study(trials=3, levels=3, arms=(WINNER,))
    records = [r._replace(value=0.9725) if r.metric == "accuracy" else r for r in records]
    text = render(records, width)
    assert text.count("97.25-97.25") == 8 and len(re.findall(r"97\.25(?!-)", text)) == 16
