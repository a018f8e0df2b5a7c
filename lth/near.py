"""What an unknown setting may have meant: ``lr`` is recipe.lr, ``recipe.stepz`` recipe.steps."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lth.errors import nearest
from lth.known import GROUPS, SEVERAL, all_groups, everywhere, of_choice, settings_in, top_level
from lth.presets import offered

ELSEWHERE = {
    "arch": "model", "architecture": "model", "network": "model", "net": "model",
    "dataset": "data", "data_dir": "data.root", "batch_size": "recipe.batch",
    "learning_rate": "recipe.lr", "weight_decay": "recipe.optimizer.weight_decay",
    "momentum": "recipe.optimizer.momentum", "iterations": "recipe.steps",
    "epochs": "recipe.steps (updates: epochs x examples / recipe.batch)",
    "epoch": "recipe.steps (updates: epochs x examples / recipe.batch)",
    "pruning": "prune", "pruning_rate": "prune.rate", "rewinding": "rewind",
    "sparsity": "prune.rate (the share pruned per level) and levels",
    "density": "prune.rate (the share pruned per level) and levels",
    "replicates": "trials", "repeats": "trials", "seeds": "trials (or a sweep: -m seed=0,1)",
    "gpu": "trainer.device", "cuda": "trainer.device", "num_workers": "trainer.workers",
    "output": "out", "output_dir": "out", "lr_schedule": "recipe/schedule",
    "scheduler": "recipe/schedule", "criterion": "recipe.loss",
}  # fmt: skip
"""What other frameworks call a setting."""


def no_setting(key: str, known: Iterable[str], own: Path | None = None) -> str:
    """Say that there is no setting of this name, and which may be meant."""
    return f"{key}: no such setting{meant(key, known, own)}"


def meant(key: str, known: Iterable[str], own: Path | None = None) -> str:
    """Return ``; did you mean x?``, x a setting or a group at its full place, else what there is.

    >>> meant("optimizer", ["trials"]), meant("trails", ["trials"])
    ('; did you mean recipe/optimizer?', '; did you mean trials?')
    """
    known = list(known)
    if key in ELSEWHERE:
        return f"; did you mean {ELSEWHERE[key]}?"
    groups = [group for group in all_groups() if group.endswith(f"/{key}")]
    groups += difflib.get_close_matches(key, all_groups(), 1) if "/" in key else []
    one_letter = difflib.get_close_matches(key, known, 1, 0.9)  # level: levels
    found = groups or one_letter or ending(key, own) or difflib.get_close_matches(key, known, 1)
    if not found:
        last = {p.rpartition(".")[2]: p for p in reversed(_shallow(everywhere(own)))}
        found = [last[name] for name in difflib.get_close_matches(key, last, 1, 0.75)]
    return f"; did you mean {found[0]}?" if found else nearest(key, known)


def is_list(key: str) -> bool:
    """Whether a setting may be a list: of names, of levels, of rates."""
    setting = everywhere(None).get(key)
    lists = ("levels", "recipe.lr", "studies", "budgets", "fit.values", "fit.budget", *SEVERAL)
    return key in lists or (setting is not None and isinstance(setting.value, list))


def ending(name: str, own: Path | None = None) -> list[str]:
    """Return the settings of the default way to train that end in a name, the outermost first."""
    places = (p for p in everywhere(own) if p.endswith(f".{name}") and not p.startswith("task."))
    return _shallow(places)


def _shallow(places: Iterable[str]) -> list[str]:
    """Sort places, the outermost and those of one choice first, a recipe's before others'."""
    ranked = sorted(
        places,
        key=lambda p: (p.split(".")[0] in SEVERAL, p.count("."), not p.startswith("recipe.")),
    )
    return [p for p in ranked if p.split(".")[0] in (*GROUPS, *top_level())]


def having(key: str, own: Path | None = None) -> list[str]:
    """Return the choices of its group that have a setting."""
    group = key.partition(".")[0]
    if group not in GROUPS or group in (*SEVERAL, "experiment"):
        return []
    names = offered(group, own)
    return [n for n in names if any(s.place == key for s in of_choice(group, n, own))]


def inside(key: str, values: Mapping[str, Any], own: Path | None = None) -> str:
    """Say what an unknown setting inside of a group may have meant, of a composed configuration."""
    group, _, rest = key.partition(".")
    found = values.get(group)
    if group not in values:
        return meant(key, {p: None for p in everywhere(own)}, own)
    if not isinstance(found, Mapping):
        return f"; {group} is a value, not a table"
    chosen = rest.partition(".")[0]
    if group in SEVERAL and chosen not in found:
        if chosen in offered(group, own):
            return f"; none is chosen: {group}=[{chosen}]"
        return nearest(f"{group}.{chosen}", [f"{group}.{n}" for n in offered(group, own)])
    if others := having(key, own):
        return f"; {' or '.join(f'{group}={n}' for n in others[:4])} has it"
    known = [s.place for s in settings_in(found, group)]
    known += [f"{group}.{k}" for k in found if k != "_target_"]
    ends = [p for p in known if p.endswith(f".{rest}")]
    if ends:
        return f"; did you mean {min(ends, key=len)}?"
    if known:
        return nearest(key, dict.fromkeys(known))
    if "_target_" in found:
        return f"; {found['_target_']} takes none"
    return f"; none is chosen: {group}=[{chosen}]"
