"""The files of a comparison: two tables, and which studies they are made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lth.errors import LthError
from lth.files import write_atomic
from lth.provenance import now, provenance
from lth.records.judged import Judged
from lth.records.record import write_table
from lth.results.compare.budget import Best, header
from lth.results.compare.equal_budget import Within
from lth.results.compare.pareto import Point
from lth.results.compare.rows import Comparison
from lth.store.study import Study


def write_comparison(
    folder: Path, comparison: Comparison, best: Sequence[Best], studies: Sequence[Study]
) -> None:
    """Write ``compare.csv``, ``equal_cost.csv`` and ``provenance.json``."""
    about = {
        "reference": comparison.reference,
        "densities": comparison.densities,
        "dense_flops": comparison.dense_flops,
    }
    rows = [row.columns(comparison.what) for row in comparison.rows]
    chosen = [b.row.columns(comparison.what) | b._asdict() for b in best]
    names = list(dict.fromkeys(header(comparison.what)))
    tables = {
        "compare": (rows[0], [row.values() for row in rows]),
        "equal_cost": (names, [[row[n] for n in names] for row in chosen]),
    }
    _write(folder, tables, about, studies)


def write_budgets(
    folder: Path,
    axis: str,
    what: Judged,
    points: Sequence[Point],
    best: Sequence[Within],
    studies: Sequence[Study],
) -> None:
    """Write ``pareto.csv``, ``equal_budget.csv`` and ``provenance.json``."""
    rows = [point.columns(axis, what) for point in points]
    names = list(dict.fromkeys(name for row in rows for name in row))
    chosen = [within.columns(axis, what) for within in best]
    tables = {
        "pareto": (names, [[row.get(n) for n in names] for row in rows]),
        "equal_budget": (
            ["budget", *names],
            [[row.get(n) for n in ("budget", *names)] for row in chosen],
        ),
    }
    _write(folder, tables, {"axis": axis}, studies)


def _write(
    folder: Path,
    tables: Mapping[str, tuple[Iterable[str], Iterable[Iterable[Any]]]],
    about: Mapping[str, Any],
    studies: Sequence[Study],
) -> None:
    about = provenance() | {"written": now(), **about}
    about["studies"] = [str(study.folder) for study in studies]
    try:
        for name, (header, rows) in tables.items():
            write_table(folder / f"{name}.csv", header, rows)
        write_atomic(folder / "provenance.json", json.dumps(about, indent=2).encode())
    except OSError as error:
        raise LthError(f"{folder}: cannot write there ({error.strerror}); set out=DIR") from None
