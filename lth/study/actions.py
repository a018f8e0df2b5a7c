"""The actions of the command, and what each tells its user."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from lth.errors import LthError
from lth.imp import Experiment
from lth.loggers.chosen import wants_tickets
from lth.loggers.look import pictures_among
from lth.measured import measured_of
from lth.records.objective import Objective, check_objective, objective_of
from lth.records.record import Record, write_table
from lth.records.statistics import counted
from lth.study.cleaning import clean_store
from lth.study.comparison import compare_studies
from lth.study.holdings import outdated
from lth.study.jobs import Result
from lth.study.listing import list_studies
from lth.study.logged import log_analysis
from lth.study.plan import Plan, measure, plan, slurm_lines
from lth.study.progress import Display, attempt, teller
from lth.study.pulse import duration
from lth.study.run import AllDiverged, Journal, execute, study_of
from lth.study.setup import Setup
from lth.study.sweep_report import outcome, report_sweeps
from lth.study.telling import say_where, show
from lth.types import WINNER


def run_study(setup: Setup, display: Display) -> Result:
    """Run a study; show its table, its verdict, and where everything lies.

    Returned is what a sweep is told of it (``optimize``).
    """
    asked = objective_for(setup)

    _headline(setup, display)
    journal = execute(setup, display)
    records, curves = journal.records, journal.curves
    figures = _drawn(setup, records, curves, display)
    lines = _finish_logger(setup, journal, figures, display)
    say_where(display, setup.folder, figures)
    for line in (*lines, *_of_what(journal), *outdated(setup.folder)):
        display.say(line)
    if journal.budgets is not None and journal.budgets.wanted:
        display.say(journal.budgets.line)
    show(display, records, measured_of(setup.config), setup.config.get("table") == "full")
    trainer = journal.trainer
    # scripts read this line: it has one form, whatever the number
    display.say(f"trained {len(trainer.trained)} members, reused {len(trainer.reused)}")
    result = _result(setup, asked, display)
    if len(journal.diverged) == len(journal.seen):
        words = f"{setup.id}: every member diverged; lower recipe.lr={setup.recipe.lr}"
        raise AllDiverged(words, result)
    return result


def objective_for(setup: Setup) -> Objective:
    """Return what a sweeper is told of a study, checked against what the study will have."""
    asked, config = objective_of(setup.config.get("optimize")), setup.config
    measures = None if setup.task is not None else config["recipe"].get("measures") or ["accuracy"]
    check_objective(asked, config["arms"], setup.parts.levels, config["method"], measures)
    return asked


def _result(setup: Setup, asked: Objective, display: Display) -> Result:
    study = study_of(setup)
    found = attempt("optimize", lambda: outcome(study, asked, setup.config), None, display)
    value, about = found or (None, None)
    return Result(str(setup.folder.resolve()), value, about)


def plan_here(config: Mapping[str, Any], display: Display) -> None:
    """Plan a study where it will run: what would be downloaded is stood in for by noise."""
    from lth.data.stand_in import with_stand_ins
    from lth.study.setup import prepare

    data, missing = with_stand_ins(config.get("data"))
    setup = prepare({**config, "data": data} if missing else config)
    if missing:
        display.note(
            f"data: {', '.join(missing)} is not on this machine: planned with noise of its shape; "
            "nothing is downloaded, and nothing is taken to be trained"
        )
    plan_study(setup, display)


def plan_study(setup: Setup, display: Display) -> None:
    """Show what a run would train, how long that takes and what it writes."""
    _headline(setup, display)
    planned = plan(setup)
    table = Table("arm", "to train", "in the store", title="plan", title_justify="left")
    for arm in planned.to_train | planned.stored:
        table.add_row(arm, f"{planned.to_train[arm]:,}", f"{planned.stored[arm]:,}")
    table.add_section()
    to_train, stored = planned.to_train.total(), planned.stored.total()
    table.add_row("all", f"{to_train:,}", f"{stored:,}")
    display.say(table)
    if (setup.config.get("plan") or {}).get("measure"):
        planned = measure(setup, planned)
    display.say(f"{planned.steps:,} steps, {_time(planned)}, {planned.bytes / 1e6:,.1f} MB of disk")
    for line in slurm_lines(planned):
        display.say(line)
    display.say(f"trained 0 members, reused {stored}")


def explain_study(setup: Setup, display: Display) -> None:
    """Say why members are, or are not, the same as stored ones."""
    from lth.study.explain import explain

    _headline(setup, display)
    reasons = explain(setup)
    for reason in reasons:
        for line in reason.lines():
            display.say(line)
    stored = sum(len(r.places) for r in reasons if r.stored)
    seen = max(p.level for r in reasons for p in r.places)
    if any(not r.stored for r in reasons) or seen < max(setup.parts.levels, default=0):
        display.say("tickets below what is not trained are not known yet")
    display.say(f"trained 0 members, reused {stored}")


def plot_study(setup: Setup, display: Display) -> None:
    """Draw the figures and show the table again, from the records on disk."""
    study = study_of(setup)
    figures = _drawn(setup, study.records, study.curves, display)
    say_where(display, study.folder, figures)
    for line in outdated(study.folder):
        display.say(line)
    show(display, study.records, measured_of(setup.config), setup.config.get("table") == "full")
    display.say(f"trained 0 members, reused {len(study.members)}")


def _drawn(
    setup: Setup, records: Sequence[Record], curves: Sequence[Record], display: Display
) -> list[Path]:
    """Write a study's figures; return their files."""
    from lth.results.figures import draw, draw_over_steps, sheet_of

    sheet, note = sheet_of(setup.config, (r.arm for r in records)), teller(display)
    measured = measured_of(setup.config)
    figures = draw(records, curves, setup.folder / "figures", note, measured, sheet)
    return figures + draw_over_steps(study_of(setup), note, sheet)


def analyse_study(setup: Setup, display: Display) -> None:
    """Look at the masks and the networks that a study trained; write the tables and the figures."""
    if setup.task is not None:
        raise LthError(
            "action=analyse: it measures classifiers of data in memory; of a task there are the "
            "records, lth.Study(...).ticket(level=3).mask and .network(level=3)"
        )
    from lth.records.matching import Match, matching
    from lth.results.analysis.lines import Point
    from lth.results.analysis.summary import summary
    from lth.results.analysis.table import Analysis, Row
    from lth.results.analysis.tickets import tickets
    from lth.results.figures import sheet_of, told
    from lth.results.figures.pictures import draw_analysis

    study, options, measured = study_of(setup), setup.options, measured_of(setup.config)
    _headline(setup, display)
    device, threads = ("cuda", 1) if options.on_gpu else ("cpu", options.processes)
    analysis = Analysis(study, setup.dataset, device, threads)
    rows: list[Row] = []
    points: list[Point] = []
    display.begin("members", len(study.members))
    with display:
        for of_member in analysis:
            rows += of_member.rows
            points += of_member.points
            display.advance()
    judged = matching(study.records, measured)
    for name, header, table in (
        ("analysis", Row._fields, rows), ("matching", Match._fields, judged),
        ("paths", Point._fields, points),
    ):  # fmt: skip
        write_table(setup.folder / f"{name}.csv", header, table)
    drawn = attempt("pictures of the tickets", lambda: tickets(analysis), None, display)
    sheet = sheet_of(setup.config, (r.arm for r in study.records))
    figures = draw_analysis(rows, points, drawn, setup.folder / "figures", teller(display), sheet)
    for line in attempt("summary", lambda: summary(rows, study.records, measured), [], display):
        display.say(line)
    lines = attempt("logger", lambda: log_analysis(setup, study, figures, display), [],
                    display)  # fmt: skip
    display.say(f"\nanalysis: {setup.folder / 'analysis.csv'}")
    display.say(f"matching: {setup.folder / 'matching.csv'}")
    display.say(f"paths:    {setup.folder / 'paths.csv'}")
    for line in told(figures):
        display.say(f"figure:   {line}")
    for line in (*lines, *outdated(setup.folder)):
        display.say(line)
    display.say(f"trained 0 members, reused {len(study.members)}")


def fit_here(config: Mapping[str, Any], display: Display) -> None:
    """Choose a setting for a budget."""
    from lth.study.fit import fit_study

    fit_study(config, display, sys.argv[1:])


ACTIONS: dict[str, Callable[[Any, Display], Any]] = {
    "run": run_study, "plan": plan_here, "explain": explain_study, "plot": plot_study,
    "analyse": analyse_study, "compare": compare_studies, "fit": fit_here, "sweep": report_sweeps,
    "list": list_studies, "clean": clean_store,
}  # fmt: skip
"""What each does with a study made ready; those ``ALONE`` with the configuration itself."""

ALONE = ("plan", "compare", "fit", "sweep", "list", "clean")


def _of_what(journal: Journal) -> list[str]:
    """Say that the study holds more than this command asked for, where it does."""
    whole, seen = len(journal.held.rows), len(journal.seen)
    if whole == seen:
        return []
    return [
        f"the study holds {whole} members, {whole - seen} of them from other commands: records, "
        "table, verdict and figures are of all"
    ]


def _finish_logger(
    setup: Setup, journal: Journal, figures: list[Path], display: Display
) -> list[str]:
    tickets: list[Path] = []
    if wants_tickets(setup.config["logger"]):
        tickets = attempt("tickets", lambda: _export(setup, journal), [], display)
    records, curves = journal.records, journal.curves
    finish, shown = journal.logged.finish, pictures_among(figures)
    return attempt("logger", lambda: finish(records, curves, shown, tickets), [], display)


def _export(setup: Setup, journal: Journal) -> list[Path]:
    """Write every winning ticket to a file of its own."""
    study, paths = study_of(setup), []
    for place in sorted(journal.seen):
        if place.arm == WINNER:
            name = f"trial{place.trial}-lr{place.lr:g}-level{place.level}.safetensors"
            paths.append(setup.folder / "tickets" / name)
            study.ticket(trial=place.trial, lr=place.lr, level=place.level).save(paths[-1])
    return paths


def _headline(setup: Setup, display: Display) -> None:
    parts, config = setup.parts, setup.config
    arms = ", ".join(f"{name} x{n}" if n > 1 else name for name, (_, n) in parts.arms.items())
    arms = ", ".join([arms, *parts.methods])
    rates = ", ".join(f"{lr:g}" for lr in setup.recipe.rates)
    display.say(setup.id, "bold")
    display.say(
        f"{parts.layers.total:,} weights; {counted(config['trials'], 'trial')}, {_levels(parts)}, "
        f"{setup.recipe.steps:,} steps, lr {rates}; {arms}"
    )
    for note in setup.notes:
        display.say(note)


def _levels(parts: Experiment) -> str:
    last = max(parts.levels, default=0)
    if parts.levels == tuple(range(1, last + 1)):
        return counted(last, "level")
    return f"compared at level{'s' * (len(parts.levels) > 1)} {', '.join(map(str, parts.levels))}"


def _time(planned: Plan) -> str:
    if planned.seconds is None:
        return (
            "time unmeasured (nothing alike has been trained on this machine; plan.measure=true "
            "times a few steps)"
        )
    where = "on the GPU" if planned.on_gpu else f"on {planned.workers} worker(s)"
    return f"about {duration(planned.seconds)} {where}"
