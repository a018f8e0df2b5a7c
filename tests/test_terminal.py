"""What a study shows while it goes and at its end, in a terminal of any width and in a log."""

import io
import re
import sys
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from lth import cli
from lth.measured import Measured
from lth.records.levels import shown_levels
from lth.records.matching import matching
from lth.records.statistics import percent, summarise
from lth.records.table import render
from lth.records.verdict import so_far, verdict
from lth.study.progress import Display
from lth.study.pulse import Pace, Pulse, duration, members_at
from lth.study.telling import show, tell_level
from lth.types import MemberId
from tests.synthetic import REINIT, SIX_ARMS, WINNER, study

WIDTHS = [40, 60, 80, 120]


def console(width=80, terminal=False):
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, height=40,
                   color_system=None, legacy_windows=False)  # fmt: skip


def said(display):
    return display.console.file.getvalue()


def job(arm, trial=0, key="k", steps=600):
    place = MemberId(trial, 0.1, arm, 3, 0)
    return SimpleNamespace(
        key=key, last=steps, steps=steps, ticket=SimpleNamespace(step=0),
        about={"place": place._asdict()},
    )  # fmt: skip


EXPERIMENT = SimpleNamespace(
    route=(1, 2, 3), levels=(1, 2, 3), arms={WINNER: (None, 1)}, methods={}, lines=(1,)
)


@pytest.fixture
def logged():
    display = Display(console())
    display.study(EXPERIMENT, 600)
    jobs = [job(WINNER), job(REINIT, 1, "l")]
    cohort = {MemberId(0, 0.1, WINNER, 3, 0): None}
    display.level(cohort, jobs, 0)
    return display, jobs


def test_a_log_says_where_a_level_is_and_how_long_it_takes(logged):
    display, jobs = logged
    display._tell()
    (line,) = said(display).splitlines()
    assert line.startswith(
        "level  3/3  winning_ticket trial 0 step 0 of 600, random_reinit trial 1"
    )
    assert line.endswith("  starting")
    for one in jobs:
        display.step(one, 300, False)
    display._tell()
    line = said(display).splitlines()[1]
    assert line.startswith(
        "level  3/3  winning_ticket trial 0 step 300 of 600, random_reinit trial 1 step 300 of 600"
    )
    assert re.search(r"  [\d,]+ steps/s  \d+ s left$", line)
    display.step(jobs[0], 600, True)
    display._tell()
    assert "winning_ticket" not in said(display).splitlines()[2]
    display.ended("density 51.2 %")
    assert said(display).splitlines()[-1].startswith("level  3/3  density 51.2 %")


def test_a_log_tells_of_what_is_counted_too():
    display = Display(console())
    display.begin("members", 200)
    display.advance()
    display._tell()
    assert said(display) == "members: 1 of 200\n"


def test_silence_ends_in_time_and_only_silence():
    told = []
    pulse = Pulse(lambda: told.append(time.monotonic()), every=0.05)
    pulse.start()
    deadline = time.monotonic() + 5
    while len(told) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(told) >= 2 and told[1] - told[0] >= 0.045
    pulse.stop()
    count = len(told)
    time.sleep(0.12)
    assert len(told) == count
    quiet = Pulse(lambda: told.append(0.0), every=0.5)
    quiet.start()
    for _ in range(6):
        time.sleep(0.02)
        quiet.said()
    quiet.stop()
    assert len(told) == count
    from lth.study.pulse import EVERY

    assert EVERY < 30


def test_a_log_pulses_while_a_study_goes_and_a_terminal_does_not():
    assert Display(console())._pulse is not None
    assert Display(console(terminal=True))._pulse is None
    assert Display(console(), enabled=False)._pulse is None


def test_the_pace_is_that_of_late():
    now = [0.0]
    pace = Pace(lambda: now[0])
    pace.total = 1000
    pace.begin()
    assert pace.words == "starting"
    now[0] = 10.0
    pace.made(100)
    assert pace.rate == 10 and pace.words == "10 steps/s  90 s left".replace("90 s", "2 min")
    now[0] = 500.0  # a long wait between levels
    pace.begin()
    now[0] = 502.0
    pace.made(100)
    assert pace.rate == 50 and pace.words == "50 steps/s  16 s left"
    assert [duration(s) for s in (3, 89, 600, 9000)] == ["3 s", "89 s", "10 min", "2.5 h"]


def test_many_members_are_summed_up():
    many = [({"arm": f"arm{n % 5}", "trial": n}, 100 + n, 600) for n in range(9)]
    assert members_at(many) == "arm0, arm1, arm2 and 2 more arms: 9 members, step 100 of 600"
    assert members_at(many[:4]).startswith("arm0, arm1, arm2 and 1 more arm: 4 members")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_live_view_fits_and_shows_values_and_the_verdict_so_far(width):
    display = Display(console(width, terminal=True))
    records, _ = study(levels=3)
    display.study(EXPERIMENT, 600)
    display.level({MemberId(0, 0.1, WINNER, 3, 0): None}, [job(WINNER)], 4)
    tell_level(display, {}, [r for r in records if r.level == 3], records, Measured())
    shown = console(width)
    for part in display._view.get_renderables():
        shown.print(part)
    text = shown.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    whole = " ".join(text.split())
    accuracy = summarise(records)
    (value,) = [s.values["test_accuracy"].mean for c, s in accuracy.items()
                if (c.arm, c.level) == (WINNER, 3)]  # fmt: skip
    assert f"winning_ticket {100 * value:.2f}%" in whole and "density 51.2 %" in whole
    assert "so far: tickets are undecided from 80 % to 51.2 % of the weights" in whole
    assert re.search(r"levels [━╸╺ ]*3/4", whole)


def test_what_is_said_so_far_is_what_the_verdict_says():
    records, _ = study(levels=6)
    told = verdict(records)
    for line, whole in zip(so_far(records), told, strict=False):
        assert whole.startswith(line.split(" (")[0])
    assert so_far([r for r in records if r.level == 0]) == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("full", [True, False])
def test_the_verdict_stands_below_the_table_and_nothing_is_torn(width, full):
    records, _ = study(levels=20)
    display = Display(console(width, terminal=True))
    show(display, records, Measured(), full)
    lines = said(display).splitlines()
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if line.strip() in ("%", "points")]
    text = " ".join(said(display).split())
    assert text.index("density") < text.index("tickets are") < text.index("(to match")
    assert ("table=full" in text) == (not full)


def test_the_densities_of_the_verdict_are_those_of_the_table():
    records, _ = study(levels=20)
    text = render(records, 120, full=False)
    rows = re.findall(r"^ *([\d.]+ %)", text, re.M)
    assert len(rows) <= 10 and rows[0] == "100 %"
    named = re.findall(r"([\d.]+ %) of the weights", " ".join(verdict(records)))
    assert named and set(named) <= set(rows)
    assert percent(0.8**20) == rows[-1]


@pytest.mark.parametrize("arms", [(WINNER,), (WINNER, REINIT), SIX_ARMS])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_short_table_fits_and_its_means_lie_in_their_ranges(arms, width):
    records, _ = study(arms=arms, levels=20)
    text = render(records, width, full=False)
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    for mean, low, high in re.findall(r"([\d.]+) \(([\d.]+)-([\d.]+)\)", text):
        assert float(low) <= float(mean) <= float(high)
    for arm in arms:
        assert arm.split("_")[-1] in text


def test_levels_that_a_user_names_are_shown():
    """Arms at two levels of twenty: both stand in a short table, whatever the ladder has."""
    records, _ = study(levels=20)
    some = [r for r in records if r.arm == WINNER or r.level in (13, 17)]
    (levels,) = shown_levels(some).values()
    assert {0, 13, 17, 20} <= set(levels) and len(levels) <= 10
    few, _ = study(levels=8)
    assert list(shown_levels(few).values()) == [[*range(9)]]
    deep, _ = study(levels=40, arms=(WINNER,))
    (levels,) = shown_levels(deep).values()
    assert len(levels) <= 10 and levels[0] == 0 and levels[-1] == 40
    falls = [m.level for m in matching(deep) if m.verdict == "falls short"][:1]
    assert set(falls) <= set(levels)


def test_text_is_shown_as_it_is_and_paths_stay_whole():
    display = Display(console(40, terminal=True))
    display.say("arms=[winning_ticket,rigl] is [bold]")
    display.note("[red] and a [list,of,words]")
    path = "out/studies/" + "x" * 40 + "/records.csv"
    display.say(f"records: {path}")
    text = said(display)
    assert "arms=[winning_ticket,rigl] is [bold]" in text.replace("\n  ", " ")
    assert "[red] and a [list,of,words]" in text and path in text


def test_colour_only_where_a_terminal_takes_it(monkeypatch):
    def noted(**options):
        display = Display(Console(file=io.StringIO(), width=80, **options))
        display.note("look")
        return said(display)

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert noted() == "look\n"
    assert noted(force_terminal=True, color_system="standard") == "\x1b[33mlook\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[33m" not in noted(force_terminal=True, color_system="standard")


def test_a_dumb_terminal_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert not Display(Console(file=io.StringIO(), force_terminal=True)).live


def test_the_last_line_has_one_form_whatever_the_number(tmp_path, monkeypatch, capsys):
    """Scripts read it."""
    monkeypatch.chdir(tmp_path)
    small = ["trials=1", "levels=0", "arms=[winning_ticket]", "recipe.steps=4", "trainer.workers=0"]
    monkeypatch.setattr(sys, "argv", ["lth", *small, "logger=none", "model.widths=[8,6]"])
    cli.main()
    assert capsys.readouterr().out.splitlines()[-1] == "trained 1 members, reused 0"
