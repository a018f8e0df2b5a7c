"""How figures are written: formats, sizes, styles, words; and masks as pictures."""

import sys
from dataclasses import replace

import matplotlib as mpl
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from lth import LthError, cli
from lth.config import compose, study_id
from lth.results.figure_options import STYLES, FigureOptions, about, figure_options
from lth.results.figures import curves_figure, save, save_all, sheet_of, tickets_figure, told
from lth.results.figures.masks import mask_figure
from lth.results.figures.sheet import Sheet
from lth.results.figures.style import grey, palette, readable
from tests.synthetic import REINIT, WINNER, study

RECORDS, CURVES = study(trials=2, levels=2)


def sheet(**options):
    return Sheet(FigureOptions(**{"dpi": 50, **options}), "lenet on mnist, 50,000 steps")


# --- settings -------------------------------------------------------------------------------------


def test_the_settings_are_read():
    given = {"formats": ["pdf", "png"], "width": "page", "style": "paper", "font": None}
    found = figure_options({"figures": given})
    assert found == FigureOptions(("pdf", "png"), 6.8, "paper")
    assert figure_options({}) == figure_options(compose()) == FigureOptions()
    assert figure_options({"figures": {"style": "ggplot", "width": 5}}).width == 5.0
    assert Sheet(FigureOptions(width=3.3)).font == 7 < Sheet(FigureOptions(width=6.8)).font == 8


WRONG = {
    "figures.formats=jpg: it is one of png, pdf, svg": {"formats": ["jpg"]},
    "figures.formats=[]: a list of png, pdf, svg": {"formats": []},
    "figures.width=colum: column or page, or inches; did you mean column?": {"width": "colum"},
    "figures.width=0.2: inches, from 1.5 to 40": {"width": 0.2},
    "figures.style=drak: it is light, dark, paper, a style of matplotlib": {"style": "drak"},
    "figures.font=True: points, from 3 to 40": {"font": True},
    "figures.dpi=5: dots per inch, from 20 to 1200": {"dpi": 5},
    "figures.title='yes': true or false": {"title": "yes"},
    "figures.widht: no such setting; did you mean width?": {"widht": 3},
}


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_one_line(line):
    with pytest.raises(LthError) as error:
        figure_options({"figures": WRONG[line]})
    assert str(error.value).startswith(line)


def test_the_command_refuses_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lth", "logger=none", "figures.width=wide"])
    with pytest.raises(SystemExit):
        cli.main()
    found = capsys.readouterr()
    assert "figures.width=wide: column or page, or inches" in found.err + found.out
    assert not (tmp_path / "out").exists()


def test_how_figures_look_is_not_what_a_study_is():
    other = compose(figures={"formats": ["svg"], "style": "dark"})
    assert study_id(compose()) == study_id(other)


def test_a_title_says_of_what_model_data_and_length():
    assert about(compose()) == "lenet on digits, 600 steps"
    own = compose(model={"widths": [10, 5]}, recipe={"steps": 70})
    assert about(own) == "lenet (widths 10, 5) on digits, 70 steps"
    assert about(compose(model="conv4", data="cifar10")).startswith("conv4 on cifar10, ")
    assert about(compose(), own) == "digits"  # what they share
    assert about({}) == ""


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_the_same_figure_gives_the_same_bytes_and_no_date(kind, tmp_path):
    one, two = (
        save(tickets_figure(RECORDS, sheet=sheet()), tmp_path / f"{n}.{kind}", sheet())
        for n in "ab"
    )
    content = one.read_bytes()
    assert content == two.read_bytes()
    assert content.startswith({"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[kind])
    assert b"CreationDate" not in content and b"<dc:date>" not in content
    if kind == "pdf":  # TrueType, which publishers ask for, and no Type 3
        assert b"/FontFile2" in content and b"/Type3" not in content


def test_every_format_asked_for_is_written_and_told_once(tmp_path):
    wanted = sheet(formats=("png", "svg"))
    drawings = {"tickets": lambda: tickets_figure(RECORDS, sheet=wanted), "none": lambda: None}
    paths = save_all(drawings, tmp_path, None, wanted)
    assert [p.name for p in paths] == ["tickets.png", "tickets.svg"]
    assert told(paths) == [f"{tmp_path / 'tickets'}.png, .svg"]
    with pytest.raises(ValueError, match="one of png, pdf, svg"):
        save(drawings["tickets"](), tmp_path / "tickets.jpg")


def test_a_figure_is_as_wide_as_asked_and_is_the_users_to_change(tmp_path):
    before = dict(mpl.rcParams)
    for name, inches in (("column", 3.3), ("page", 6.8)):
        wanted = replace(sheet(), options=figure_options({"figures": {"width": name}}))
        for figure in (tickets_figure(RECORDS, sheet=wanted),
                       curves_figure(CURVES, RECORDS, sheet=wanted)):  # fmt: skip
            assert figure.get_size_inches()[0] == inches
            FigureCanvasAgg(figure).draw()  # as a user would, in whose style these are not
            sizes = [t.get_fontsize() for t in figure.axes[0].get_xticklabels()]
            assert sizes == [pytest.approx(0.833 * wanted.font)] * len(sizes)
    assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook shows
    figure.axes[0].set_title("mine")
    assert figure.axes[0].get_title() == "mine" and dict(mpl.rcParams) == before


@pytest.mark.parametrize("style", [*STYLES, "ggplot", "own"])
def test_styles_change_what_is_seen_and_not_what_is_shown(style, tmp_path):
    if style == "own":
        style = str(tmp_path / "mine.mplstyle")
        (tmp_path / "mine.mplstyle").write_text("axes.facecolor: black\ntext.color: white\n")
    wanted = sheet(style=style)
    figure = tickets_figure(RECORDS, sheet=wanted)
    ground = figure.axes[0].get_facecolor()[:3]
    (own, other) = (c.lines[0] for c in figure.axes[1].containers)
    plain = tickets_figure(RECORDS).axes[1].containers[0].lines[0]
    assert own.get_ydata().tolist() == plain.get_ydata().tolist()
    for line in (own, other):
        assert contrast(to_rgb(line.get_color()), ground) > 2.2
    with wanted.used():
        assert all(contrast(readable(c), ground) >= 3 for c in palette())
        assert contrast(grey(0.35), ground) > 3


def contrast(one, other):
    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def text_over(figure):
    parts = [t.get_text() for legend in figure.legends for t in [legend.get_title()]]
    return " ".join([*parts, figure.get_suptitle()]).replace("\n", " ")


def test_a_line_says_what_is_shown_over_how_many_trials_and_what_the_bars_are():
    lost = {(t, 0, 0.0012, REINIT, n) for t in range(2) for n in (1, 2)}
    records, _ = study(trials=2, levels=2, diverged=lost)
    said = text_over(tickets_figure(records, sheet=sheet()))
    assert said.startswith("lenet on mnist, 50,000 steps")
    assert "mean of 2 trials; bars: least and greatest" in said
    assert "4 that diverged are left out (random reinit)" in said
    said = text_over(curves_figure(CURVES, RECORDS, sheet=sheet(width=3.3)))
    assert "mean of 2 trials; shaded: least and greatest" in said
    alone, _ = study(trials=1, levels=1)
    assert "one trial" in text_over(tickets_figure(alone, sheet=sheet()))
    assert text_over(tickets_figure(RECORDS, sheet=sheet(title=False))).strip() == ""


def test_the_sheet_of_a_study_knows_its_arms_and_what_it_is_of():
    found = sheet_of(compose(figures={"width": 4}), [WINNER, REINIT, WINNER])
    assert found.arms == (WINNER, REINIT) and found.options.width == 4
    assert found.about == "lenet on digits, 600 steps"


def test_curves_are_shaded_from_the_least_to_the_greatest():
    left, right = curves_figure(CURVES, RECORDS).axes
    assert len(left.collections) == len(left.lines) == 3 and len(right.collections) == 5
    dense = [r for r in CURVES if (r.level, r.metric) == (0, "accuracy")]
    last = [100 * r.value for r in dense if r.step == 6000]
    band = left.collections[0].get_paths()[0].vertices
    at = band[band[:, 0] == 6000][:, 1]
    assert (at.min(), at.max()) == (pytest.approx(min(last)), pytest.approx(max(last)))
    records, curves = study(trials=1, levels=1)
    assert not curves_figure(curves, records).axes[0].collections


# --- masks ----------------------------------------------------------------------------------------


def mask_of(*shapes, density=0.5):
    generator = torch.Generator().manual_seed(0)
    return {f"w{n}.weight": torch.rand(s, generator=generator) < density
            for n, s in enumerate(shapes)}  # fmt: skip


def cells_of(ax):
    """The cells of a picture, each once."""
    pixels = torch.tensor(ax.images[0].get_array().filled(float("nan")))
    left, right, bottom, top = ax.images[0].get_extent()
    return pixels[:: round(len(pixels) / (bottom - top)), :: round(len(pixels[0]) / (right - left))]


def test_a_mask_is_seen_as_matrices_and_kernels():
    mask = mask_of((3, 2, 2, 2), (4, 5), (6,))
    kernels, matrix, vector = mask_figure(mask).axes
    tiles = cells_of(kernels)
    assert tiles.shape == (3 * 3 - 1, 2 * 3 - 1)  # three by two kernels, a gap between
    assert torch.equal(tiles[3:5, 3:5], mask["w0.weight"][1, 1].double())
    assert tiles[2].isnan().all() and tiles[:, 2].isnan().all()
    assert torch.equal(cells_of(matrix), mask["w1.weight"].double())
    assert cells_of(vector).shape == (1, 6) and vector.get_title() == "w2 6"
    flat = mask_figure(mask, show="matrices", layers=["w0.weight"]).axes
    assert torch.equal(cells_of(flat[0]), mask["w0.weight"].double().reshape(3, -1))
    assert len(mask_figure(mask, show="kernels").axes) == 1


def test_a_large_layer_is_averaged_over_blocks_and_many_kernels_are_chosen():
    mask = mask_of((640, 320), (40, 30, 3, 3))
    matrix, kernels = mask_figure(mask).axes
    assert cells_of(matrix).shape == (320, 320)
    own = mask["w0.weight"][:2, :1].double().mean()
    assert cells_of(matrix)[0, 0] == own
    assert cells_of(kernels).shape == (12 * 4 - 1, 12 * 4 - 1)
    assert "12 x 12 of them" in kernels.get_title()
    (first,) = mask_figure(mask_of((64, 3, 5, 5))).axes  # units beside each other, too
    assert cells_of(first).shape == (12 * 6 - 1, 4 * 3 * 6 - 1)
    assert "48 x 3 of them" in first.get_title()


def test_values_have_the_colours_of_their_signs():
    mask = {"w.weight": torch.tensor([[True, True, False]])}
    (ax,) = mask_figure(mask, {"w.weight": torch.tensor([[-2.0, 1.0, 3.0]])}).axes
    assert cells_of(ax).tolist() == [[-2, 1, 0]]
    assert ax.images[0].norm.vmin == -2 == -ax.images[0].norm.vmax


def test_pixels_are_those_that_units_see():
    mask = mask_of((5, 12))
    whole, units, _ = mask_figure(mask, show="pixels", input_shape=(3, 2, 2)).axes
    assert torch.equal(cells_of(whole), mask["w0.weight"].reshape(5, 3, 2, 2).sum((0, 1)).double())
    assert cells_of(units)[:2, :2].tolist() == [
        [pytest.approx(float(mask["w0.weight"][0].reshape(3, 2, 2)[:, h, w].double().mean()))
         for w in range(2)] for h in range(2)
    ]  # fmt: skip
    guessed = mask_figure(mask_of((5, 9)), show="pixels").axes[0]
    assert cells_of(guessed).shape == (3, 3)


def test_layers_are_bars_of_their_densities():
    mask = mask_of((4, 5), (2, 2))
    (ax,) = mask_figure(mask, show="layers", note="trial 0", sheet=sheet(width=3.3)).axes
    shares = [100 * float(m.double().mean()) for m in mask.values()]
    assert [p.get_width() for p in ax.patches] == pytest.approx(shares)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["w0", "w1"]
    kept = sum(int(m.sum()) for m in mask.values())
    figure = ax.get_figure()
    assert f"trial 0; {kept} of 24 weights kept" in figure.get_suptitle().replace("\n", " ")


def test_what_is_not_drawn_is_not_counted():
    mask = mask_of((6, 4, 3, 3), (5, 12))
    kernels = mask_figure(mask, show="kernels")
    kept = int(mask["w0.weight"].sum())
    assert f"{kept} of 216 weights kept" in kernels.get_suptitle().replace("\n", " ")
    pixels = mask_figure(mask_of((5, 9), (4, 4)), show="pixels")
    assert "of 45 weights kept" in pixels.get_suptitle().replace("\n", " ")


MISTAKES = {
    "the mask names no weights": ({}, {}),
    "show=matrixes: it is one of auto, matrices, kernels, pixels, layers; did you mean matrices":
        (mask_of((2, 2)), {"show": "matrixes"}),
    "layers=w1: the mask has w0.weight": (mask_of((2, 2)), {"layers": ["w1"]}),
    "show=kernels: none of w0.weight is of a convolution": (mask_of((2, 2)), {"show": "kernels"}),
    "does not read pictures of shape": (mask_of((2, 7)), {"show": "pixels"}),
    "values: they have no w0.weight of shape [2, 2]":
        (mask_of((2, 2)), {"values": {"w0.weight": torch.zeros(3)}}),
}  # fmt: skip


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line(line):
    mask, more = MISTAKES[line]
    with pytest.raises(LthError) as error:
        mask_figure(mask, **more)
    assert line in str(error.value)
