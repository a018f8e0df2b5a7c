"""The files of results keep their columns, their order and their numbers."""

import csv
from pathlib import Path

import pytest

from lth.loggers.levels_csv import write_levels
from lth.records.matching import Match, matching
from lth.records.record import write_table
from lth.results.compare.budget import equal_cost
from lth.results.compare.rows import compare
from lth.results.compare.write import write_comparison
from tests.synthetic import REINIT, study
from tests.test_compare import snip, tickets

GOLDEN = Path(__file__).parent / "golden" / "results"


def write(folder):
    """Write every table of results, of forged records."""
    gone = {(1, 0, 0.0012, REINIT, 2), *((t, 1, 0.0012, REINIT, 3) for t in range(3))}
    records, _ = study(trials=3, levels=3, copies=2, steps=600, diverged=gone)
    write_levels(folder / "levels.csv", records)
    write_table(folder / "matching.csv", Match._fields, matching(records))
    found = compare([tickets(), snip()], levels=[1, 3])
    best = equal_cost(found.rows, found.densities, what=found.what)
    write_comparison(folder, found, best, [])


def alike(one, other):
    """Whether two cells are equal, numbers up to the last bits, which SciPy's version decides."""
    try:
        return float(one) == pytest.approx(float(other), rel=1e-9, nan_ok=True)
    except ValueError:
        return one == other


@pytest.mark.parametrize("name", ["levels", "matching", "compare", "equal_cost"])
def test_a_table_is_as_it_was(name, tmp_path):
    """Written anew by ``write`` where a change of the tables is meant."""
    write(tmp_path)
    now, then = (
        list(csv.reader((folder / f"{name}.csv").read_text().splitlines()))
        for folder in (tmp_path, GOLDEN)
    )
    assert now[0] == then[0] and len(now) == len(then)
    for row, old in zip(now[1:], then[1:], strict=True):
        assert all(map(alike, row, old)), (row, old)
