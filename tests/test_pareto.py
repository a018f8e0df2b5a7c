"""Accuracy of packed files against what they cost: fronts and equal budgets by hand."""

import csv
import json
from functools import partial
from io import StringIO

import pytest
from matplotlib.text import Text
from rich.console import Console

from lth import LthError
from lth.config import compose
from lth.loggers.panels import budget_rows, budget_summary, level_rows
from lth.measured import Measured
from lth.records.budget import QUANTITIES, Budget, judged_of, weighed
from lth.records.budget_table import budget_tables
from lth.records.intervals import interval
from lth.records.judged import TEST_ACCURACY
from lth.records.record import Record
from lth.records.statistics import member_values, summarise
from lth.results.compare.budget_table import axis_tables
from lth.results.compare.equal_budget import round_budgets, too_small, within_budgets
from lth.results.compare.methods import DENSE
from lth.results.compare.pareto import points
from lth.results.compare.studies import Source
from lth.results.figures import draw
from lth.results.figures.pareto import cost_figure, pareto_figure
from lth.results.figures.style import grey
from lth.results.figures.zeros import zeros_figure
from lth.study.comparison import compare_studies
from lth.study.progress import Display
from tests.toys import SETTINGS, mlp, run_study

WINNER = "winning_ticket"


def network(arm, level, size, validation, test, *, phase=0, trial=0, study="s-1", **more):
    """Rows of a network: its end, and its budget."""
    where = (study, trial, 0, 0.1, arm, level, more.pop("density", 0.5**level))
    found = Budget(params=more.pop("params", 100), nonzeros=50, bytes=size,
                   macs=more.pop("macs", 1000.0),
                   macs_nonzero=1000 * 0.5**level, search_macs=1e6, accuracy=test,
                   validation=validation, **more)  # fmt: skip
    rows = [(20, "validation", "early_stop_step", 20.0), (60, "test", "accuracy", test)]
    move = "quantize" if phase else ""
    return [Record(*where, *row, phase, move) for row in [*rows, *found.points(60)]]


def trials(arm, level, size, validation, tests, **more):
    made = (network(arm, level, size, validation, t, trial=n, **more) for n, t in enumerate(tests))
    return [r for rows in made for r in rows]


ROWS = [
    *trials(WINNER, 0, 400, 0.90, (0.90, 0.92)),
    *trials(WINNER, 1, 200, 0.93, (0.91, 0.93)),
    *trials(WINNER, 2, 100, 0.91, (0.95, 0.97)),
    *trials("clusters", 1, 60, 0.92, (0.90, 0.94), phase=1),
    *trials("clusters", 1, 30, 0.80, (0.99, 0.99), phase=2),
]
"""The dense network, two tickets, and a method of two phases."""


def source(rows=ROWS, label="", study="s-1"):
    return Source(label, study, None, [r._replace(study=study) for r in rows])


def found_at(axis="bytes", rows=ROWS):
    return points([source(rows)], axis, TEST_ACCURACY)


def text_of(tables, width):
    console = Console(file=StringIO(), width=width)
    for table in tables:
        console.print(table)
    return console.file.getvalue()


# --- points and front -----------------------------------------------------------------------------


def test_a_point_per_method_level_and_phase():
    found = found_at()
    assert [(p.method, p.level, p.phase, p.cost) for p in found] == [
        ("clusters", 1, 2, 30), ("clusters", 1, 1, 60), (WINNER, 2, 0, 100), (WINNER, 1, 0, 200),
        (DENSE, 0, 0, 400),
    ]  # fmt: skip
    (ticket,) = [p for p in found if p.cost == 100]
    assert ticket.value == interval([0.95, 0.97]) and ticket.trials == 2
    assert (ticket.validation, ticket.moves) == (0.91, "") and found[0].moves == "quantize"
    assert ticket.quantities["macs_nonzero"] == 250
    assert [p.cost for p in found_at("density")] == [0.25, 0.5, 0.5, 0.5, 1.0]
    assert {p.cost for p in found_at("macs")} == {1000}


def test_the_front_is_chosen_on_validation_and_never_on_test():
    assert [(p.cost, p.front) for p in found_at()] == [
        (30, True), (60, True), (100, False), (200, True), (400, False),
    ]  # fmt: skip


def test_of_what_costs_and_gives_the_same_all_are_on_the_front():
    rows = [*ROWS, *trials("twin", 1, 60, 0.92, (0.1, 0.2))]
    assert [p.method for p in found_at(rows=rows) if p.front and p.cost == 60] == [
        "clusters", "twin",
    ]  # fmt: skip


def test_less_is_better_where_a_loss_is_judged():
    rows = [r for n in (0.5, 0.4) for r in network("a" if n > 0.45 else "b", 1, 100 * n, n, n,
                                                   measure="mse")]  # fmt: skip
    what = judged_of(rows, Measured("mse", higher=False))
    assert (what.name, what.share) == ("test_mse", False)
    found = points([source(rows)], "bytes", what)
    assert [(p.method, p.front) for p in found] == [("b", True), ("a", False)]


def test_a_dense_network_of_another_model_is_a_network_of_its_own():
    small = [*trials(WINNER, 0, 90, 0.85, (0.8, 0.9), params=20),
             *trials(WINNER, 1, 50, 0.85, (0.8, 0.9))]  # fmt: skip
    both = points([source(), source(small, "small", "s-2")], "bytes", TEST_ACCURACY)
    assert {p.method for p in both if p.level == 0} == {DENSE, f"small: {DENSE}"}
    same = points([source(), source(label="same", study="s-3")], "bytes", TEST_ACCURACY)
    assert sum(p.level == 0 for p in same) == 1 and {p.method for p in same} >= {"same, clusters"}


def test_dense_networks_of_several_rates_are_told_apart():
    both = [*ROWS, *(r._replace(lr=0.2, value=r.value / 2) for r in ROWS)]
    names = {p.method for p in found_at(rows=both) if p.level == 0}
    assert names == {f"{DENSE}, lr 0.1", f"{DENSE}, lr 0.2"}


def test_a_study_that_diverged_has_nothing_to_weigh():
    where = ("s-1", 0, 0, 0.1, WINNER, 0, 1.0)
    gone = [Record(*where, 7, "train", "diverged", 7.0),
            Record(*where, 60, "train", "training_flops", 1.0)]  # fmt: skip
    with pytest.raises(LthError, match="s-1: every member diverged"):
        found_at(rows=gone)


def test_studies_without_budgets_say_how_to_get_them():
    plain = [r for r in ROWS if not r.metric.startswith("budget/")]
    with pytest.raises(LthError, match=r"s-1: nothing of it has been weighed: .*budget=true"):
        found_at(rows=plain)
    task = [r for r in ROWS if r.metric != "budget/accuracy"]
    with pytest.raises(LthError, match="no bytes and accuracy of any packed file"):
        found_at(rows=task)


# --- equal budgets --------------------------------------------------------------------------------


def test_the_best_within_a_budget_is_chosen_on_validation():
    found = within_budgets(found_at(), TEST_ACCURACY, [250, 60, 10])
    assert [(w.budget, w.point.method, w.point.cost) for w in found] == [
        (60, "clusters", 60), (250, WINNER, 200), (250, "clusters", 60),
    ]  # fmt: skip
    assert too_small([10, 60], found_at(), "bytes") == [
        "budgets=10: no network is within it; the least has 30 (bytes)"
    ]


def test_round_budgets_are_those_that_buy_something_below_the_dense_network():
    assert round_budgets(found_at()) == [30, 100, 200]
    assert round_budgets([p for p in found_at() if p.level == 0]) == []


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [72, 80, 120])
def test_tables_fit_and_hold_their_rows(width):
    text = text_of(budget_tables(ROWS, width), width)
    lines = text.splitlines()
    assert all(len(line) <= width for line in lines) and len(lines) in (8, 9)
    row = next(line for line in lines if line.startswith("winning ticket") and " 2 " in line)
    assert "4.00x" in row and "0.100" in row and "1.00k" in row and "96.00 ±12.71" in row
    assert ("250" in row and "1.00M" in row) == (width >= 100)
    assert "phase" in text and "dense network" in text
    assert not budget_tables([r for r in ROWS if not r.metric.startswith("budget/")], width)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_tables_of_a_comparison_hold_the_front_and_a_column_per_budget(width):
    found = found_at()
    best = within_budgets(found, TEST_ACCURACY)
    text = text_of(axis_tables(found, best, "bytes", TEST_ACCURACY, width), width)
    assert all(len(line) <= width for line in text.splitlines())
    front = text.partition("each method's best")[0]
    assert front.count("clusters") == 2 and front.replace("\n", "").count(WINNER) == 1
    assert ("validation " in front) == (width > 40)
    if width < 80:
        return
    (head,) = (line for line in text.splitlines() if line.split() == ["method", "30", "100", "200"])
    (row,) = (line for line in text.splitlines() if line.startswith(WINNER) and "96.00" in line)
    assert len(row) == len(head) and "92.00" in row


def test_budgets_change_no_other_number():
    plain = [r for r in ROWS if not r.metric.startswith("budget/")]
    with_rows, without = summarise(ROWS), summarise(plain)
    for cell, summary in without.items():
        own = {n: v for n, v in with_rows[cell].trials.items() if "budget/" not in n}
        assert own == summary.trials
    values = member_values(network("a", 1, 10, 0.5, 0.25))
    assert values["test_budget/bytes_end"] == 10 and values["test_budget/accuracy_end"] == 0.25


# --- figures --------------------------------------------------------------------------------------


def said(figure):
    return " ".join(t.get_text() for t in figure.findobj(Text))


def test_the_figure_draws_the_means_against_the_cost():
    figure = pareto_figure(found_at(), "bytes", TEST_ACCURACY)
    (ax,) = figure.axes
    drawn = {tuple(c.lines[0].get_xdata()): c.lines[0].get_ydata().tolist() for c in ax.containers}
    assert drawn[100.0, 200.0] == pytest.approx([96, 92])
    assert drawn[30.0,] == pytest.approx([99])  # what a method ends with; small is the way there
    ways = [line for line in ax.lines if line.get_linestyle() == ":" and len(line.get_xdata()) > 1]
    assert [tuple(w.get_xdata()) for w in ways] == [(60, 30)]
    assert list(ways[0].get_ydata()) == pytest.approx([92, 99]) and "hollow" in said(figure)
    front = ax.lines[0]
    assert (
        front.get_xdata().tolist() == [30, 60, 200] if hasattr(front.get_xdata(), "tolist") else 1
    )
    assert ax.get_xscale() == "log" and "bytes" in ax.get_xlabel()
    names = {t.get_text() for t in ax.findobj(Text)}
    assert {"winning ticket", "clusters", DENSE} <= names
    assert pareto_figure([], "bytes", TEST_ACCURACY) is None


def test_what_is_far_below_leaves_the_panel_and_is_marked():
    rows = [*ROWS, *trials("lost", 1, 80, 0.1, (0.1, 0.1))]
    ax = pareto_figure(found_at(rows=rows), "bytes", TEST_ACCURACY).axes[0]
    assert ax.get_ylim()[0] > 50
    assert any("lost (10)" in t.get_text() for t in ax.findobj(Text))


def test_of_a_crowd_the_front_has_colours_and_all_are_named():
    rows = [*ROWS, *(r for n in range(12) for r in trials(f"m{n}", 1, 50 + n, 0.9, (0.9, 0.92)))]
    figure = pareto_figure(found_at(rows=rows), "bytes", TEST_ACCURACY)
    names = {t.get_text(): t.get_color() for t in figure.axes[0].texts}
    assert len(names) == 15 and sum(c == grey(0.35) for c in names.values()) == 12
    assert names["m0"] != grey(0.35) == names["m1"]  # it validates as well for fewer bytes


def test_zeros_do_not_shrink_a_network():
    left, right = zeros_figure(ROWS).axes
    whole, without = (c.lines[0].get_ydata() for c in left.containers)
    assert list(whole) == [1000] * 3 and list(without) == [1000, 500, 250]
    whole, packed = (c.lines[0].get_ydata() for c in right.containers)
    assert list(whole) == [400] * 3 and list(packed) == [400, 200, 100]
    assert zeros_figure([r for r in ROWS if r.arm != WINNER]) is None


def test_a_study_with_budgets_has_both_figures(tmp_path):
    names = {p.stem for p in draw(ROWS, [], tmp_path)}
    assert names == {"tickets", "pareto", "zeros"}
    plain = [r for r in ROWS if not r.metric.startswith("budget/")]
    assert {p.stem for p in draw(plain, [], tmp_path / "plain")} == {"tickets"}
    task = [r for r in ROWS if r.metric not in ("budget/accuracy", "budget/macs")]
    assert {p.stem for p in draw(task, [], tmp_path / "task")} == {"tickets", "zeros"}


# --- wandb ----------------------------------------------------------------------------------------


def test_a_budget_makes_no_panels_but_one():
    assert not [k for row in level_rows(ROWS, several=False) for k in row if "budget" in k]
    found = weighed(ROWS)
    summary = budget_summary(found, several=False)
    assert summary[f"budget/{WINNER}/bytes"] == 100 and summary["budget/clusters/bytes"] == 30
    assert summary[f"budget/{WINNER}/test"] == pytest.approx(0.96)
    assert len(summary) == 2 * (len(QUANTITIES) + 2)
    assert budget_summary(found, several=True).keys() >= {"budget/lr=0.1/clusters/bytes"}
    rows = budget_rows(found)
    assert len(rows) == 5 and rows[0][:4] == [WINNER, 0, 0, 1.0]


# --- the action -----------------------------------------------------------------------------------


def comparison(out, **settings):
    config = compose(**SETTINGS | {"out": str(out)}) | {
        "name": None, "action": "compare", "studies": [f"{out}/studies/*"], "axis": "bytes",
    }  # fmt: skip
    console = Console(record=True, width=100)
    compare_studies(config | settings, Display(console))
    return console.export_text()


def test_one_study_is_compared_at_equal_bytes(tmp_path):
    run_study(tmp_path, trials=2, levels=2, method=["fine_tune"])
    text = comparison(tmp_path, budgets=[1, 900])
    assert "budgets=1: no network is within it" in text and "fine_tune" in text
    folder = tmp_path / "compare" / "toy-bytes"
    assert {p.name for p in folder.iterdir()} == {
        "pareto.csv", "equal_budget.csv", "pareto.png", "provenance.json",
    }  # fmt: skip
    rows = list(csv.DictReader((folder / "pareto.csv").read_text().splitlines()))
    assert len(rows) == 1 + 2 * 3 and {r["axis"] for r in rows} == {"bytes"}
    assert json.loads((folder / "provenance.json").read_text())["axis"] == "bytes"
    for row in csv.DictReader((folder / "equal_budget.csv").read_text().splitlines()):
        own = [r for r in rows if r["method"] == row["method"]]
        fit = [r for r in own if float(r["bytes"]) <= float(row["budget"])]
        best = max(float(r["validation_accuracy"]) for r in fit)
        assert float(row["validation_accuracy"]) == best and row["test_accuracy"]


def test_networks_of_several_models_are_compared_on_one_data_set(tmp_path):
    run_study(tmp_path, trials=2, levels=1, budget=True, name="c-a")
    run_study(tmp_path, trials=2, levels=1, budget=True, name="c-b", model=partial(mlp, width=5))
    text = comparison(tmp_path, axis="macs")
    assert "model.width=5 not 10" in text
    rows = list(csv.DictReader((tmp_path / "compare/c-macs/pareto.csv").read_text().splitlines()))
    assert {float(r["macs"]) for r in rows} == {200.0, 100.0}
    assert sum(r["level"] == "0" for r in rows) == 2


def test_a_study_that_was_not_weighed_is_one_line(tmp_path):
    run_study(tmp_path, trials=1, levels=1)
    with pytest.raises(LthError, match=r"toy-\w+: nothing of it has been weighed: run it again"):
        comparison(tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"axis": "size"}, "axis='size': it is one of bytes, macs, params, density"),
        ({"budgets": [0]}, r"budgets=\[0\]: a list of numbers above 0"),
        ({"budgets": 27000}, "budgets=27000: a list"),
        ({"axis": None, "budgets": [1]}, "axis=None: it is one of"),
    ],
)
def test_bad_axes_and_budgets_are_one_line(tmp_path, settings, said):
    run_study(tmp_path, trials=1, levels=0)
    with pytest.raises(LthError, match=said):
        comparison(tmp_path, **settings)


@pytest.mark.parametrize(
    ("macs", "size", "axes"),
    [(950.0, 400, ["bytes"]), (250.0, 400, ["macs"]), (250.0, 300, ["bytes", "macs"])],
)
def test_networks_are_drawn_by_what_they_differ_in(macs, size, axes):
    """Networks that leave early differ in what they execute, not in what they store."""
    tests = (0.9, 0.92)
    rows = [*trials(WINNER, 0, 401, 0.9, tests),
            *trials("exits", 1, size, 0.9, tests, phase=1, macs=macs)]  # fmt: skip
    drawn = {axis: figure for axis in ("bytes", "macs") if (figure := cost_figure(rows, axis))}
    assert list(drawn) == axes
    for axis, figure in drawn.items():
        ax = figure.axes[0]
        left, right = ax.get_xlim()
        assert {"bytes": "bytes", "macs": "multiply-adds"}[axis] in ax.get_xlabel()
        assert right / left > 2.9
        assert len({t.get_text() for t in ax.get_xticklabels()}) == len(ax.get_xticklabels())
