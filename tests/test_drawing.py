"""Whatever the records are, figures and tables can be made, and say each arm's own numbers."""

import random
import re

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as some
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lth.errors import LthError
from lth.records.record import Record
from lth.records.statistics import percent, summarise
from lth.records.table import render
from lth.records.verdict import verdict
from lth.results.analysis.lines import Point
from lth.results.analysis.table import Row
from lth.results.analysis.tickets import Drawn, Tickets, spread_out
from lth.results.compare.budget import equal_cost
from lth.results.compare.rows import compare
from lth.results.compare.studies import Source
from lth.results.compare.table import budget_tables, comparison_tables
from lth.results.figures import analysis as drawn_analysis
from lth.results.figures import compare as drawn_compare
from lth.results.figures import curves_figure, draw, tickets_figure
from lth.results.figures import sheet as drawn_sheet
from lth.results.figures.curves import densities
from lth.results.figures.ladder import REACH, Ladder, dodge
from lth.results.figures.pictures import draw_analysis
from lth.results.figures.sheet import Sheet
from lth.results.figures.style import COLOURS, looks
from tests.synthetic import WINNER, study

FEW = settings(
    max_examples=8, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate]
)
"""A figure takes a second: what fails is not made smaller."""


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Few pixels: what is tested is that figures are made."""
    for module in (drawn_sheet, drawn_compare):
        monkeypatch.setattr(module, "DPI", 40)


KINDS = {
    "trials": some.sampled_from([1, 2, 3]), "levels": some.sampled_from([(0,), (0, 1), (0, 13),
                                                                         (0, 1, 2, 3)]),
    "arms": some.sampled_from([0, 1, 11, 13]), "rates": some.sampled_from([1, 1, 2]),
    "equal": some.sampled_from([None, 0.045, 0.0, 1.0]), "lost": some.sampled_from([0, 0, 0.4, 1]),
    "changing": some.booleans(), "early": some.sampled_from([0, 10, 60]),
    "seed": some.integers(0, 99),
}  # fmt: skip


def records_of(trials, levels, arms, rates, equal, lost, changing, early, seed):
    """Records and curves: one trial, equal values, one level, 14 arms, densities that change."""
    dice, records, curves = random.Random(seed), [], []
    names = [WINNER, "supermask", *(f"arm_{n}" for n in range(2, 40))][: arms + 1]
    for lr in (0.1, 0.01)[:rates]:
        for level, arm, trial in ((n, a, t) for n in levels for a in names if n or a == WINNER
                                  for t in range(trials)):  # fmt: skip
            density = 0.8**level if arm != "supermask" else dice.choice([0.0, 0.494, 0.494, 1.0])
            where = ("s", trial, 0, lr, arm, level)
            value = dice.random() if equal is None else equal
            for step in (0, 30, 60):
                at = max(density, 1 - step / 50) if changing and level else density
                curves.append(Record(*where, at, step, "validation", "accuracy", value))
            if dice.random() < lost:
                records.append(Record(*where, density, 3, "train", "diverged", 3.0))
                continue
            records.append(
                Record(*where, density, early, "validation", "early_stop_step", float(early))
            )
            for step in {early, 60}:
                for split in ("validation", "test"):
                    records.append(Record(*where, density, step, split, "accuracy", value))
            for kind, cost in (("training", 100 * density), ("search", 50.0 * level)):
                records.append(Record(*where, density, 60, "train", f"{kind}_flops", cost))
    return records, curves


@FEW
@given(some.fixed_dictionaries(KINDS))
def test_every_study_has_its_figures_and_tables(tmp_path_factory, kind):
    """A figure that fails would be raised here: no one is told of it."""
    records, curves = records_of(**kind)
    folder = tmp_path_factory.mktemp("drawn")
    reached = any(r.metric == "early_stop_step" for r in records)
    crowd = len({r.arm for r in records}) > len(COLOURS)
    names = ["tickets", *["tickets_end", "tickets_early_stop"] * crowd, "curves"] * reached
    assert [p.stem for p in draw(records, curves, folder)] == names
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in folder.iterdir())
    for width in (80, 200):
        text = render(records, width)
        assert max(map(len, text.splitlines())) <= max(width, 60) and "…" not in text
        for mean, low, high in re.findall(r"([\d.]+)[ (]+([\d.]+)-([\d.]+)\)", text):
            assert float(low) <= float(mean) <= float(high)
    assert verdict(records)


@FEW
@given(some.fixed_dictionaries(KINDS))
def test_every_comparison_has_its_figure_and_tables(kind):
    records, _ = records_of(**kind | {"levels": (0, 1, 2), "rates": 1})
    sources = [Source("", "s", 100, records), Source("other", "t", 100, records)]
    flops = [r for r in records if r.metric == "training_flops"]
    if flops and all(r.level for r in flops):
        with pytest.raises(LthError, match="of a dense network that reached its end"):
            compare(sources)
        return
    found = compare(sources)
    best = equal_cost(found.rows, found.densities)
    assert comparison_tables(found, 80) and (budget_tables(best, 80) or not best)
    figure = drawn_compare.comparison_figure(found)
    if figure is not None:
        FigureCanvasAgg(figure).draw()
    shown = [r for d in found.densities for r in found.at(d) if r.level]
    assert (figure is None) == all(r.value is None for r in shown)


MEASURES = [name for _, _, kinds in drawn_analysis.PANELS for name in kinds]
LAYERS = ("fc1.weight", "fc2.weight")


@settings(FEW, max_examples=5)
@given(some.fixed_dictionaries(KINDS | {"kept": some.sampled_from([[1.0], [0.0], [0.5, 0.1, 0.0]]),
                                        "norms": some.booleans()}))  # fmt: skip
def test_every_analysis_has_its_figures(tmp_path_factory, kind):
    kept, norms = kind.pop("kept"), kind.pop("norms")
    records, _ = records_of(**kind | {"lost": 0})
    dice, rows, points = random.Random(kind["seed"]), [], []
    for r in records:
        if r.metric != "early_stop_step":
            continue
        where = r[:7]
        value = [dice.random() if kind["equal"] is None else kind["equal"] for _ in range(20)]
        named = MEASURES if r.arm in (WINNER, "supermask") else MEASURES[-2:]
        rows += [Row(*where, "", m, v) for m, v in zip(named, value, strict=False)]
        rows += [Row(*where, name, "density", r.density) for name in LAYERS]
        if r.arm in (WINNER, "supermask", "arm_2"):
            sort = "level" if r.arm == WINNER else "instability"
            points += [Point(*where, sort, "x", n, a, s, value[0], value[1])
                       for n in (("interpolated", "recalibrated") if norms else ("",))
                       for s in ("train", "test") for a in (0.0, 0.5, 1.0)]  # fmt: skip
    generator = torch.Generator().manual_seed(kind["seed"])
    shapes = {"fc1.weight": (3, 4), "fc2.weight": (2, 3)}
    drawn = [
        Drawn(d, {n: torch.rand(s, generator=generator) < d for n, s in shapes.items()})
        for d in kept
    ]
    flat = kind["equal"] is not None  # initial weights of one value, as in a signed constant's
    start = {n: torch.ones(s) if flat else torch.randn(s) for n, s in shapes.items()}
    found = Tickets(0, 0.1, drawn, start, {}, "fc1.weight" if norms else None, (1, 2, 2))
    names = {p.stem for p in draw_analysis(rows, points, found, tmp_path_factory.mktemp("drawn"))}
    pruned = any(0 < r.density < 1 for r in rows)
    wanted = {"analysis", "connectivity", "connections", "survivors", "masks"}
    assert names == wanted | ({"layers"} if pruned else set())


# --- what they show -------------------------------------------------------------------------------


def test_no_two_of_forty_arms_look_alike():
    found = list(looks([WINNER, *(f"arm_{n}" for n in range(1, 40))]).values())
    assert len({(x.color, x.marker) for x in found}) == 40
    assert len({x.color for x in found[:12]}) == 12 == len({x.marker for x in found[:12]})
    assert all(x.color != found[0].color for x in found[1:])  # the winning ticket's is its alone


def test_an_arm_looks_the_same_whoever_stands_beside_it():
    alone, crowd = looks([WINNER, "rigl"]), looks([WINNER, "random_reinit", "set", "rigl"])
    assert alone[WINNER] == crowd[WINNER] and alone["rigl"] == crowd["rigl"]
    assert looks(["random_mask"])["random_mask"] == looks([*crowd, "random_mask"])["random_mask"]
    sheet = Sheet(arms=(WINNER, "rigl", "a", "b", "c", "d"))
    assert sheet.looks(["d"])["d"] == sheet.looks(["c", "d", "b"])["d"]


@pytest.mark.parametrize("arms", [2, 9, 12])
def test_arms_are_told_apart_and_stand_at_their_density(arms):
    names = (WINNER, *(f"arm_{n}" for n in range(1, arms)))
    records, _ = study(trials=2, levels=2, arms=names)
    ax = tickets_figure(records).axes[0]
    own = [c.lines[0] for c in ax.containers]
    assert len({x.get_color() for x in own}) == arms == len({x.get_marker() for x in own})
    for line in own:
        for x, density in zip(line.get_xdata(), (100, 80, 64), strict=True):
            assert abs(x / density - 1) <= REACH + 1e-9
    assert len({round(dodge(n, arms), 9) for n in range(arms)}) == arms


def test_no_point_is_drawn_nearer_to_another_level_than_to_its_own():
    """Levels that lie one percent apart, twelve arms, one of them a little beside the others."""
    names = (WINNER, *(f"arm_{n}" for n in range(1, 12)))
    records, _ = study(trials=2, levels=4, arms=names)
    records = [r._replace(density=0.99**r.level * (1.001 if r.arm == "arm_3" else 1))
               if r.level else r for r in records]  # fmt: skip
    ladder = Ladder.of(records)
    levels = [99, 99 * 0.99, 99 * 0.99**2, 99 * 0.99**3]
    for line in (c.lines[0] for c in tickets_figure(records).axes[0].containers):
        for x, own in zip(line.get_xdata()[1:], levels, strict=True):
            assert min(levels, key=lambda d: abs(d - x)) == own
    assert 0 < ladder.reach < 0.3 * 0.01


def test_beyond_twelve_arms_each_has_a_panel_before_the_others_in_grey():
    names = (WINNER, *(f"arm_{n}" for n in range(1, 15)))
    records, _ = study(trials=2, levels=2, arms=names)
    figure = tickets_figure(records)
    assert [ax.get_title() for ax in figure.axes] == [f"arm {n}" for n in range(1, 15)]
    for ax, arm in zip(figure.axes, names[1:], strict=True):
        assert [c.get_label() for c in ax.containers] == ["winning ticket", arm.replace("_", " ")]
        assert len({c.lines[0].get_color() for c in ax.containers}) == 2
    values = summarise(records)
    ends = [100 * values[c].values["test_accuracy_end"].mean for c in values if c.arm == "arm_14"]
    last = tickets_figure(records, part=2).axes[-1].containers[1].lines[0].get_ydata()
    assert list(last)[1:] == pytest.approx(ends)


def supermasks(curves):
    return [r._replace(density=0.494) if r.arm == "supermask" else r for r in curves]


def test_curves_are_named_by_their_own_density():
    """The tickets' by the tickets', a supermask's, which stands last in the records, by its."""
    records, curves = map(supermasks, study(levels=3, arms=(WINNER, "supermask")))
    figure = curves_figure(curves, records)
    ladder = [t.get_text() for t in figure.legends[0].get_texts()]
    assert ladder == ["100 %", "80.0 %", "64.0 %", "51.2 %", "winning ticket", "supermask"]
    own = figure.axes[1].get_legend()
    assert own.get_title().get_text() == "supermask's own"
    assert [t.get_text() for t in own.get_texts()] == ["49.4 %"] * 2
    records, curves = study(levels=3)
    assert curves_figure(curves, records).axes[1].get_legend() is None


def test_a_density_that_changes_in_training_is_told_as_it_ends():
    records, curves = study(levels=2, arms=(WINNER, "gradual"), steps=400)
    curves = [r._replace(density=max(r.density, 1 - r.step / 400)) if r.arm == "gradual" else r
              for r in curves]  # fmt: skip
    assert densities(curves, "gradual") == {1: pytest.approx(0.8), 2: pytest.approx(0.64)}
    assert curves_figure(curves, records).axes[1].get_legend() is None


def test_a_control_that_stands_at_other_levels_is_drawn_there():
    records, curves = study(levels=13)
    some_levels = [r for r in curves if r.arm == WINNER or r.level == 13]
    right = curves_figure(some_levels, records).axes[1]
    assert [x.get_linestyle() for x in right.lines].count("--") == 1


def test_a_supermask_is_drawn_at_its_density():
    records = supermasks(study(levels=3, arms=(WINNER, "supermask"))[0])
    figure = tickets_figure(records)
    (line,) = [c.lines[0] for c in figure.axes[0].containers if c.get_label() == "supermask"]
    assert [round(x) for x in line.get_xdata()[1:]] == [50] * 3 or [
        abs(x / 49.4 - 1) <= REACH for x in line.get_xdata()[1:]
    ] == [True] * 3
    assert {percent(s.density) for c, s in summarise(records).items() if c.arm == "supermask"} == {
        "49.4 %"
    }


def test_levels_without_a_weight_can_be_chosen():
    assert spread_out({n: d for n, d in enumerate([0.5, 0.4, 0.3, 0.2, 0.1, 0.0])})[-1] == 5
