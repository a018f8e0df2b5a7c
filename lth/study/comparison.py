"""Several studies side by side: at one density and equal cost, or at equal budgets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lth.measured import measured_of
from lth.records.budget import judged_of
from lth.store.study import Study
from lth.study.logged import log_figures
from lth.study.progress import Display, attempt, teller
from lth.study.settings import check_values


def compare_studies(config: Mapping[str, Any], display: Display) -> Path:
    """Compare the methods of several studies at one density, and at equal total cost.

    Return the folder with its tables and figures.

    With an ``axis``: what their packed networks give for what they cost, and at equal budgets.
    """
    from lth.results.compare.budget import equal_cost
    from lth.results.compare.reference import choose, pool_notes, pooled
    from lth.results.compare.rows import compare
    from lth.results.compare.studies import find, fit, name_of, sources
    from lth.results.compare.table import (
        budget_legend,
        budget_tables,
        comparison_tables,
        legend,
    )
    from lth.results.compare.write import write_comparison
    from lth.results.figures import save_all, sheet_of, told
    from lth.results.figures.compare import comparison_figure

    studies = find(config["studies"])
    config = {**config, "name": config["name"] or name_of(studies)}
    check_values(config)
    if config.get("axis"):
        return compare_budgets(config, studies, display)
    groups = pooled(studies)
    chosen = choose(groups, config.get("reference"))
    groups.sort(key=lambda group: group is not chosen.group)
    studies = [study for group in groups for study in group]
    seeds = {study.config["seed"] for study in chosen.group}
    for note in [*fit(studies, seeds), *pool_notes(groups), chosen.words]:
        display.note(note)
    levels = config["levels"] if isinstance(config["levels"], list) else None
    measured = measured_of(chosen.group[0].config)
    comparison = compare(sources(groups, chosen.plain), levels, chosen.arm, measured)
    best = equal_cost(comparison.rows, comparison.densities, what=comparison.what)
    folder, width = Path(config["out"]) / "compare" / config["name"], display.console.width
    write_comparison(folder, comparison, best, studies)
    sheet = sheet_of(config, _arms(studies), [study.config for study in studies])
    figures = save_all(
        {"compare": lambda: comparison_figure(comparison, sheet)}, folder, teller(display), sheet
    )
    for tables, words in (
        (
            attempt("table", lambda: comparison_tables(comparison, width), [], display),
            legend(comparison),
        ),
        (
            attempt("table", lambda: budget_tables(best, width, comparison.what), [], display),
            budget_legend(comparison.what),
        ),
    ):
        for table in tables:
            display.say(table)
            display.say("")
        if tables:
            display.say(words + "\n")
    for path in (folder / "compare.csv", folder / "equal_cost.csv"):
        display.say(f"table:   {path}")
    for line in told(figures):
        display.say(f"figure:  {line}")
    log_figures(config, folder, figures, ("compare.csv", "equal_cost.csv"), display)
    display.say(f"trained 0 members, reused {members_of(studies)}")
    return folder


def compare_budgets(config: Mapping[str, Any], studies: list[Study], display: Display) -> Path:
    """Compare what packed networks give for their bytes, multiply-adds, numbers or density."""
    from lth.results.compare.budget_table import axis_legend, axis_tables
    from lth.results.compare.equal_budget import too_small, within_budgets
    from lth.results.compare.pareto import points
    from lth.results.compare.reference import choose, pool_notes, pooled
    from lth.results.compare.studies import fit, sources
    from lth.results.compare.write import write_budgets
    from lth.results.figures import save_all, sheet_of, told
    from lth.results.figures.pareto import pareto_figure

    axis, groups = str(config["axis"]), pooled(studies)
    plain = choose(groups, config.get("reference")).plain
    seeds = {study.config["seed"] for study in studies}  # no rows are paired here
    for note in [*fit(studies, seeds, alike=("data",)), *pool_notes(groups)]:
        display.note(note)
    given = sources(groups, plain, phases=True)
    what = judged_of((r for s in given for r in s.records), measured_of(studies[0].config))
    found = points(given, axis, what)
    best = within_budgets(found, what, config.get("budgets"))
    for line in too_small(config.get("budgets"), found, axis):
        display.note(line)
    name, width = f"{config['name']}-{axis}", display.console.width
    folder = Path(config["out"]) / "compare" / name
    write_budgets(folder, axis, what, found, best, studies)
    sheet = sheet_of(config, _arms(studies), [study.config for study in studies])
    figures = save_all(
        {"pareto": lambda: pareto_figure(found, axis, what, sheet)}, folder, teller(display), sheet
    )
    for table in attempt("table", lambda: axis_tables(found, best, axis, what, width), [], display):
        display.say(table)
        display.say("")
    display.say(axis_legend(what) + "\n")
    for path in (folder / "pareto.csv", folder / "equal_budget.csv"):
        display.say(f"table:   {path}")
    for line in told(figures):
        display.say(f"figure:  {line}")
    log_figures(config, folder, figures, ("pareto.csv", "equal_budget.csv"), display)
    display.say(f"trained 0 members, reused {members_of(studies)}")
    return folder


def members_of(studies: list[Study]) -> int:
    """Count the members of studies."""
    return sum(len({(r[1:6], r.phase) for r in study.records}) for study in studies)


def _arms(studies: list[Study]) -> list[str]:
    """Return the arms of a study that is alone: they look as they do in its own figures."""
    return [r.arm for r in studies[0].records] if len(studies) == 1 else []
