"""Methods of several studies side by side, on records that a reader can work out by hand."""

import csv
import sys
from functools import partial
from io import StringIO

import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text
from rich.console import Console

from lth import LthError, cli
from lth.config import compose, study_id
from lth.records.intervals import Interval, bootstrap_interval, interval
from lth.records.record import Record, write_csv
from lth.results.compare.budget import budgets_of, equal_cost
from lth.results.compare.methods import DENSE, names
from lth.results.compare.reference import choose, pool_notes, pooled
from lth.results.compare.rows import Cost, Row, compare
from lth.results.compare.studies import Source, find, fit, labels, name_of, sources
from lth.results.compare.table import budget_tables, comparison_tables, legend
from lth.results.figures import save
from lth.results.figures.compare import LONGEST, comparison_figure
from lth.results.figures.labels import spread
from lth.results.figures.style import COLOURS, grey
from tests.toys import SETTINGS, run_study

WINNER = "winning_ticket"
UNIT = 1000.0
"""FLOPs of a dense run."""


def member(
    trial, arm, level, test, *, study="s-1", validation=None, end=None, train=None, search=0.0,
    density=None, lr=0.1, copy=0, early=20,
):  # fmt: skip
    """Records of one member; costs in dense runs; densities halve from level to level."""
    density = 0.5**level if density is None else density
    where = (study, trial, copy, lr, arm, level, density)
    train = density if train is None else train
    rows = [(early, "validation", "early_stop_step", float(early))]
    for step, value in ((early, test), (60, test if end is None else end)):
        rows.append((step, "test", "accuracy", value))
        rows.append((step, "validation", "accuracy", test if validation is None else validation))
    rows += [(60, "train", "training_flops", UNIT * train)]
    rows += [(60, "train", "search_flops", UNIT * search)]
    return [Record(*where, *row) for row in rows]


def gone(trial, arm, level, study="s-1"):
    where = (study, trial, 0, 0.1, arm, level, 0.5**level)
    return [Record(*where, 7, "train", "diverged", 7.0),
            Record(*where, 60, "train", "training_flops", 1.0),
            Record(*where, 60, "train", "search_flops", 1.0)]  # fmt: skip


def source(members, label="", study="s-1", seed=0, weights=800):
    rows = [r._replace(study=study, trial=r.trial + 100 * seed) for rows in members for r in rows]
    return Source(label, study, weights, rows)


def tickets(levels=3, **kind):
    """A study of three trials: tickets gain 0.01 a level, reinits lose 0.02."""
    found = [member(t, WINNER, 0, 0.90 + t / 100) for t in range(3)]
    for level in range(1, levels + 1):
        spent = sum(0.5**n for n in range(level))
        for t in range(3):
            base = 0.90 + t / 100
            found.append(member(t, WINNER, level, base + level / 100, search=spent))
            found.append(member(t, "random_reinit", level, base - level / 50, search=spent))
    return source(found, **kind)


def snip(accuracies=(0.88, 0.92, 0.93), level=3, **kind):
    found = [member(t, WINNER, 0, 0.90 + t / 100) for t in range(3)]
    found += [member(t, WINNER, level, a, search=0.01) for t, a in enumerate(accuracies)]
    return source(found, **{"label": "snip", "study": "s-2", **kind})


def row_of(found, method, level):
    (row,) = [r for r in found.rows if (r.method, r.level) == (method, level)]
    return row


# --- names ----------------------------------------------------------------------------------------


def configs(*given):
    return [(f"{c['name']}-{n:08d}", c) for n, c in enumerate(given)]


def test_labels_are_names_without_what_all_share():
    found = labels(configs(*({"name": n} for n in ("c-tickets", "c-snip", "c-synflow"))))
    assert found == ["", "snip", "synflow"]
    assert labels(configs({"name": "alone"})) == [""]


def test_studies_of_one_name_are_told_apart_by_what_differs():
    def config(score, rate, rounds=1):
        score = {"_target_": f"lth.pruning.score.{score}", "k": 1}
        common = {"name": "lenet-digits", "seed": 0, "data": {"root": str(rate)}}
        return common | {"trials": rounds, "score": score, "prune": {"rate": rate}}

    found = labels(configs(config("magnitude", 0.2), config("snip", 0.2), config("snip", 0.3)))
    assert found == ["", "snip, prune.rate=0.2", "snip, prune.rate=0.3"]
    twins = labels(configs(config("snip", 0.2), config("snip", 0.2, 2), config("snip", 0.2, 3)))
    assert twins == ["", "00000001", "00000002"]
    older = config("magnitude", 0.2)
    newer = older | {"prune": {"rate": 0.2, "rates": {}}, "rewind": {"statistics": None}}
    assert labels(configs(older, newer)) == ["", "00000001"]  # what is left empty is no difference


def test_every_method_has_a_name_of_its_own():
    several = source([member(0, WINNER, n, 0.9, lr=lr) for n in (0, 1) for lr in (0.1, 0.01)])
    found = names([several, snip()])
    assert list(found.values()) == ["winning_ticket, lr 0.1", "winning_ticket, lr 0.01", "snip"]
    found = names([tickets(), snip(), tickets(label="snip", study="s-3")])
    assert list(found.values()) == [
        "s-1, winning_ticket", "s-1, random_reinit", "s-2, winning_ticket", "s-3, winning_ticket",
        "s-3, random_reinit",
    ]  # fmt: skip
    assert list(names([tickets(), tickets(label="other", study="s-3")]).values())[2:] == [
        "other", "other, random_reinit",
    ]  # fmt: skip


# --- rows -----------------------------------------------------------------------------------------


def test_a_row_holds_means_intervals_and_costs_in_dense_runs():
    row = row_of(compare([tickets(), snip()]), "snip", 3)
    assert row.value == pytest.approx(interval([0.88, 0.92, 0.93]))
    assert row.cost == pytest.approx((125.0, 10.0, UNIT))  # training, search, a dense run
    assert row.total_cost == pytest.approx(0.135)
    assert (row.density, row.weights, row.trials, row.diverged) == (0.125, 100, 3, 0)
    assert (row.study, row.arm, row.lr, row.early_stop_step) == ("s-2", WINNER, 0.1, 20)
    assert row_of(compare([tickets()]), WINNER, 2).cost.search == pytest.approx(1.5 * UNIT)


def test_early_stop_and_end_are_apart():
    found = [member(t, WINNER, n, 0.5, end=0.6 + t / 10) for n in (0, 1) for t in range(2)]
    row = row_of(compare([source(found)]), WINNER, 1)
    assert row.mean == 0.5 and row.end == pytest.approx(interval([0.6, 0.7]))


def test_differences_are_paired_over_the_trials_of_both_studies():
    found = compare([tickets(), snip()])
    values = [0.88 - 0.93, 0.92 - 0.94, 0.93 - 0.95]
    row, drawn, student = row_of(found, "snip", 3), bootstrap_interval(values), interval(values)
    assert row.reference_level == row.difference.n == 3
    assert row.difference == pytest.approx(student) and row.bootstrap == pytest.approx(drawn)
    assert student.high > 0 > drawn.high  # the paired bootstrap is narrower
    fewer = compare([tickets(), snip((0.88, 0.92))])
    assert row_of(fewer, "snip", 3).difference.n == 2
    assert row_of(found, "random_reinit", 2).difference.mean == pytest.approx(-0.06)


def test_the_reference_and_trials_of_another_seed_have_no_difference():
    found = compare([tickets(), snip(seed=1)])
    assert found.reference == WINNER
    assert row_of(found, WINNER, 3).difference is None
    assert row_of(found, "snip", 3).difference is None
    assert row_of(found, "random_reinit", 3).difference is not None


def test_one_trial_has_no_interval():
    found = [member(0, arm, n, 0.9) for n, arm in ((0, WINNER), (1, WINNER), (1, "x"))]
    row = row_of(compare([source(found)]), "x", 1)
    columns = row.columns(found_what := compare([source(found)]).what)
    assert found_what.name == "test_accuracy"
    names = ("test_accuracy", "test_low", "difference", "difference_low", "bootstrap_low", "pairs")
    assert [columns[n] for n in names] == [0.9, None, 0, None, None, 1]


def test_a_dense_network_that_studies_share_is_one_row():
    found = compare([tickets(), snip()])
    assert [r.study for r in found.rows if r.level == 0] == ["s-1"]
    other = source([member(t, WINNER, n, 0.5) for n in (0, 1) for t in (0, 1)], "other", "s-4")
    dense = [r.method for r in compare([tickets(), other]).rows if r.level == 0]
    assert sorted(dense) == [DENSE, "other: dense network"]


def test_the_dense_network_is_compared_with_the_reference_where_it_is_shown():
    found = compare([tickets()], levels=[1, 3])
    assert row_of(found, DENSE, 0).reference_level == 3
    assert row_of(found, DENSE, 0).difference.mean == pytest.approx(-0.03)
    first, last = (found.at(d) for d in found.densities)
    assert [r.difference is None for r in first if r.level == 0] == [True]
    assert [r.difference is None for r in last if r.level == 0] == [False]


def test_methods_meet_at_one_density_whatever_the_level():
    one_go = [member(t, WINNER, n, 0.9 + t / 100, density=0.125**n) for n in (0, 1) for t in (0, 1)]
    one_go = source(one_go, "one-go", "s-5")
    found = compare([tickets(), one_go])
    assert found.densities == [0.125]
    assert [(r.method, r.level) for r in found.at(0.125)] == [
        (WINNER, 3), (DENSE, 0), ("one-go", 1), ("random_reinit", 3),
    ]  # fmt: skip
    assert row_of(found, "one-go", 1).reference_level == 3


def test_of_densities_that_are_nearly_one_the_nearest_is_shown():
    near = [member(t, WINNER, n, 0.9 + t / 100, density=d) for t in (0, 1)
            for n, d in enumerate((1.0, 0.131, 0.126, 0.12, 0.118))]  # fmt: skip
    found = compare([tickets(), source(near, "near", "s-6")], levels=[3])
    assert [r.level for r in found.at(0.125) if r.method == "near"] == [2]
    assert row_of(found, "near", 1).reference_level == 3
    assert row_of(found, "near", 4).difference is None  # 0.118 is another density


def test_a_small_network_stands_at_its_level_with_its_own_density():
    small = (r for t in range(3) for r in member(t, "small_dense", 3, 0.8, density=0.11))
    found = compare([tickets()._replace(records=[*tickets().records, *small])])
    (row,) = [r for r in found.at(found.densities[0]) if r.method == "small_dense"]
    assert (row.density, row.level_density, row.weights) == (0.11, 0.125, 88)
    assert row.reference_level == 3


def test_the_density_that_most_methods_have_is_shown_unless_levels_are_asked_for():
    assert compare([tickets(), snip(level=2)]).densities == [0.25]
    assert compare([tickets(), snip()]).densities == [0.125]
    assert compare([tickets()]).densities == [0.125]  # the least on ties
    assert compare([tickets(), snip()], levels=[3, 1]).densities == [0.5, 0.125]
    with pytest.raises(LthError, match="levels=9: the reference, winning_ticket, has levels 1, 2"):
        compare([tickets()], levels=[9])


def test_rows_go_by_density_then_accuracy_and_the_diverged_stand_last():
    records = [*tickets().records, *(r for t in range(3) for r in gone(t, "lost", 3))]
    found = compare([tickets()._replace(records=records), snip()])
    assert [r.method for r in found.rows[:3]] == [DENSE, WINNER, "random_reinit"]
    shown = [r.method for r in found.at(0.125)]
    assert shown == [WINNER, DENSE, "snip", "random_reinit", "lost"]
    lost = row_of(found, "lost", 3)
    assert (lost.trials, lost.diverged, lost.value, lost.cost) == (0, 3, None, None)


def test_what_cannot_be_compared_is_refused_by_name():
    with pytest.raises(LthError, match="s-1: no pruned network yet"):
        compare([source([member(0, WINNER, 0, 0.9)]), snip()])
    dear = [r for r in tickets().records if r.level or r.metric != "training_flops"]
    with pytest.raises(LthError, match="s-1: no training_flops of a dense network"):
        compare([tickets()._replace(records=dear)])


# --- equal total cost -----------------------------------------------------------------------------


def point(method, level, cost, validation, test):
    value = None if test is None else Interval(test, -9, 9, 3)
    return Row(
        method=method, study="s", arm=WINNER, lr=0.1, level=level, level_density=0.5**level,
        density=0.5**level, trials=3, diverged=0, cost=Cost(cost, 0.0, 1.0), validation=validation,
        value=value,
    )  # fmt: skip


POINTS = [
    point("imp", 1, 1.5, 0.97, 0.90), point("imp", 2, 1.75, 0.96, 0.99),
    point("imp", 3, 2.2, 0.98, 0.91), point("snip", 2, 0.26, 0.90, 0.95),
    point("lost", 2, 0.2, None, None),
]  # fmt: skip


def test_validation_chooses_and_never_test():
    found = {(b.row.method, b.budget, b.max_density): b.row.level for b in
             equal_cost(POINTS, [0.5, 0.25], [1, 2, 3])}  # fmt: skip
    assert found == {
        ("snip", 1, 0.5): 2, ("snip", 2, 0.5): 2, ("snip", 3, 0.5): 2,
        ("imp", 2, 0.5): 1, ("imp", 3, 0.5): 3,
        ("snip", 1, 0.25): 2, ("snip", 2, 0.25): 2, ("snip", 3, 0.25): 2,
        ("imp", 2, 0.25): 2, ("imp", 3, 0.25): 3,
    }  # fmt: skip


def test_a_line_says_what_the_chosen_network_gives_and_costs():
    (best,) = [b.row for b in equal_cost(POINTS, [0.5], [2]) if b.row.method == "imp"]
    assert (best.mean, best.validation, best.total_cost) == (0.90, 0.97, 1.5)
    order = [b.row.method for b in equal_cost(POINTS, [0.5], [2])]
    assert order == ["snip", "imp"]  # by test accuracy
    cheaper = [point("a", 1, 1.9, 0.9, 0.8), point("a", 2, 1.2, 0.9, 0.7)]
    assert [b.row.total_cost for b in equal_cost(cheaper, [0.5], [2])] == [1.2]


def test_budgets_are_the_round_numbers_that_buy_something():
    assert budgets_of(POINTS[:4]) == [0.3, 2, 3]
    assert budgets_of([point("a", 1, c, 1, 1) for c in (0.06, 1.0, 9.0, 31.0)]) == [0.1, 1, 10, 50]
    assert budgets_of([]) == []
    found = equal_cost(POINTS, [0.25])
    assert sorted({b.budget for b in found}) == [0.3, 2, 3]


# --- table and figure -----------------------------------------------------------------------------

MANY = ("random_signed_constant", "random_mask_uniform", "small_dense_longer",
        *(f"arm_{n}" for n in range(9)))  # fmt: skip


@pytest.fixture(scope="module")
def crowd():
    """Twenty-seven methods at nearly one accuracy and three costs, and two far below."""
    studies = [tickets()]
    for n, label in enumerate(("magnitude-at-init", "synflow")):
        found = [member(t, WINNER, 0, 0.90 + t / 100) for t in range(3)]
        for k, arm in enumerate((WINNER, *MANY)):
            spent, base = (0.0, 1.0, 1.75)[k % 3], 0.1 if k == 5 else 0.9 + k / 900
            found += [member(t, arm, 3, base + t / 100, search=spent) for t in range(3)]
        studies.append(source(found, label, f"s-{n + 7}"))
    return compare(studies)


def text_of(found, width):
    console = Console(file=StringIO(), width=width)
    best = equal_cost(found.rows, found.densities)
    for table in comparison_tables(found, width) + budget_tables(best, width):
        console.print(table, soft_wrap=True)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_tables_fit_and_hold_their_rows(crowd, width):
    text = text_of(crowd, width)
    lines = text.splitlines()
    if width < 80:  # a title wraps in a terminal, and not here
        lines = [line for line in lines if not line.startswith("best of")]
    assert max(map(len, lines)) <= width and "…" not in text
    for row in crowd.at(0.125):
        half = row.value.high - row.mean
        assert f"{100 * row.mean:.2f} ±{100 * half:.2f}" in text
        if row.difference and row.difference.bounded:
            half = row.difference.high - row.difference.mean
            assert f"{100 * row.difference.mean:+.2f} ±{100 * half:.2f}" in text
        elif row.difference is not None:  # all trials differ by the same: no interval
            assert f"{100 * row.difference.mean:+.2f}" in text
    heads = {"total": 60, "stop": 60, "search": 80, "weights": 120}
    for head, least in heads.items():
        assert (head in text.partition("best of")[0].partition("\n")[2]) == (width >= least), head
    assert "winning_ticket" in legend(crowd) and "1e+03 FLOPs" in legend(crowd)


def test_a_line_of_the_table_is_one_method():
    lines = text_of(compare([tickets(), snip()]), 120).splitlines()
    (line,) = [x for x in lines if x.startswith("snip ") and "12.5 %" in x]
    assert (
        line.split()[1:] == "12.5 % 100 3 91.00 ±6.57 91.00 20 0.12 0.01 0.14 -3.00 ±4.30".split()
    )
    (line,) = [x for x in lines if x.startswith("winning_ticket") and "12.5 %" in x]
    assert line.split()[-1] == "reference"
    assert [x.split()[0] for x in lines[4:8]] == [
        "winning_ticket",
        "dense",
        "snip",
        "random_reinit",
    ]


def test_the_table_says_what_diverged():
    lost = (r for t in range(3) for r in gone(t, "lost", 3))
    records = [*tickets().records, *gone(7, WINNER, 3), *lost]
    text = text_of(compare([tickets()._replace(records=records)]), 80)
    assert "1 diverged" in text
    (line,) = [x for x in text.splitlines() if x.startswith("lost")]
    assert line.split() == ["lost", "0", "diverged"]


def test_the_budget_table_leaves_out_what_is_too_dear():
    found = compare([tickets(), snip()])
    (table,) = budget_tables(equal_cost(found.rows, found.densities), 120)
    assert [c.header for c in table.columns] == ["method", "0.2", "2"]
    rows = list(zip(*(c.cells for c in table.columns), strict=True))
    assert rows[0][:2] == ("winning_ticket", "") and rows[0][2].startswith("[bold]94.00 ±")
    assert rows[1][0] == "snip" and rows[1][1].startswith("[bold]91.00 ±")


def test_the_figure_shows_the_rows_in_order(crowd):
    left = comparison_figure(crowd).axes[0]
    shown = [r for r in crowd.at(0.125) if r.level]
    names = [r.method.replace("_", " ") for r in shown]
    assert [t.get_text() for t in left.get_yticklabels()] == names
    low = left.get_xlim()[0]
    kept = [r for r in shown if 100 * r.mean > low]
    assert 0 < len(shown) - len(kept) <= 2  # two far below, as numbers at the edge
    far = {f"{100 * r.mean:.1f}" for r in shown if r not in kept}
    assert {t.get_text() for t in left.texts} == far
    drawn = [(c.lines[0].get_xdata()[0], c.lines[0].get_ydata()[0]) for c in left.containers]
    assert drawn == [(pytest.approx(100 * r.mean), shown.index(r)) for r in kept]
    ends = [c.lines[2][0].get_segments()[0][:, 0].tolist() for c in left.containers]
    assert ends == [pytest.approx([100 * r.value.low, 100 * r.value.high]) for r in kept]
    own = left.get_yticklabels()[names.index("winning ticket")]
    assert to_hex(own.get_color()).upper() == COLOURS[0] and own.get_weight() == "bold"
    plain = [t for t in left.get_yticklabels() if t.get_color() == grey(0.35)]
    assert 29 - len(plain) < len(COLOURS) and own not in plain  # those that no cheaper one beats


def test_the_figure_has_a_line_per_method_and_a_band_for_the_dense_network():
    found = compare([tickets(), snip()])
    left, right = comparison_figure(found).axes
    dense = row_of(found, DENSE, 0)
    (band,) = left.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx(
        (100 * dense.value.low, 100 * dense.value.high)
    )
    line = next(x for x in right.lines if len(x.get_xdata()) == 3)
    costs = [row_of(found, WINNER, n).total_cost for n in (1, 2, 3)]
    assert sorted(line.get_xdata()) == pytest.approx(sorted(costs))
    assert right.get_xscale() == "log"
    diamond = next(x for x in right.lines if x.get_marker() == "D")
    assert list(diamond.get_xdata()) == [1.0]


def test_no_label_covers_another_or_leaves_the_figure(crowd):
    figure = comparison_figure(crowd)
    right = figure.axes[1]
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(t).shrunk(1.0, 0.7) for t in right.texts]  # without its line
    assert len(boxes) == 29
    panel = right.get_window_extent()
    for n, box in enumerate(boxes):
        assert panel.x1 <= box.x0 and box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[n + 1 :]), right.texts[n]


def test_labels_stand_at_their_points_where_there_is_room():
    assert spread([0.9, 0.5, 0.1], 0.1) == pytest.approx([0.9, 0.5, 0.1])
    assert spread([0.5, 0.5, 0.5], 0.25) == [0.75, 0.5, 0.25]
    assert spread([1.0, 1.0, 0.5], 0.25) == [1.0, 0.75, 0.5]
    assert spread([0.0, 0.0], 0.25) == [0.25, 0.0]


def test_long_names_leave_the_panels_their_room():
    long = "x" * 60
    figure = comparison_figure(compare([tickets(), snip(label=long)]))
    left, right = figure.axes
    short = "x" * (LONGEST - 1) + "\N{HORIZONTAL ELLIPSIS}"
    assert short in [t.get_text() for t in left.get_yticklabels()]
    assert short in [t.get_text() for t in right.texts]
    assert left.get_window_extent().width > 3 * figure.dpi


@pytest.mark.parametrize("levels", [None, [1, 3]])
def test_the_same_rows_give_the_same_picture(tmp_path, levels):
    found = compare([tickets(), snip()], levels)
    one, two = (save(comparison_figure(found), tmp_path / f"{n}.png").read_bytes() for n in "ab")
    assert one == two and one.startswith(b"\x89PNG")


# --- studies on disk ------------------------------------------------------------------------------


def folder(root, name, records=None, **changes):
    """A study's folder, written by hand."""
    config = compose(name=name) | changes
    path = root / study_id(config)
    path.mkdir(parents=True)
    from omegaconf import OmegaConf

    (path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    write_csv(path / "records.csv", tickets().records if records is None else records)
    return path


ARMS = {n: {"copies": 1, "_target_": f"lth.arms.{n}"}
        for n in (WINNER, "random_reinit", "random_mask")}  # fmt: skip


def test_patterns_find_each_study_once_the_one_with_most_arms_first(tmp_path, monkeypatch):
    started = snip().records  # more arms are asked for than have records yet
    a = folder(tmp_path / "x", "c-a", started, arms=ARMS)
    b = folder(tmp_path / "x", "c-b")
    c = folder(tmp_path / "x", "other", seed=3)
    (tmp_path / "x" / "c-notes.txt").write_text("no folder, so not meant")
    monkeypatch.chdir(tmp_path)
    assert [s.id for s in find(["x/c-*"])] == [b.name, a.name]
    assert [s.id for s in find("x/c-*")] == [b.name, a.name]
    assert [s.id for s in find([f"x/{a.name}", "x/*", str(c)])] == [a.name, b.name, c.name]
    assert name_of(find("x/c-*")) == "c" and name_of(find("x/*")) == "studies"
    assert name_of(find(str(c))) == "other"


def test_what_is_no_study_is_refused_by_name(tmp_path, monkeypatch):
    path = folder(tmp_path / "x", "c-a")
    (tmp_path / "x" / "c-empty").mkdir()
    folder(tmp_path / "y", "c-a")
    monkeypatch.chdir(tmp_path)
    for patterns, words in (
        (["x/z-*"], "studies: x/z-*: it matches no folder"),
        (["x/none"], "studies: x/none: there is no such folder"),
        (["x/c-*"], "x/c-empty: not a study's folder"),
        ([f"x/{path.name}", f"y/{path.name}"], "the same study as"),
        (None, "studies=None: name folders or patterns"),
        ([], "name folders or patterns"),
        ([3], "name folders or patterns"),
    ):  # fmt: skip
        with pytest.raises(LthError) as caught:
            find(patterns)
        assert words in str(caught.value) and "\n" not in str(caught.value)


def test_studies_of_other_data_or_another_model_are_refused(tmp_path):
    first = folder(tmp_path, "c-a")
    base = compose(name="x")
    other = folder(tmp_path, "c-b", data=base["data"] | {"validation": 100})
    with pytest.raises(LthError, match=r"c-b-\w+: data.validation=100 not 200 as in c-a-\w+: only"):
        fit(find([str(first), str(other)]))
    wide = folder(tmp_path, "c-c", model=base["model"] | {"widths": [30, 10]})
    with pytest.raises(LthError, match=r"model.widths=\[30, 10\] not \[300, 100\] .* one model"):
        fit(find([str(first), str(wide)]))
    elsewhere = folder(tmp_path, "c-d", data=base["data"] | {"root": "/elsewhere"})
    assert fit(find([str(first), str(elsewhere)])) == []


def test_what_differs_otherwise_is_said(tmp_path):
    recipe = compose()["recipe"]
    first = folder(tmp_path, "c-a")
    short = folder(tmp_path, "c-b", recipe=recipe | {"steps": 300})
    seeded = folder(tmp_path, "c-c", seed=1)
    partial_ = folder(tmp_path, "c-d", arms=ARMS)
    found = fit(find([str(p) for p in (first, short, seeded, partial_)]))
    assert [note.partition(": ")[2] for note in found] == [
        f"recipe.steps=300 not 600 as in {first.name} (dense runs are those of the latter)",
        f"seed=1 not 0 as in {first.name}: other trials, so its rows are not paired",
        "no records of random_mask yet",
    ]
    assert fit(find([str(first)])) == []


def test_sources_count_the_weights_where_the_model_can_be_built(tmp_path):
    path = folder(tmp_path, "c-a", model={"_target_": "lth.models.lenet", "input_shape": [1, 8, 8],
                                          "classes": 10, "widths": [20, 10]})  # fmt: skip
    (found,) = sources([find([str(path)])])
    assert found[:3] == ("", path.name, 64 * 20 + 20 * 10 + 10 * 10)
    for model in ({"_target_": "no.such.module"}, {"_target_": "lth.models.lenet"}):
        (found,) = sources([find([str(folder(tmp_path, "c-b", model=model))])])
        assert found.weights is None


def asked(*names, reference=None, **kept):
    """Compare studies of these names in their order; what is said, and what is found."""
    groups = pooled(find([str(kept[n]) for n in names]))
    chosen = choose(groups, reference)
    groups.sort(key=lambda group: group is not chosen.group)
    return chosen.words, compare(sources(groups, chosen.plain), None, chosen.arm)


def kinds(root):
    """Studies of GraSP, SNIP, learning-rate rewinding and iterative magnitude pruning."""
    alike = {
        "score": {"_target_": "lth.pruning.score.grasp"},
        "search": {"_target_": "lth.pruning.search.at_init"},
    }
    late = {"rewind": {"_target_": "lth.pruning.rewind.learning_rate"}}
    return {
        "grasp": folder(root, "c-grasp", **alike),
        "snip": folder(root, "c-snip", **alike | {"score": {"_target_": "lth.pruning.score.snip"}}),
        "late": folder(root, "c-late", **late),
        "tickets": folder(root, "c-tickets"),
    }


def test_the_reference_is_the_ticket_of_iterative_magnitude_pruning(tmp_path):
    """Not the first in the alphabet, which is GraSP."""
    kept = kinds(tmp_path)
    words, found = asked("grasp", "late", "snip", "tickets", **kept)
    assert found.reference == WINNER and "reference: winning_ticket of c-tickets-" in words
    assert "iterative magnitude pruning" in words
    assert {"grasp", "snip", "late", "grasp, random_reinit"} < {*found.methods}


def test_where_it_must_be_guessed_it_is_said_and_nobody_loses_its_name(tmp_path):
    kept = kinds(tmp_path)
    words, found = asked("grasp", "snip", **kept)
    assert words == (
        f"reference: winning_ticket of {kept['grasp'].name} (the first; no study is iterative "
        "magnitude pruning; reference=STUDY/ARM names another)"
    )
    assert found.reference == "grasp" and WINNER not in found.methods
    assert {*found.methods} == {"grasp", "grasp, random_reinit", "snip", "snip, random_reinit"}
    other = folder(
        tmp_path, "c-more", prune={"_target_": "lth.pruning.rules.globally", "rate": 0.5}
    )
    words, found = asked("tickets", "more", **kept, more=other)
    assert "the first of 2 with iterative magnitude pruning" in words
    assert found.reference == "tickets" and "more" in found.methods


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("c-snip", "snip"), ("c-snip/random_reinit", "snip, random_reinit"),
     ("random_reinit", "random_reinit"), ("c-ti", WINNER), ("c-ti/random_reinit", "random_reinit"),
     ("{snip}", "snip")],
)  # fmt: skip
def test_a_reference_is_named_by_study_arm_or_both(tmp_path, wanted, name):
    kept = kinds(tmp_path)
    names = {n: p.name for n, p in kept.items()}
    words, found = asked("grasp", "snip", "tickets", reference=wanted.format(**names), **kept)
    assert found.reference == name and words.startswith("reference: ")
    assert row_of(found, found.reference, 3).difference is None
    assert all(r.reference_level for r in found.rows if r.method != found.reference if r.level)


def test_a_reference_that_is_not_there_is_refused_by_name(tmp_path):
    kept = kinds(tmp_path)
    for wanted, words in (
        (
            "c-snap",
            r"reference=c-snap: no such study, and no such arm of c-tickets-\w+; there are c-gra",
        ),
        ("c-snap/x", "reference=c-snap/x: no such study"),
        ("c-snip/winnig_ticket", "has no pruned winnig_ticket; did you mean winning_ticket"),
        ("c-", "reference=c-: several studies are named so: "),
    ):
        with pytest.raises(LthError, match=words):
            asked("grasp", "snip", "tickets", reference=wanted, **kept)


def test_studies_that_differ_in_seed_alone_are_pooled(tmp_path):
    """More trials of one study, and said so; each is paired with the trial of its own seed."""
    low = [r._replace(value=r.value - 0.1) if r.metric == "accuracy" else r for r in snip().records]
    paths = [folder(tmp_path, "c-tickets", seed=n) for n in (0, 1, 2)]
    paths += [folder(tmp_path, "c-snip", low, seed=n, score={"_target_": "lth.pruning.score.snip"})
              for n in (1, 2)]  # fmt: skip
    groups = pooled(find([str(p) for p in paths]))
    assert [len(g) for g in groups] == [3, 2]
    (tickets_note, snip_note) = pool_notes(groups)
    assert tickets_note.endswith("pooled, as they differ in seed alone (0, 1, 2): more trials of "
                                 "one study")  # fmt: skip
    assert "c-snip-" in snip_note
    notes = fit([s for g in groups for s in g], {0, 1, 2})
    assert not [note for note in notes if "paired" in note]
    found = compare(sources(groups))
    assert row_of(found, WINNER, 3).trials == 9
    row = row_of(found, "snip", 3)
    assert (row.trials, row.difference.n) == (6, 6) and row.study.count(" + ") == 1
    values = [0.78 - 0.93, 0.82 - 0.94, 0.83 - 0.95] * 2
    assert row.difference.mean == pytest.approx(sum(values) / 6)


def test_what_differs_otherwise_too_is_not_pooled(tmp_path):
    recipe = compose()["recipe"]
    paths = [
        folder(tmp_path, "c-a"),
        folder(tmp_path, "c-a", seed=1, recipe=recipe | {"steps": 300}),
        folder(tmp_path, "c-b", seed=2),
        folder(tmp_path, "c-a", seed=3, arms={WINNER: ARMS[WINNER], "random_reinit":
               {"_target_": "lth.arms.random_reinit", "signed": True, "copies": 1}}),
        folder(tmp_path, "c-a", seed=4, arms={WINNER: ARMS[WINNER]}),
    ]  # fmt: skip
    groups = pooled(find([str(p) for p in paths]))
    assert [[s.config["seed"] for s in g] for g in groups] in ([[0, 4], [1], [2], [3]],
                                                              [[0], [1, 4], [2], [3]])  # fmt: skip


def test_studies_are_no_part_of_what_a_study_is():
    assert study_id(compose(name="a")) == study_id(compose(name="a") | {"studies": ["x"]})


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Two tiny studies of one data set and model."""
    root = tmp_path_factory.mktemp("compare") / "out"
    settings = SETTINGS | {"out": str(root), "recipe": SETTINGS["recipe"] | {"steps": 10}}
    run_study(**settings | {"name": "compare-tickets"})
    alone = settings | {"arms": ["winning_ticket"]}
    run_study(
        **alone | {"name": "compare-snip", "score": "snip", "search": "at_init", "levels": [2]}
    )
    other = partial(SETTINGS["data"].func, validation=20)
    run_study(**alone | {"name": "odd", "data": other, "levels": 1})
    return root


def command(monkeypatch, folder, *arguments):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "argv", ["lth", *arguments])
    cli.main()


def test_the_command_compares_without_data_or_training(out, tmp_path, monkeypatch, capsys):
    before = sorted((out / "store").rglob("*"))
    command(
        monkeypatch, tmp_path, "action=compare", f"studies=[{out}/studies/compare-*]",
        "data=mnist", "data.root=/no/such/folder", "model=conv2",
    )  # fmt: skip
    text = capsys.readouterr().out
    assert sorted((out / "store").rglob("*")) == before
    assert "out/compare/compare/compare.csv" in text and "out/compare/compare/compare.png" in text
    assert text.rstrip().endswith("trained 0 members, reused 14")
    folder = tmp_path / "out" / "compare" / "compare"
    names = {p.name for p in folder.iterdir()}
    assert names == {"compare.csv", "equal_cost.csv", "compare.png", "provenance.json"}
    with open(folder / "compare.csv") as file:
        rows = list(csv.DictReader(file))
    methods = {(r["method"], r["level"]) for r in rows}
    assert methods == {
        (DENSE, "0"), (WINNER, "1"), (WINNER, "2"), ("random_reinit", "1"), ("random_reinit", "2"),
        ("snip", "2"),
    }  # fmt: skip
    snip = next(r for r in rows if r["method"] == "snip")
    assert (snip["trials"], snip["pairs"], snip["reference_level"]) == ("2", "2", "2")
    assert (
        float(snip["total_cost"])
        < 1
        < float(next(r for r in rows if (r["method"], r["level"]) == (WINNER, "2"))["total_cost"])
    )
    with open(folder / "equal_cost.csv") as file:
        best = list(csv.DictReader(file))
    assert {b["method"] for b in best} == {WINNER, "random_reinit", "snip"}


def test_the_command_takes_levels_and_a_name(out, tmp_path, monkeypatch, capsys):
    wanted = f"studies={out}/studies/compare-t*"
    command(monkeypatch, tmp_path, "action=compare", wanted, "levels=[1]", "name=mine")
    text = capsys.readouterr().out
    assert "at 82 %" in text and "at 67 %" not in text and "out/compare/mine/compare.csv" in text


BAD = {
    "studies=[out/studies/no-*]": "error: studies: out/studies/no-*: it matches no folder",
    "studies=null": "error: studies=None: name folders or patterns",
    "studies=[{out}/studies/*]": "data.validation=",
    "studies=[{out}/store]": "not a study's folder",
    "levels=[7]": "error: levels=7: the reference, winning_ticket, has levels 1, 2",
    "name=a/b": "error: name='a/b'",
    "out=/dev/null/x": "cannot write there",
    "action=clean": "error: studies: action=clean takes them as clean.studies=[...]",
    "action=run": "error: studies: they are compared, not run: add action=compare",
    "reference=nothing": "error: reference=nothing: ",
}


def test_bad_input_is_one_line(out, tmp_path, monkeypatch, capsys):
    for argument, words in BAD.items():
        given = ["action=compare", f"studies=[{out}/studies/compare-*]", argument.format(out=out)]
        with pytest.raises(SystemExit) as caught:
            command(monkeypatch, tmp_path, *given)
        err = capsys.readouterr().err
        assert caught.value.code == 1, argument
        assert words in err and err.count("\n") == 1, (argument, err)
    assert not (tmp_path / "out").exists()
