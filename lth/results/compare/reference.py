"""Which studies are one, and what all others are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from lth.config import NOT_IN_STUDY_ID, without_root
from lth.errors import LthError, nearest
from lth.results.compare.studies import changes
from lth.store.study import Study
from lth.types import WINNER

Group = Sequence[Study]
"""Studies that differ in seed alone: their trials are one study's."""

REWINDS = ("to_step", "to_init", "to_epoch")


class Reference(NamedTuple):
    """The arm of a group that others are compared with, and in words why that one.

    ``plain`` says that no other study could be meant by the bare name of an arm.
    """

    group: Group
    arm: str
    words: str
    plain: bool


def pooled(studies: Sequence[Study]) -> list[Group]:
    """Group the studies that differ in seed alone, in the order of the first of each."""
    groups: list[list[Study]] = []
    for study in studies:
        alike = (g for g in groups if all(_seeds_apart(study, other) for other in g))
        if (home := next(alike, None)) is None:
            groups.append(home := [])
        home.append(study)
    return list(groups)


def pool_notes(groups: Sequence[Group]) -> list[str]:
    """Say what is pooled."""
    return [
        f"{', '.join(s.id for s in group)}: pooled, as they differ in seed alone "
        f"({', '.join(str(s.config['seed']) for s in group)}): more trials of one study"
        for group in groups
        if len(group) > 1
    ]


def choose(groups: Sequence[Group], wanted: str | None) -> Reference:
    """Return the reference: what ``reference=STUDY/ARM``, or either of them, names.

    Without one: the winning ticket of iterative magnitude pruning, else the first study's.
    """
    imp = _magnitude(groups)
    default, plain = (imp or groups)[0], len(groups) == 1 or len(imp) == 1
    group, arm = _named(groups, wanted, default) if wanted else (default, WINNER)
    words = f"reference: {arm} of {group[0].id}"
    if not wanted and len(groups) > 1:
        why = "iterative magnitude pruning"
        if len(imp) > 1:
            why = f"the first of {len(imp)} with {why}"
        elif not imp:
            why = f"the first; no study is {why}"
        words += f" ({why}; reference=STUDY/ARM names another)"
    return Reference(group, arm, words, plain and (not imp or group is default))


def _magnitude(groups: Sequence[Group]) -> list[Group]:
    """Return the groups of iterative magnitude pruning: those that rewind weights, or else all."""
    imp = [g for g in groups if _is(g, "score", "magnitude") and _is(g, "search", "iterative")]
    return [g for g in imp if _is(g, "rewind", *REWINDS)] or imp


def _is(group: Group, setting: str, *choices: str) -> bool:
    value = group[0].config.get(setting)
    return isinstance(value, dict) and value["_target_"].rpartition(".")[2] in choices


def _named(groups: Sequence[Group], wanted: str, default: Group) -> tuple[Group, str]:
    """Find what a text names: a study by folder or name (or how it begins), an arm, or both."""
    name, _, arm = wanted.partition("/")
    named = [g for g in groups if any(name in (s.id, s.config["name"]) for s in g)]
    named = named or [g for g in groups if name and any(s.id.startswith(name) for s in g)]
    if not named and not arm and name in _arms(default):
        return default, name
    if len(named) != 1:
        ids = ", ".join(s.id for group in named or groups for s in group)
        arms = "" if arm else f", and no such arm of {default[0].id}"
        what = "several studies are named so: " if named else f"no such study{arms}; there are "
        raise LthError(f"reference={wanted}: {what}{ids}")
    group, arm = named[0], arm or WINNER
    if arm not in _arms(group):
        near = nearest(arm, _arms(group)) if _arms(group) else ""
        raise LthError(f"reference={wanted}: {group[0].id} has no pruned {arm}{near}")
    return group, arm


def _arms(group: Group) -> list[str]:
    return list(dict.fromkeys(r.arm for s in group for r in s.records if r.level > 0))


def _seeds_apart(one: Study, other: Study) -> bool:
    """Whether two studies have one name and all settings but the seed in common."""
    a, b = one.config, other.config
    if a["name"] != b["name"] or a["seed"] == b["seed"] or _identity(one) != _identity(other):
        return False  # also where the data, or the code, is another
    keys = ({*a, *b} - {*NOT_IN_STUDY_ID, "seed"}) | {"trainer"}
    arms = a["arms"].keys() & b["arms"].keys()
    return not any(changes(a["arms"][n], b["arms"][n], n) for n in arms) and not any(
        changes(_plain(a.get(key), key), _plain(b.get(key), key), key) for key in keys
    )


def _identity(study: Study) -> Any:
    try:
        return study.provenance.get("identity")
    except LthError:
        return None


def _plain(value: Any, key: str) -> Any:
    """Leave out of a setting what is not part of what a study is."""
    if key == "trainer":
        return [str((value or {}).get("precision", "32")), (value or {}).get("compile")]
    return without_root(value)
