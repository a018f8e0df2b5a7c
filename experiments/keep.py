"""Keep what a study found where others can see it: small, complete, and without the machine's name.

    python -m experiments.keep out/studies/<name>-<hash8> experiments/<paper>/<result>

writes ``levels.csv`` (mean, least, greatest per arm and level), ``differences.csv`` (paired over
trials, with 95 % intervals), ``phases.csv`` (what every network, of methods every phase, ends with
on the test set: means over trials, with 95 % intervals, and the value of every trial),
``about.json`` (command, settings, commit, versions) and the figures; after ``action=analyse`` also
``analysis.csv``, ``matching.csv`` and ``paths.csv`` (here the mean over pairs and trials, least and
greatest, at every point of the lines).
Of a comparison,

    python -m experiments.keep out/compare/<name> experiments/<paper>/<result>

it copies ``compare.csv``, ``equal_cost.csv`` and ``compare.png``, or of one with an axis
``pareto.csv``, ``equal_budget.csv`` and ``pareto.png``; its ``about.json`` has the
command, commit and settings of every study that was compared.
"""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from lth import LthError, Study
from lth.config import without_root
from lth.loggers.levels_csv import write_levels
from lth.measured import measured_of
from lth.records.intervals import Interval, grouped, interval
from lth.records.record import Record, write_atomic, write_table
from lth.records.statistics import EARLY, Cell, paired_difference, summarise
from lth.records.verdict import WINNER, verdict

DIFFERENCE = ("lr", "level", "density", "minuend", "subtrahend", "measure", "mean", "low", "high",
              "trials")  # fmt: skip

PHASE = ("lr", "arm", "level", "phase", "density", "metric", "mean", "low", "high", "trials",
         "by_trial")  # fmt: skip

ANALYSED = ("analysis.csv", "matching.csv")
LINE = ("lr", "arm", "level", "density", "kind", "norms", "split", "alpha")


def keep(study: Study, folder: Path) -> None:
    """Write a study's result into ``folder``."""
    write_levels(folder / "levels.csv", study.records)
    write_table(folder / "differences.csv", DIFFERENCE, differences(study))
    about = json.dumps(describe(study), indent=2, ensure_ascii=False) + "\n"
    write_atomic(folder / "about.json", about.encode())
    write_table(folder / "phases.csv", PHASE, phases(study))
    if study.config.get("task"):  # it is judged by what its module logs: the rows say what
        shutil.copyfile(study.folder / "records.csv", folder / "records.csv")
    analysed = (study.folder / name for name in ANALYSED)
    figures = sorted((study.folder / "figures").glob("*.png"))
    for file in (*filter(Path.is_file, analysed), *figures):
        shutil.copyfile(file, folder / file.name)
    if (study.folder / "paths.csv").is_file():
        header = (*LINE, "error", "error_low", "error_high", "loss", "lines")
        write_table(folder / "paths.csv", header, mean_lines(study.folder / "paths.csv"))


def phases(study: Study) -> Iterator[tuple[Any, ...]]:
    """Average over trials what every network ends with on the test set, phase by phase.

    Copies of an arm are averaged within their trial. ``by_trial`` has what was averaged, in the
    order of trials, a space between, once where they are the same: trials are paired, so that
    differences can be made of them.
    """
    ends: dict[tuple[Any, ...], Record] = {}
    for row in study.records:
        place = (row.lr, row.arm, row.level, row.phase, row.metric, row.trial, row.copy)
        if row.split == "test" and row.step >= getattr(ends.get(place), "step", 0):
            ends[place] = row
    for (*place, metric), rows in grouped(ends.values(), _of_phase).items():
        trials = grouped(sorted(rows, key=lambda r: r.trial), lambda r: r.trial).values()
        values = [fmean(r.value for r in own) for own in trials]
        found = interval(values)
        density = fmean(r.density for r in rows)
        each = " ".join(map(repr, values)) if len(set(values)) > 1 else repr(values[0])
        yield (*place, density, metric, *_written(found), each)


def _written(found: Interval) -> tuple[float | str, ...]:
    """Return mean, bounds and number of trials; trials that give no bounds leave them blank."""
    bounds = (found.low, found.high) if found.bounded else ("", "")
    return found.mean, *bounds, found.n


def _of_phase(row: Record) -> tuple[Any, ...]:
    return row.lr, row.arm, row.level, row.phase, row.metric


def mean_lines(path: Path) -> Iterator[tuple[Any, ...]]:
    """Average the lines between networks over pairs and trials, point by point."""
    found: dict[tuple[str, ...], list[tuple[float, float]]] = defaultdict(list)
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            point = tuple(row[name] for name in LINE)
            found[point].append((float(row["error"]), float(row["loss"])))
    for point, values in found.items():
        errors, losses = zip(*values, strict=True)
        mean, loss = fmean(errors), fmean(losses)
        yield (*point, mean, min(errors), max(errors), loss, len(values))


def keep_comparison(source: Path, folder: Path) -> None:
    """Write a comparison's result into ``folder``; its studies must still be where they were."""
    found = json.loads((source / "provenance.json").read_text(encoding="utf-8"))
    about = json.dumps(describe_comparison(found), indent=2, ensure_ascii=False) + "\n"
    write_atomic(folder / "about.json", about.encode())
    for name in COMPARISON if (source / COMPARISON[0]).is_file() else AT_EQUAL_BUDGETS:
        shutil.copyfile(source / name, folder / name)


def differences(study: Study) -> Iterator[tuple[Any, ...]]:
    """Compare the tickets of every level with the dense network and with each other arm there."""
    summaries = summarise(study.records)
    for cell, summary in summaries.items():
        winner = Cell(cell.lr, WINNER, cell.level)
        other = Cell(cell.lr, WINNER, 0) if cell.arm == WINNER else cell
        if cell.level == 0:
            continue
        for measure in measures(study):
            try:
                found = paired_difference(study.records, winner, other, measure)
            except LthError:
                continue  # every trial of one of them diverged
            name = "dense" if cell.arm == WINNER else cell.arm
            where = cell.lr, cell.level, summary.density
            yield (*where, WINNER, name, measure, *_written(found))


def measures(study: Study) -> tuple[str, ...]:
    """Name what is compared: early stop, and what the study judges there and at the end."""
    metric = measured_of(study.config).metric
    tested = any((r.split, r.metric) == ("test", metric) for r in study.records)
    split = "test" if tested else "validation"
    return (EARLY, f"{split}_{metric}", f"{split}_{metric}_end")


def describe(study: Study) -> dict[str, Any]:
    """Say how the result was made, leaving out where: folders and the machine's name."""
    about = study.provenance
    config = {k: v for k, v in study.config.items() if k not in HERE}
    if "data" in config:
        config["data"] = without_root(config["data"])
    machine = {k: about["machine"][k] for k in ("cpu", "gpu")}
    return {
        "command": _command(about, ELSEWHERE), "commit": about["commit"],
        "written": about["written"], "python": about["python"], "versions": about["versions"],
        "machine": machine, "data": about["data"]["digest"], "verdict": verdict(study.records),
        "config": config,
    }  # fmt: skip


def describe_comparison(about: dict[str, Any]) -> dict[str, Any]:
    """Say how a comparison was made: settings that its studies share once, the others by study."""
    studies = [Study(folder) for folder in about["studies"]]
    found = {study.id: describe(study) for study in studies}
    first = found[studies[0].id]["config"]
    shared = {
        k: v for k, v in first.items() if all(d["config"].get(k) == v for d in found.values())
    }
    for described in found.values():
        config = described["config"]
        described["config"] = {k: v for k, v in config.items() if k not in shared}
    command = _command(about, ("out", "data.root", "logger", "studies"))
    command += f" 'studies=[{','.join(f'out/studies/{study.id}' for study in studies)}]'"
    said = ("commit", "written", "reference", "densities", "dense_flops", "axis")
    kept = {k: about[k] for k in said if k in about}
    return {"command": command, **kept, "config": shared, "studies": found}


def _command(about: dict[str, Any], left_out: tuple[str, ...]) -> str:
    words = shlex.split(about["command"])
    return shlex.join(w for w in words if w.partition("=")[0] not in left_out)


COMPARISON = ("compare.csv", "equal_cost.csv", "compare.png")
AT_EQUAL_BUDGETS = ("pareto.csv", "equal_budget.csv", "pareto.png")

HERE = ("out", "logger", "action", "studies", "reference", "axis", "budgets", "figures")
ELSEWHERE = ("out", "data.root", "logger", "name", "action")


def main(arguments: list[str]) -> None:
    """Keep what the first argument names, a study or a comparison, in the folder of the second."""
    if len(arguments) != 2:
        sys.exit(f"usage: python -m experiments.keep STUDY FOLDER\n\n{__doc__}")
    source, folder = map(Path, arguments)
    try:
        if any((source / name).is_file() for name in (COMPARISON[1], AT_EQUAL_BUDGETS[1])):
            keep_comparison(source, folder)
        else:
            keep(Study(source), folder)
    except LthError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
