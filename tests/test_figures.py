"""The figures show the records' own numbers, and their legends hide none of them."""

import io

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lth.measured import Measured
from lth.records.record import Record
from lth.records.statistics import EARLY, Cell, curve_means, summarise
from lth.results.analysis.lines import Point
from lth.results.analysis.structure import Wiring
from lth.results.analysis.table import Row
from lth.results.analysis.tickets import Drawn, Tickets
from lth.results.figures import FigureOptions, Sheet, curves_figure, draw, save, tickets_figure
from lth.results.figures.analysis import analysis_figure, level_means
from lth.results.figures.connections import connections_figure
from lth.results.figures.connectivity import connectivity_figure
from lth.results.figures.layers import layers_figure
from lth.results.figures.pictures import draw_analysis
from lth.results.figures.style import percent
from lth.results.figures.survivors import survivors_figure
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


def test_an_arm_with_half_again_the_loss_stays_in_the_panel():
    records, _ = study(levels=6)
    as_loss = [
        r._replace(metric="mse", value=1e-4 * (1 - r.value)) if r.metric == "accuracy" else r
        for r in records
    ]
    for ax in tickets_figure(as_loss, Measured("mse", False)).axes[1:]:
        low, high = ax.get_ylim()
        values = lines_of(ax)["random reinit"]
        assert max(values) > 1.2 * values[0]
        assert all(low < v < high for v in values)


@pytest.mark.parametrize("width", [3.3, 6.8, None])
def test_titles_of_panels_stay_in_the_figure(width):
    arms = (WINNER, "an_arm_whose_name_says_all_that_was_done_to_it", "x", "y")
    records, curves = study(trials=1, levels=3, arms=arms)
    figure = curves_figure(curves, records, sheet=Sheet(FigureOptions(width=width)))
    assert figure is not None
    FigureCanvasAgg(figure).draw()
    for ax in figure.axes:
        box = ax.title.get_window_extent()
        assert box.x0 > 0 and box.x1 < figure.bbox.x1


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


def test_the_best_of_the_trials_stays_in_the_panel_of_curves():
    records, curves = study()
    lucky = [c._replace(value=c.value + 0.06) if c.trial == 0 else c for c in curves]
    ax = curves_figure(lucky, records).axes[0]
    highest = max(y for band in ax.collections for p in band.get_paths() for _, y in p.vertices)
    assert highest < ax.get_ylim()[1]


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


def rows_of(measures, arm=WINNER, layer="", level=1, trials=2):
    return [
        Row("s", t, 0, 0.1, arm, level, 0.5**level, layer, name, value + 0.1 * t)
        for name, value in measures.items()
        for t in range(trials)
    ]


def points_of(
    errors, kind="instability", arm="sgd_noise", level=1, norms="", trial=0, split="test"
):
    alphas = np.linspace(0, 1, len(errors))
    where = ("s", trial, 0, 0.1, arm, level, 0.5**level, kind, WINNER, norms)
    return [Point(*where, a, split, e, 2 * e) for a, e in zip(alphas, errors, strict=True)]


def masks_of(*layers):
    """A ticket's picture of layers, each given by its rows."""
    drawn = {f"w{n}.weight": torch.tensor(rows).bool() for n, rows in enumerate(layers)}
    kept = sum(int(m.sum()) for m in drawn.values()) / sum(m.numel() for m in drawn.values())
    return Drawn(kept, drawn)


def tickets_of(*drawn, pixels="w0.weight", wirings=None):
    initial = {
        n: torch.linspace(-1, 1, m.numel()).reshape(m.shape) for n, m in drawn[0].mask.items()
    }
    return Tickets(0, 0.1, list(drawn), initial, wirings or {}, pixels, (1, 2, 2))


FOUR = [[1, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]]
TWO = [[1, 0, 1], [1, 0, 0]]


def test_an_analysis_draws_means_and_a_line_for_chance_in_grey():
    rows = [r for n in (1, 2) for r in rows_of({"overlap_with_trial_0": 0.4 / n,
            "chance_overlap": 0.2 / n}, level=n)]  # fmt: skip
    rows += rows_of({"test_instability": 0.01, "test_instability_recalibrated": 0.02}, "sgd_noise")
    rows += rows_of({"density": 0.5}, layer="fc1.weight")
    rise, overlap = analysis_figure(rows).axes
    assert [list(x.get_ydata()) for x in rise.lines] == [pytest.approx([6]), pytest.approx([7])]
    assert [x.get_linestyle() for x in rise.lines] == ["-", "--"]
    masks, chance = overlap.lines
    assert list(masks.get_ydata()) == pytest.approx([0.45, 0.25])
    assert list(masks.get_xdata()) == [50, 25]
    assert (chance.get_label(), chance.get_color()) == ("by chance", (0.55, 0.55, 0.55))


def test_a_levels_densities_are_averaged_where_they_differ():
    one, other = rows_of({"sign_agreement": 0.5}, "supermask", level=2)
    found = level_means([one._replace(density=0.52), other._replace(density=0.48)])
    assert found == [(pytest.approx(0.5), pytest.approx(0.55))]
    dense = [one._replace(density=1.0), other._replace(density=1.0, level=3)]
    assert level_means([one, *dense]) == [(1.0, pytest.approx(0.55)), (0.25, 0.5)]


def test_arms_with_the_tickets_own_mask_are_not_news():
    both = {"overlap_with_ticket": 1.0, "chance_overlap_with_ticket": 0.2}
    rows = rows_of(both, REINIT, trials=1)
    assert analysis_figure(rows) is None
    rows += rows_of(both | {"overlap_with_ticket": 0.3}, "random_mask", trials=1)
    (ax,) = analysis_figure(rows).axes
    assert [x.get_label() for x in ax.lines] == ["random mask", "by chance"]


def test_connectivity_is_the_mean_over_pairs_and_the_range_is_shaded():
    points = points_of((0.1, 0.3, 0.2)) + points_of((0.2, 0.5, 0.2), trial=1)
    points += points_of((0.0, 0.1, 0.0), split="train")
    points += points_of((0.1, 0.2, 0.2), norms="recalibrated")
    points += points_of((0.4, 0.4, 0.4), kind="level", arm=WINNER)
    child, level = connectivity_figure(points).axes
    test, train, recalibrated = (list(x.get_ydata()) for x in child.lines)
    assert test == pytest.approx([15, 40, 20]) and train == pytest.approx([0, 10, 0])
    assert recalibrated == pytest.approx([10, 20, 20])
    assert child.lines[2].get_linestyle() == "--"
    band = child.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(50) and band[:, 1].min() == pytest.approx(10)
    assert len(child.collections) == 2  # what is recalibrated is not shaded
    assert list(level.lines[0].get_ydata()) == pytest.approx([40, 40, 40])
    assert child.get_ylabel() == "sgd noise\nerror (%)"
    assert child.get_title() == "50.0 % of the weights"


def test_connectivity_shows_a_handful_of_densities_on_one_scale():
    points = [p for n in range(1, 13) for p in points_of((0.1, 0.05 * n, 0.1), level=n)]
    points += points_of((0.1, 0.1, 0.1), kind="level", arm=WINNER)
    axes = connectivity_figure(points).axes
    assert len(axes) == 10 and [ax.get_visible() for ax in axes[5:]] == [True] + [False] * 4
    assert len({ax.get_ylim() for ax in axes[:5]}) == 1
    assert axes[4].get_title() == "0.024 %"


def test_layers_that_have_the_same_densities_share_a_panel():
    rows = []
    for arm in (WINNER, REINIT, "random_mask"):
        for level in (1, 2):
            rest = 0.9 if arm == "random_mask" else 0.4
            rows += rows_of({"density": rest**level}, arm, "fc1.weight", level, trials=1)
    rows += rows_of({"density": 0.4**2}, "freeze", "fc1.weight", 2, trials=1)  # at one level only
    rows += rows_of({"density": 1.0}, "small_dense", "fc1.weight", trials=1)
    shared, alone = layers_figure(rows).axes
    assert shared.get_title() == "winning ticket, random reinit, freeze"
    assert alone.get_title() == "random mask"
    layer = shared.lines[1]
    assert layer.get_label() == "fc1"
    assert list(layer.get_xdata()) == pytest.approx([50, 25])
    assert list(layer.get_ydata()) == pytest.approx([40, 16])
    assert layers_figure(rows_of({"density": 1.0}, layer="fc1.weight", trials=1)) is None


def test_connections_are_counted_by_pixel_and_unit():
    figure = connections_figure(tickets_of(masks_of(FOUR, TWO)))
    picture, first, second = (ax for ax in figure.axes if ax.get_label() != "<colorbar>")
    assert picture.images[0].get_array().tolist() == [[1, 0], [2, 3]]
    into, out = first.patches
    # Units have 3, 2 and 1 of their 4 connections, inputs 1, 0, 2 and 3 of their 3.
    assert into.get_data().edges.tolist() == pytest.approx([-12.5, 12.5, 37.5, 62.5, 87.5])
    assert into.get_data().values.tolist() == pytest.approx([0, 4 / 3, 4 / 3, 4 / 3])
    assert out.get_data().values.tolist() == pytest.approx([0.75] * 4)
    for patch in (*first.patches, *second.patches):
        values, edges, _ = patch.get_data()
        assert (values * np.diff(edges)).sum() == pytest.approx(100)


def test_connections_of_other_networks_have_no_picture():
    wide = masks_of([[0, 1, 1, 0]] * 6)
    flat = connections_figure(tickets_of(wide, pixels=None))
    assert len(flat.axes) == 1 and not flat.axes[0].images
    turned = {"w0.weight": Wiring(transposed=True)}
    (ax,) = connections_figure(tickets_of(wide, pixels=None, wirings=turned)).axes
    into, out = (p.get_data() for p in ax.patches)
    assert (len(into.values), len(out.values)) == (7, 3)  # 0 or 6 of 6; 2 of 4
    many = connections_figure(tickets_of(masks_of(*[TWO] * 22), pixels=None))
    names = [ax.get_ylabel().split("\n")[0] for ax in many.axes]
    assert len(names) == 10 and (names[0], names[-1]) == ("w0", "w21")
    assert "10 of 22 layers" in many.legends[0].get_title().get_text()


def test_survivors_are_shares_of_what_each_ticket_keeps():
    found = tickets_of(masks_of([[1, 1, 0, 0, 0, 1]]), masks_of([[0, 0, 0, 0, 0, 1]]))
    (ax,) = survivors_figure(found).axes
    whole, some, one = (p.get_data().values for p in ax.patches)
    assert [v[v > 0].tolist() for v in (whole, some, one)] == [
        pytest.approx([100 / 6] * 6), pytest.approx([100 / 3] * 3), [100]
    ]  # fmt: skip
    assert one[-1] == 100 and len(one) == 30


@pytest.mark.parametrize("name", ["connectivity", "connections", "survivors", "layers"])
def test_no_legend_of_an_analysis_covers_a_panel(name):
    found = tickets_of(masks_of(FOUR, TWO), masks_of(FOUR, [[1, 0, 0], [0, 0, 0]]))
    rows = [r for n in (1, 2) for r in rows_of({"density": 0.4**n}, layer="fc1.weight", level=n)]
    figure = {
        "connectivity": lambda: connectivity_figure(points_of((0.1, 0.3, 0.1))),
        "connections": lambda: connections_figure(found),
        "survivors": lambda: survivors_figure(found),
        "layers": lambda: layers_figure(rows),
    }[name]()
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert not any(box.overlaps(ax.get_window_extent()) for ax in figure.axes)


def test_an_analysis_draws_what_there_is_to_show(tmp_path):
    found = tickets_of(masks_of(FOUR, TWO))
    rows = rows_of({"sign_agreement": 0.5})
    names = [p.name for p in draw_analysis(rows, [], found, tmp_path)]
    assert names == ["analysis.png", "connections.png", "survivors.png", "masks.png"]
    points = points_of((0.1, 0.2, 0.1))
    assert [p.name for p in draw_analysis([], points, None, tmp_path)] == ["connectivity.png"]
    assert draw_analysis([], [], None, tmp_path) == []
