"""A study that has been trained is never lost to what is shown of it."""

import sys
from functools import partial

import pytest
from rich.console import Console

import lth
from lth import cli
from lth.config import compose
from lth.records import table
from lth.results import figures
from lth.store.study import Study
from lth.study import actions as report
from lth.study.progress import Display
from lth.study.setup import prepare
from tests.test_study import SETTINGS

TINY = SETTINGS | {"recipe": SETTINGS["recipe"] | {"steps": 10}, "levels": 1, "progress": True}
"""A study of eight members of ten steps."""


def broken(*_, **__):
    raise ValueError("'yerr' must not contain negative values\nand more")


class BrokenLogger:
    """A logger of the user's own whose server is away at the end."""

    def start(self, *_):
        """Begin."""

    def log(self, *_):
        """Log."""

    def finish(self, *_):
        broken()

    def abort(self):
        """Stop."""


def broken_logger(tickets=True):
    return BrokenLogger()


BREAKS = {
    "tickets.png: not drawn (ValueError: 'yerr' must not contain negative values)":
        (figures, "tickets_figure"),
    "curves.png: not drawn (ValueError: 'yerr'": (figures, "curves_figure"),
    "table: left out (ValueError: 'yerr'": (table, "tables"),
    "tickets: left out (ValueError: 'yerr'": (report, "_export"),
}  # fmt: skip


@pytest.mark.parametrize("line", BREAKS)
def test_what_cannot_be_shown_is_one_line_and_the_study_stands(line, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(*BREAKS[line], broken)
    monkeypatch.setenv("COLUMNS", "200")
    logger = partial(broken_logger) if "tickets: left" in line else "none"
    study = lth.run(**TINY | {"out": str(tmp_path), "logger": logger})
    said = capsys.readouterr().out
    (told,) = [x for x in said.splitlines() if x.startswith(line)]
    assert told.endswith("the records are complete") and "Traceback" not in said
    assert "trained 6 members" in said and len({r[1:6] for r in study.records}) == 6
    names = {p.name for p in (study.folder / "figures").glob("*.png")}
    assert names == {"tickets.png", "curves.png"} - {line.split(":")[0]}
    if "tickets: left" in line:
        assert "logger: left out (ValueError: 'yerr'" in said


def test_the_command_ends_well_too(tmp_path, monkeypatch, capsys):
    """Exit code 0, for `run` and for `plot`; an older figure that stays is called so."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    common = ["recipe.steps=5", "recipe.eval_every=5", "trials=1", "levels=1", "logger=none",
              "model.widths=[10,5]", "trainer.workers=0", "trainer.device=cpu"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["lth", *common])
    cli.main()
    assert "not drawn" not in capsys.readouterr().out
    monkeypatch.setattr(figures, "tickets_figure", broken)
    for arguments in ([], ["action=plot"]):
        monkeypatch.setattr(sys, "argv", ["lth", *common, *arguments])
        cli.main()
        out = capsys.readouterr().out
        assert "tickets.png: not drawn (ValueError: 'yerr' must not contain negative values)" in out
        assert "the one there is older; the records are complete" in out and "curves.png" in out


def test_without_a_display_a_loss_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "curves_figure", broken)
    with pytest.warns(UserWarning, match=r"curves.png: not drawn \(ValueError: 'yerr'"):
        lth.run(**TINY | {"out": str(tmp_path), "progress": False})


def test_an_interruption_is_no_figure_that_fails(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(figures, "tickets_figure", stop)
    with pytest.raises(KeyboardInterrupt):
        lth.run(**TINY | {"out": str(tmp_path)})


def test_an_analysis_keeps_its_tables_whatever_is_drawn(tmp_path, monkeypatch, capsys):
    from lth.results.analysis import tickets as chosen
    from lth.results.figures import pictures

    study = lth.run(**TINY | {"out": str(tmp_path)})
    monkeypatch.setattr(pictures, "layers_figure", broken)
    monkeypatch.setattr(chosen, "tickets", broken)
    settings = {k: v for k, v in TINY.items() if k != "progress"}
    setup = prepare(compose(**settings | {"out": str(tmp_path)}, action="analyse"))
    report.ACTIONS["analyse"](setup, Display(Console(width=200)))
    said = capsys.readouterr().out
    assert "layers.png: not drawn" in said and "pictures of the tickets: left out" in said
    there = {p.name for p in Study(study.folder).folder.rglob("*")}
    assert {"analysis.csv", "matching.csv", "paths.csv", "analysis.png"} <= there
