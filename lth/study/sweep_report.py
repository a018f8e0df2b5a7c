"""What a sweep ends with: one table and one figure over its jobs, in its own folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from lth.errors import LthError
from lth.measured import measured_of
from lth.records.intervals import grouped
from lth.records.judged import Judged
from lth.records.objective import Objective, Outcome, is_higher_better, outcome_of
from lth.records.record import Record, write_table
from lth.records.statistics import Cell, percent, summarise
from lth.records.table import plain_table
from lth.results.figure_options import figure_options
from lth.results.sweep import (
    Finished,
    SweepRow,
    Value,
    best_of,
    columns,
    is_grid,
    number_of,
    rows_of,
)
from lth.store.study import Study
from lth.study.jobs import DONE, FAILED, SweepJob, read_jobs
from lth.study.progress import Display, attempt, teller
from lth.study.settings import check_values, levels_of
from lth.types import WINNER

MOST = 30
"""Rows of a table on the terminal; all are in ``sweep.csv``."""


def outcome(
    study: Study, asked: Objective, config: Mapping[str, Any]
) -> tuple[float, dict[str, Any]] | None:
    """Return what a job returns to its sweeper, and what its file says of it."""
    deepest = max(levels_of(config["levels"]), default=0)  # the study may hold more than is asked
    records = [r for r in study.records if r.trial < config["trials"] and r.level <= deepest]
    wanted = asked._replace(level=deepest if asked.level is None else asked.level)
    found = outcome_of(records, wanted, config)
    if found is None:
        return None
    return found.value, _about(records, wanted, found, config)


def _about(
    records: Sequence[Record], asked: Objective, found: Outcome, config: Mapping[str, Any]
) -> dict[str, Any]:
    dense = outcome_of(
        [r for r in records if r.lr == found.lr], Objective(asked.measure, WINNER, 0, asked.split),
        config,
    )  # fmt: skip
    cell = summarise(records).get(Cell(found.lr, WINNER, 0))
    measure = asked.measure or measured_of(config).metric
    return {
        "arm": asked.arm, "level": found.level, "lr": found.lr, "density": found.density,
        "begun": len(cell.seen) if cell else len(found.trials), "trials": found.trials,
        "dense": dense.trials if dense else {}, "measure": measure, "split": asked.split,
        "higher": is_higher_better(asked, config),
    }  # fmt: skip


def report_sweeps(config: Mapping[str, Any], display: Display) -> None:
    """Show the table of a sweep again, or of one whose command has gone: studies=[its folder]."""
    check_values({**config, "name": config.get("name") or "sweep"})
    folders = config["studies"]
    if not isinstance(folders, list) or not folders:
        raise LthError("studies: name a sweep's folder: 'studies=[out/multirun/DATE/TIME]'")
    for folder in folders:
        report(Path(str(folder)).expanduser(), display, config)


def report(folder: Path, display: Display, config: Mapping[str, Any] | None = None) -> None:
    """Show a sweep's jobs in one table, write ``sweep.csv`` and draw ``sweep``.

    ``config`` may say how figures are drawn.
    """
    jobs = read_jobs(folder)
    if not jobs:
        raise LthError(f"{folder}: no jobs of a sweep: it has no jobs/*.json")
    going = [job for job in jobs if job.state not in (DONE, FAILED)]
    for job in going:
        display.note(f"job {job.number}: {job.state}: not in the table yet")
    ended = [_finished(job) for job in jobs if job not in going]
    rows, what = rows_of(ended), _what([job for job in jobs if job.outcome])
    if not any(row.value is not None for row in rows):
        failed = grouped([job for job in jobs if job.state == FAILED], lambda job: job.error)
        for error, own in failed.items():
            numbers = ", ".join(str(job.number) for job in own)
            display.note(f"failed: job{'s' * (len(own) > 1)} {numbers}: {error}")
        return
    _write(folder, rows, what)
    display.say("")
    display.say(attempt("table", lambda: _table(rows, what, _title(rows, what)), "", display))
    for line in _below(rows, what):
        display.say(line)
    from lth.results.figures import Sheet, save_all, told
    from lth.results.figures.sweep import sweep_figure

    sheet = Sheet(figure_options(config))
    drawings = {"sweep": lambda: sweep_figure(rows, what, sheet)}
    figures = save_all(drawings, folder, teller(display), sheet=sheet)
    display.say(f"\ntable:   {folder / 'sweep.csv'}")
    for line in told(figures):
        display.say(f"figure:  {line}")


def _finished(job: SweepJob) -> Finished:
    value, about = None, job.outcome
    if about is not None:
        known = {n: about[n] for n in Value._fields}
        for name in ("trials", "dense"):
            known[name] = {int(trial): v for trial, v in about[name].items()}
        value = Value(**known)
    return Finished(job.number, _settings(job.overrides), job.study or "", value, job.error)


def _settings(overrides: Sequence[str]) -> dict[str, str]:
    """Read a job's overrides as names and texts, without Hydra's marks."""
    pairs = (text.lstrip("+~").partition("=") for text in overrides)
    return {name: value.strip("'\"") for name, _, value in pairs}


def _what(jobs: Sequence[SweepJob]) -> Judged:
    """Return how the jobs' values are written; those of one sweep are of one measure."""
    if not jobs or jobs[0].outcome is None:
        return Judged()
    first = jobs[0].outcome
    values = [v for job in jobs if job.outcome for v in job.outcome["trials"].values()]
    share = first["higher"] and bool(values) and all(0 <= v <= 1 for v in values)
    return Judged(first["split"], first["measure"], first["higher"], share)


def _write(folder: Path, rows: Sequence[SweepRow], what: Judged) -> None:
    made = [columns(row, what) for row in rows]
    try:
        write_table(folder / "sweep.csv", list(made[0]), [list(row.values()) for row in made])
    except OSError as error:
        raise LthError(f"{folder}: cannot write there ({error.strerror})") from None


def _title(rows: Sequence[SweepRow], what: Judged) -> str:
    first = next(r for r in rows if r.value is not None)
    seeds = len({seed for row in rows for seed in row.seeds})
    pooled = f"; {seeds} seeds pooled" if seeds > 1 else ""
    levels = sorted({r.level for r in rows if r.value is not None})
    where = f"level {levels[0]}" if len(levels) == 1 else "the deepest level"
    return f"sweep: {what.words} of {first.arm} at {where}{pooled}"


def _table(rows: Sequence[SweepRow], what: Judged, title: str) -> Table:
    names, best = list(rows[0].settings), best_of(rows, what)
    shown = rows if is_grid(rows) else sorted(rows, key=lambda r: -r.merit(what))
    table = plain_table(title)
    for name in names:
        table.add_column(name, overflow="fold", min_width=6)
    unit = " %" * what.share
    for head in ("n", f"dense{unit}", f"{what.metric}{unit}", "density"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in shown[:MOST]:
        cells = [escape(_shown(row.settings[n])) for n in names]
        style = "bold" if row is best else ""
        table.add_row(*cells, *_numbers(row, what), style=style)
    return table


def _shown(value: str) -> str:
    """Write a setting: of an optimizer's many digits four."""
    number = number_of(value)
    return (value or "-") if number is None or len(value) <= 8 else f"{number:.4g}"


def _numbers(row: SweepRow, what: Judged) -> list[str]:
    if row.begun == 0:
        return ["0", "", "failed" if row.errors else "-", ""]
    value = "-" if row.value is None else what.with_half(row.value)
    if row.ended:
        value = f"{row.ended} diverged" if row.value is None else f"{value} ({row.ended} diverged)"
    dense = "-" if row.dense is None else what.text(row.dense.mean)
    return [str(row.begun), dense, value, percent(row.density)]


def _below(rows: Sequence[SweepRow], what: Judged) -> list[str]:
    """Say what the table does not: what is left out, what failed, and which row is best."""
    lines = []
    if len(rows) > MOST:
        lines.append(f"... and {len(rows) - MOST} more in sweep.csv")
    for row in rows:
        jobs = ", ".join(map(str, row.jobs))
        lines += [f"job {jobs}: failed: {error}" for error in row.errors]
    if any(row.value is not None and row.value.bounded for row in rows):
        lines.append("(± half the 95 % interval over trials, of all seeds)")
    if (best := best_of(rows, what)) is not None and best.value is not None:
        settings = " ".join(f"{n}={_shown(v)}" for n, v in best.settings.items())
        unit = " %" * what.share
        lines.append(f"best on {what.split}: {settings}: {what.text(best.value.mean)}{unit}")
    return lines
