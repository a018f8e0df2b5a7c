"""The files of a comparison: two tables, and which studies they are made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lth.errors import LthError
from lth.files import write_atomic
from lth.provenance import now, provenance
from lth.records.record import write_table
from lth.results.compare.budget import Best, header
from lth.results.compare.rows import Comparison
from lth.store.study import Study


def write_comparison(
    folder: Path, comparison: Comparison, best: Sequence[Best], studies: Sequence[Study]
) -> None:
    """Write ``compare.csv``, ``equal_cost.csv`` and ``provenance.json``."""
    about = provenance() | {
        "written": now(),
        "reference": comparison.reference,
        "densities": comparison.densities,
        "dense_flops": comparison.dense_flops,
        "studies": [str(study.folder) for study in studies],
    }
    rows = [row.columns(comparison.what) for row in comparison.rows]
    chosen = [b.row.columns(comparison.what) | b._asdict() for b in best]
    names = list(dict.fromkeys(header(comparison.what)))
    try:
        write_table(folder / "compare.csv", rows[0], (row.values() for row in rows))
        write_table(folder / "equal_cost.csv", names, ([row[n] for n in names] for row in chosen))
        write_atomic(folder / "provenance.json", json.dumps(about, indent=2).encode())
    except OSError as error:
        raise LthError(f"{folder}: cannot write there ({error.strerror}); set out=DIR") from None
