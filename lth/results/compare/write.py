"""The files of a comparison: two tables, and which studies they are made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lth.errors import LthError
from lth.files import write_atomic
from lth.provenance import now, provenance
from lth.records.record import write_table
from lth.results.compare.budget import Best
from lth.results.compare.rows import Comparison, Row
from lth.store.study import Study


def write_comparison(
    folder: Path, found: Comparison, best: Sequence[Best], studies: Sequence[Study]
) -> None:
    """Write ``compare.csv``, ``equal_cost.csv`` and ``provenance.json``."""
    about = provenance() | {
        "written": now(),
        "reference": found.reference,
        "densities": found.densities,
        "dense_flops": found.dense_flops,
        "studies": [str(study.folder) for study in studies],
    }
    try:
        write_table(folder / "compare.csv", Row._fields, found.rows)
        write_table(folder / "equal_cost.csv", Best._fields, best)
        write_atomic(folder / "provenance.json", json.dumps(about, indent=2).encode())
    except OSError as error:
        raise LthError(f"{folder}: cannot write there ({error.strerror}); set out=DIR") from None
