"""Studies judged by another metric: drawn, tabulated and compared like any other."""

import csv
import random
from io import StringIO

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rich.console import Console

from lth import LthError
from lth.loggers.levels_csv import CsvLogger, write_levels
from lth.loggers.panels import curve_rows, level_rows
from lth.measured import Measured, measured_of
from lth.records.judged import Judged, judged
from lth.records.matching import FALLS_SHORT, MATCHES, matching
from lth.records.record import Record
from lth.records.statistics import Cell, level_line, summarise
from lth.records.table import render
from lth.records.verdict import verdict
from lth.results.compare.budget import equal_cost
from lth.results.compare.rows import compare
from lth.results.compare.studies import Source, fit
from lth.results.compare.table import budget_tables, comparison_tables, legend
from lth.results.compare.write import write_comparison
from lth.results.figures import curves_figure, tickets_figure
from lth.results.figures.compare import comparison_figure
from tests.synthetic import REINIT, WINNER

KINDS = {
    "perplexity": (Measured("perplexity", False, "perplexity"), 20.0, ("validation", "test")),
    "loss": (Measured("loss", False, "loss"), 1.5, ("validation",)),
    "acc": (Measured("acc", True, "acc"), 0.8, ("validation", "test")),
    "psnr": (Measured("psnr", True, "psnr"), 30.0, ("validation",)),
}
"""By metric: what is judged, the dense network's value, the splits that the records have."""


def forged(metric, early=True):
    """Records and curves without train rows and FLOPs: tickets are better, reinits far worse."""
    measured, base, splits = KINDS[metric]
    dice, records, curves = random.Random(0), [], []
    places = [(level, arm, trial) for level in range(3) for arm in (WINNER, REINIT)[: level + 1]
              for trial in range(3)]  # fmt: skip
    for level, arm, trial in places:
        where = ("task-00c0ffee", trial, 0, 0.1, arm, level, 0.5**level)
        better = (0.05 if arm == WINNER else -0.1) * level * (1 if measured.higher else -1)
        for split in splits:
            value = base * (1 + better + dice.uniform(-0.001, 0.001))
            for name in dict.fromkeys((metric, "loss")):
                records += [Record(*where, step, split, name, value) for step in (20, 40)]
            curves += [Record(*where, n, split, metric, value * (1 + n / 400)) for n in (0, 20, 40)]
        if early:
            records.append(Record(*where, 20, "validation", "early_stop_step", 20.0))
    return records, curves


@pytest.fixture(params=KINDS)
def kind(request):
    metric = request.param
    measured, _, splits = KINDS[metric]
    return metric, measured, splits, *forged(metric)


def test_what_is_judged_is_named_by_the_configuration():
    assert measured_of({}) == Measured("accuracy", True, "loss")
    assert measured_of({"task": None, "recipe": {"measures": None}}) == Measured()
    task = {"monitor": "val/perplexity", "mode": "min"}
    assert measured_of({"task": task})[:2] == ("perplexity", False)
    assert measured_of({"task": {"monitor": "val_acc", "mode": "max"}})[:2] == ("acc", True)
    spec = {"_target_": "tests.test_measured.measure_of", "higher": False}
    assert measured_of({"recipe": {"measures": {"mse": spec, "mae": spec}}}) == Measured(
        "mse", False
    )
    said = {"recipe": {"measures": {"mse": spec | {"higher": True}}}}
    assert measured_of(said).higher  # what a measure says goes before what it is called
    for name, higher in (("mse", False), ("accuracy", True), ("confident", False)):
        called = {"recipe": {"measures": {name: spec | {"higher": None}}}}
        assert measured_of(called).higher is higher


def measure_of(higher):
    def measure(outputs, batch):
        return {}

    if higher is not None:
        measure.higher = higher
    return measure


def test_it_is_judged_on_test_else_on_validation_and_shares_are_percent(kind):
    metric, measured, splits, records, _ = kind
    what = judged(records, measured)
    assert what == Judged(splits[-1], metric, measured.higher, metric == "acc")
    assert judged([], measured).split == "test"
    note = "(judged on validation data: no test split)"
    assert (note in verdict(records, measured)) == (splits == ("validation",))


def test_the_verdict_knows_which_way_is_better(kind):
    metric, measured, _, records, _ = kind
    rows = matching(records, measured)
    assert {(r.arm, r.verdict) for r in rows} == {(WINNER, MATCHES), (REINIT, FALLS_SHORT)}
    gained = [r.difference > 0 for r in rows if r.arm == WINNER]
    assert set(gained) == {measured.higher}
    tickets, reinits, *rule = verdict(records, measured)
    assert tickets.startswith("tickets match the dense network down to 25 % of the weights")
    assert reinits.startswith("reinitialised ones fall short from 50 %") or "already" in reinits
    unit = " points (" if metric == "acc" else f" in {metric} ("
    assert unit in tickets and (" points" in tickets) == (metric == "acc")
    said = " ".join(rule)
    assert (
        f"{metric} at early stop surely not {'below' if measured.higher else 'above'} the" in said
    )
    other = [m.verdict for m in matching(records, measured._replace(higher=not measured.higher))]
    assert MATCHES not in other[:2]


def test_tables_and_lines_write_the_metric_as_it_is(kind):
    metric, measured, splits, records, _ = kind
    what, mean = judged(records, measured), summarise(records)[Cell(0.1, WINNER, 2)].values
    text = render(records, 100, measured)
    assert f"{splits[-1]} {metric} then and at the end" in text
    assert ("test %" in text) == (metric == "acc") and text.count("%") >= 3
    shown = what.text(mean[what.name].mean)
    assert shown in text and shown in level_line(records, measured)
    assert (f"{shown}%" in level_line(records, measured)) == (metric == "acc")


def test_figures_show_the_metric_as_it_is(kind):
    metric, measured, splits, records, curves = kind
    percent = " (%)" if metric == "acc" else ""
    figure = tickets_figure(records, measured)
    assert [ax.get_ylabel().replace("\n", " ") for ax in figure.axes] == [
        "early-stop step", f"{splits[-1]} {metric} at early stop{percent}",
        f"{splits[-1]} {metric} at the end{percent}",
    ]  # fmt: skip
    factor = 100 if metric == "acc" else 1
    dense = summarise(records)[Cell(0.1, WINNER, 0)].values[f"{splits[-1]}_{metric}"].mean
    assert list(figure.axes[1].lines[0].get_ydata()) == pytest.approx([factor * dense] * 2)
    low, high = sorted(figure.axes[1].get_ylim())
    for line in (c.lines[0] for c in figure.axes[1].containers if "winning" in c.get_label()):
        assert all(low <= y <= high for y in line.get_ydata())
    drawn = curves_figure(curves, records, measured)
    assert drawn.axes[0].get_ylabel().replace("\n", " ") == f"{splits[-1]} {metric}{percent}"
    for each in (figure, drawn):
        FigureCanvasAgg(each).draw()


def test_an_arm_far_worse_leaves_the_panel_whichever_way_is_worse(kind):
    metric, measured, _, records, _ = kind
    far = [r._replace(value=r.value * (0.2 if measured.higher else 5)) if r.arm == REINIT else r
           for r in records]  # fmt: skip
    low, high = tickets_figure(far, measured).axes[1].get_ylim()
    worst = [r.value * (100 if metric == "acc" else 1) for r in far if r.arm == REINIT
             and r.metric == metric]  # fmt: skip
    assert max(worst) < low if measured.higher else min(worst) > high


def test_studies_without_costs_compare(kind, tmp_path):
    metric, measured, splits, records, _ = kind
    worse = 0.9 if measured.higher else 1.1
    other = [r._replace(value=worse * r.value) if r.metric == metric else r for r in records]
    sources = [Source("", "s", None, records), Source("other", "t", None, other)]
    found = compare(sources, measured=measured)
    names = [r.method for r in found.at(0.25)]
    assert names[0] == WINNER and names.index("other") < names.index("other, random_reinit")
    assert found.dense_flops is None and all(r.cost is None for r in found.rows)
    best = equal_cost(found.rows, found.densities, what=found.what)
    assert best == [] == budget_tables(best, 80, found.what)
    console = Console(file=StringIO(), width=120)
    for table in comparison_tables(found, 120):
        console.print(table)
    text = console.file.getvalue()
    assert found.what.text(found.at(0.25)[0].mean) in text
    assert ("points" in text) == (metric == "acc") and "no cost is known" in legend(found)
    figure = comparison_figure(found)
    worst, top = figure.axes[0].get_xlim()
    assert (worst < top) == measured.higher  # better is on the right
    FigureCanvasAgg(figure).draw()
    write_comparison(tmp_path, found, best, [])
    rows = list(csv.DictReader((tmp_path / "compare.csv").read_text().splitlines()))
    name = f"{splits[-1]}_{metric}"
    assert float(rows[0][name]) == found.rows[0].mean and rows[0]["total_cost"] == ""
    assert f"{splits[-1]}_low" in rows[0] and f"validation_{metric}" in rows[0]
    assert name in (tmp_path / "equal_cost.csv").read_text()


def test_studies_of_other_tasks_are_not_compared():
    def study(monitor):
        config = {"name": "x", "seed": 0, "data": None, "model": None, "recipe": {}, "arms": {},
                  "task": {"monitor": monitor}}  # fmt: skip
        known = {"id": f"x-{monitor}", "config": config, "records": [], "provenance": {}}
        return type("Study", (), known)()

    assert fit([study("val_loss"), study("val_loss")]) == []
    with pytest.raises(LthError, match=r"task.monitor=val_acc not val_loss .* studies of one task"):
        fit([study("val_loss"), study("val_acc")])


def test_loggers_write_every_metric(kind, tmp_path):
    metric, measured, splits, records, curves = kind
    write_levels(tmp_path / "levels.csv", records, measured)
    rows = list(csv.DictReader((tmp_path / "levels.csv").read_text().splitlines()))
    value = summarise(records)[Cell(0.1, WINNER, 0)].values[f"{splits[-1]}_{metric}"].mean
    assert float(rows[0][f"{splits[-1]}_{metric}_mean"]) == value
    assert not any("accuracy" in name or "flops" in name for name in rows[0])
    assert level_rows(records, False)[0][f"tickets/{splits[-1]}_{metric}/{WINNER}"] == value
    assert f"curves/{splits[-1]}_{metric}/{WINNER}/L0" in curve_rows(curves, False)[0]
    logger = CsvLogger()
    logger.start("x", None, {"task": {"monitor": f"val_{metric}", "mode": "min"}}, tmp_path / "own")
    assert logger.finish(records, curves, []) and (tmp_path / "own" / "levels.csv").is_file()


def test_without_an_early_stop_the_last_step_counts():
    records, _ = forged("loss", early=False)
    values = summarise(records)[Cell(0.1, WINNER, 0)].values
    assert values["early_stop_step"].mean == 40
    assert values["validation_loss"] == values["validation_loss_end"]
    assert [m.verdict for m in matching(records, KINDS["loss"][0])][:2] == [MATCHES] * 2


def test_of_an_arm_that_trains_in_phases_the_last_counts():
    records, _ = forged("loss")
    first = [r._replace(value=r.value + 7) for r in records if r.metric == "loss"]
    rows = [r._replace(phase=1) for r in records]
    assert summarise([*first, *rows]) == summarise(rows)
    assert matching([*first, *rows], KINDS["loss"][0]) == matching(rows, KINDS["loss"][0])


def test_a_metric_that_was_never_recorded_is_said():
    records, _ = forged("loss")
    (line,) = verdict(records, Measured("acc"))
    assert line == "the dense network has no test acc: there is nothing to match"
    assert render(records, 80, Measured("acc")) and "diverged" not in level_line(
        records, Measured("acc")
    )


@pytest.mark.parametrize(("monitor", "judges"), [("loss", "exit2"), ("acc/exit1", "exit1")])
def test_of_a_measure_with_several_values_one_is_judged(monitor, judges, tmp_path):
    records, curves = forged("acc")
    parts = {"exit1": 0.9, "exit2": 1.0}

    def several(rows):
        return [
            r._replace(metric=f"acc/{n}", value=k * r.value) if r.metric == "acc" else r
            for r in rows for n, k in parts.items() if r.metric == "acc" or n == "exit1"
        ]  # fmt: skip

    records, curves = several(records), several(curves)
    measured = Measured("acc", True, monitor)
    what = judged(records, measured)
    assert what == Judged("test", f"acc/{judges}", True, True)
    assert verdict(records, measured)[0].startswith("tickets match the dense network down to 25 %")
    assert "-" not in level_line(records, measured).partition(WINNER)[2][:4]
    assert f"acc/{judges}" in render(records, 100, measured)
    assert curves_figure(curves, records, measured) is not None
    write_levels(tmp_path / "levels.csv", records, measured)
    with (tmp_path / "levels.csv").open() as file:
        assert f"test_acc/{judges}_mean" in next(csv.reader(file))[8:12]


def test_a_measure_of_another_is_better_as_that_one_is_and_a_mode_says_it():
    accuracy = {"_target_": "lth.recipe.measures.accuracy"}
    exits = {"_target_": "lth.recipe.measures.per_output", "of": accuracy}
    assert measured_of({"recipe": {"measures": {"exits": exits}}}).higher
    mae = exits | {"of": {"_target_": "lth.recipe.measures.mae"}}
    assert not measured_of({"recipe": {"measures": {"exits": mae}}}).higher
    own = {"measures": {"own": {"_target_": "mine.own"}}, "mode": "max"}
    assert measured_of({"recipe": own | {"monitor": "own"}}) == Measured("own", True, "own")
    assert not measured_of({"recipe": own | {"monitor": "loss"}}).higher
