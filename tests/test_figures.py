"""The figures show the records' own numbers, and their legends hide none of them."""

import io

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lth.figures import curves_figure, draw, save, tickets_figure
from lth.figures.style import percent
from lth.records import Record
from lth.statistics import EARLY, Cell, curve_means, summarise
from tests.synthetic import REINIT, SIX_ARMS, WINNER, study

CASES = {
    "two arms": {},
    "three rates": {"rates": (0.0002, 0.0012, 0.004)},
    "one trial": {"trials": 1},
    "six arms": {"arms": SIX_ARMS},
    "diverged": {"diverged": {(t, 0, 0.0012, REINIT, 3) for t in range(5)}},
}


def lines_of(ax):
    """Data of the lines that are labelled by an arm."""
    return {c.get_label(): c.lines[0].get_ydata().tolist() for c in ax.containers}


@pytest.mark.parametrize("case", CASES)
def test_points_are_the_means(case):
    records, _ = study(**{"levels": 4, **CASES[case]})
    summaries = summarise(records)
    rates = sorted({r.lr for r in records})
    axes = tickets_figure(records).axes
    assert len(axes) == 3 * len(rates)
    for p, (name, factor) in enumerate(
        ((EARLY, 1), ("test_accuracy", 100), ("test_accuracy_end", 100))
    ):
        for column, lr in enumerate(rates):
            ax = axes[p * len(rates) + column]
            for arm in dict.fromkeys(r.arm for r in records):
                cells = [Cell(lr, WINNER if n == 0 else arm, n) for n in range(5)]
                values = [summaries[c].values for c in cells]
                means = [factor * v[name].mean for v in values if v]
                assert lines_of(ax)[arm.replace("_", " ")] == pytest.approx(means)


def test_bars_run_from_the_least_to_the_greatest():
    records, _ = study(levels=2)
    ax = tickets_figure(records).axes[0]
    segments = ax.containers[0].lines[2][0].get_segments()
    found = [s[:, 1].tolist() for s in segments]
    values = [summarise(records)[Cell(0.0012, WINNER, n)].values[EARLY] for n in range(3)]
    assert found == [pytest.approx([v.low, v.high]) for v in values]
    assert not tickets_figure(study(trials=1)[0]).axes[0].containers[0].has_yerr


def test_the_density_axis_runs_down_and_names_densities_that_there_are():
    records, _ = study(levels=15)
    ax = tickets_figure(records).axes[0]
    left, right = ax.get_xlim()
    assert left > 100 > right
    assert ax.get_xscale() == "log"
    ticks = ax.get_xticks().tolist()
    assert {round(t, 9) for t in ticks} <= {round(100 * r.density, 9) for r in records}
    assert ticks[0] == 100
    assert [percent(t) for t in (100, 51.28, 3.58, 0.421)] == ["100", "51.3", "3.6", "0.42"]


def test_the_dense_network_is_a_dashed_line():
    records, _ = study()
    (line,) = [x for x in tickets_figure(records).axes[1].lines if x.get_label() == "dense network"]
    dense = summarise(records)[Cell(0.0012, WINNER, 0)].values["test_accuracy"]
    assert list(line.get_ydata()) == pytest.approx([100 * dense.mean] * 2)
    assert line.get_linestyle() == "--"


def test_arms_far_below_leave_the_panel_but_tickets_never():
    records = [
        r._replace(value=r.value / 2) if r.arm == REINIT and r.metric == "accuracy" else r
        for r in study()[0]
    ]
    bottom, top = tickets_figure(records).axes[1].get_ylim()
    values = [r.value * 100 for r in records if (r.arm, r.split) == (WINNER, "test")
              and r.metric == "accuracy"]  # fmt: skip
    assert bottom > 90
    assert bottom < min(values) and max(values) < top


@pytest.mark.parametrize("case", CASES)
def test_no_legend_covers_a_panel(case):
    records, curves = study(**{"levels": 6, **CASES[case]})
    for figure in (tickets_figure(records), curves_figure(curves, records)):
        FigureCanvasAgg(figure).draw()
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 + 1
        assert not any(box.overlaps(ax.get_window_extent()) for ax in figure.axes)


def test_curves_are_the_means_of_the_levels_nearest_the_papers_densities():
    records, curves = study(levels=18)
    left, right = curves_figure(curves, records).axes
    means = curve_means(r for r in curves if r.metric == "accuracy")
    levels = (0, 3, 7, 12, 15, 18)  # 100, 51.2, 21.0, 6.9, 3.5 and 1.8 percent
    expected = [
        [100 * v for m, v in means.items() if (m.arm, m.level) == (WINNER, n)] for n in levels
    ]
    assert [list(x.get_ydata()) for x in left.lines] == [pytest.approx(e) for e in expected]
    dashed = [x for x in right.lines if x.get_linestyle() == "--"]
    reinit = [100 * v for m, v in means.items() if (m.arm, m.level) == (REINIT, 3)]
    assert list(dashed[0].get_ydata()) == pytest.approx(reinit)
    assert left.get_ylabel() == "validation accuracy (%)"


def test_curves_show_test_accuracy_where_it_was_measured_on_the_way():
    records, curves = study(levels=2, splits=("validation", "test"))
    ax = curves_figure(curves, records).axes[0]
    dense = [r.value for r in curves if r.level == 0 and r[8:10] == ("test", "accuracy")]
    first = [100 * sum(dense[i :: len(dense) // 5]) / 5 for i in range(3)]
    assert list(ax.lines[0].get_ydata())[:3] == pytest.approx(first)
    assert ax.get_ylabel() == "test accuracy (%)"


def test_curves_leave_diverged_members_out():
    whole, curves = study(trials=2, levels=1)
    gone = (1, 0, 0.0012, WINNER, 0)
    records, cut = study(trials=2, levels=1, diverged={gone})
    alone = [100 * r.value for r in curves if r.level == 0 and r.trial == 0
             and r.metric == "accuracy"]  # fmt: skip
    shown = curves_figure(cut, records).axes[0].lines[0].get_ydata()
    assert list(shown) == pytest.approx(alone)
    assert list(curves_figure(curves, whole).axes[0].lines[0].get_ydata()) != list(shown)


def test_draw_writes_what_there_is_to_show(tmp_path):
    records, curves = study(trials=2, levels=2)
    found = draw(records, curves, tmp_path / "figures")
    assert [p.name for p in found] == ["tickets.png", "curves.png"]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in found)
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == ["curves.png", "tickets.png"]
    assert [p.name for p in draw(records, [], tmp_path)] == ["tickets.png"]
    gone = Record("s", 0, 0, 0.1, WINNER, 0, 1.0, 3, "train", "diverged", 3.0)
    assert draw([gone], [], tmp_path) == []


def test_a_dense_network_alone_can_be_drawn(tmp_path):
    records, curves = study(trials=1, levels=0)
    assert len(draw(records, curves, tmp_path)) == 2


def test_the_same_records_give_the_same_bytes(tmp_path):
    records, _ = study(trials=2, levels=2)
    one, two = (save(tickets_figure(records), tmp_path / f"{n}.png").read_bytes() for n in "ab")
    assert one == two
    assert io.BytesIO(one).read(4) == b"\x89PNG"
