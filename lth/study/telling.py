"""What a user is told of a study: a line per level, and at its end files, table and verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lth.measured import Measured
from lth.records.record import Record
from lth.records.statistics import level_line
from lth.store.entry import StoredMember
from lth.study.progress import Display, attempt
from lth.types import MemberId


def tell_level(
    display: Display, entries: Mapping[MemberId, StoredMember], level: Sequence[Record],
    whole: Sequence[Record], measured: Measured,
) -> None:  # fmt: skip
    """Tell what a level gave, and where it can be seen what the whole study says so far."""
    from lth.records.verdict import so_far

    _warn_of_divergence(entries, display)
    display.ended(
        level_line(level, measured),
        lambda: attempt("verdict so far", lambda: so_far(whole, measured), [], display),
    )


def _warn_of_divergence(entries: Mapping[MemberId, StoredMember], display: Display) -> None:
    ended = [(p, e.diverged) for p, e in entries.items() if e.diverged is not None]
    if ended:
        (place, step), more = ended[0], len(ended) - 1
        display.note(
            f"diverged: {place.arm}, lr {place.lr:g}, trial {place.trial}, level {place.level}, at "
            f"step {step}" + (f", and {more} more" if more else "") + "; it is recorded as such"
        )


def show(display: Display, records: list[Record], measured: Measured, full: bool) -> None:
    """Show the tables, and below them the verdict: what is read first stands last."""
    from lth.records.budget_table import budget_tables
    from lth.records.table import tables
    from lth.records.verdict import verdict

    width = display.console.width
    shown = attempt("table", lambda: tables(records, width, measured, full), [], display)
    shown += attempt("budget", lambda: budget_tables(records, width, measured, full), [], display)
    for table in shown:
        display.say(table)
        display.say("")
    for line in attempt("verdict", lambda: verdict(records, measured), [], display):
        display.tell(line, "dim" if line.startswith("(") else "")


def say_where(display: Display, folder: Path, figures: Sequence[Path]) -> None:
    """Say where the records and the figures lie."""
    from lth.results.figures import told

    display.say(f"records: {folder / 'records.csv'}")
    for line in told(figures):
        display.say(f"figure:  {line}")
