"""Keep what a study found where others can see it: small, complete, and without the machine's name.

    python -m experiments.keep out/studies/<name>-<hash8> experiments/<paper>/<result>

writes ``levels.csv`` (mean, least, greatest per arm and level), ``differences.csv`` (paired over
trials, with 95 % intervals), ``about.json`` (command, settings, commit, versions) and the figures;
``analysis.csv`` too, after ``action=analyse``.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lth import LthError, Study
from lth.config import without_root
from lth.loggers.levels_csv import write_levels
from lth.records import write_atomic, write_table
from lth.statistics import EARLY, Cell, paired_difference, summarise
from lth.verdict import WINNER, verdict

MEASURES = (EARLY, "test_accuracy", "test_accuracy_end")
DIFFERENCE = ("lr", "level", "density", "minuend", "subtrahend", "measure", "mean", "low", "high",
              "trials")  # fmt: skip


def keep(study: Study, folder: Path) -> None:
    """Write a study's result into ``folder``."""
    write_levels(folder / "levels.csv", study.records)
    write_table(folder / "differences.csv", DIFFERENCE, differences(study))
    about = json.dumps(describe(study), indent=2, ensure_ascii=False) + "\n"
    write_atomic(folder / "about.json", about.encode())
    if (study.folder / "analysis.csv").is_file():
        shutil.copyfile(study.folder / "analysis.csv", folder / "analysis.csv")
    for figure in sorted((study.folder / "figures").glob("*.png")):
        shutil.copyfile(figure, folder / figure.name)


def differences(study: Study) -> Iterator[tuple[Any, ...]]:
    """Compare the tickets of every level with the dense network and with each other arm there."""
    summaries = summarise(study.records)
    for cell, summary in summaries.items():
        winner = Cell(cell.lr, WINNER, cell.level)
        other = Cell(cell.lr, WINNER, 0) if cell.arm == WINNER else cell
        if cell.level == 0:
            continue
        for measure in MEASURES:
            try:
                found = paired_difference(study.records, winner, other, measure)
            except LthError:
                continue  # every trial of one of them diverged
            name = "dense" if cell.arm == WINNER else cell.arm
            yield (cell.lr, cell.level, summary.density, WINNER, name, measure, *found)


def describe(study: Study) -> dict[str, Any]:
    """Say how the result was made, leaving out where: folders and the machine's name."""
    about = study.provenance
    config = {k: v for k, v in study.config.items() if k not in ("out", "logger", "action")}
    config["data"] = without_root(config["data"])
    words = [w for w in shlex.split(about["command"]) if w.partition("=")[0] not in ELSEWHERE]
    machine = {k: about["machine"][k] for k in ("cpu", "gpu")}
    return {
        "command": shlex.join(words), "commit": about["commit"], "written": about["written"],
        "python": about["python"], "versions": about["versions"], "machine": machine,
        "data": about["data"]["digest"], "verdict": verdict(study.records), "config": config,
    }  # fmt: skip


ELSEWHERE = ("out", "data.root", "logger", "name", "action")


def main(arguments: list[str]) -> None:
    """Keep the study that the first argument names in the folder that the second does."""
    if len(arguments) != 2:
        sys.exit(f"usage: python -m experiments.keep STUDY FOLDER\n\n{__doc__}")
    try:
        keep(Study(arguments[0]), Path(arguments[1]))
    except LthError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
