"""Several studies on disk: found by pattern, fit to be compared, named by what differs."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from lth.config import NOT_IN_STUDY_ID, without_root
from lth.errors import LthError
from lth.records.record import Record, last_phases
from lth.store.study import Study

SEPARATORS = "-_. "

ONE_DATA = "only studies of one data set can be compared"


class Source(NamedTuple):
    """A study's records, and its label among the others: empty where its arms need none.

    Trials of one number are one trial in all sources, and paired; ``weights`` counts those of the
    dense network, None where that cannot be known.
    """

    label: str
    study: str
    weights: int | None
    records: Sequence[Record]


class Change(NamedTuple):
    """A setting that two configurations have otherwise."""

    path: str
    ours: Any
    theirs: Any


def find(patterns: Any) -> list[Study]:
    """Return the studies that folders and shell-style patterns name, each once, in their order.

    Those of one pattern come with most arms recorded first, then by name: the first of all gives
    the reference.
    """
    wanted = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(wanted, list) or not wanted or not all(isinstance(p, str) for p in wanted):
        raise LthError(
            f"studies={patterns!r}: name folders or patterns: 'studies=[out/studies/compare-*]'"
        )
    studies: dict[str, Study] = {}
    for pattern in wanted:
        matched = [Study(folder) for folder in _folders(pattern)]
        for study in sorted(matched, key=lambda s: (-len(_arms(s)), s.id)):
            other = studies.setdefault(study.id, study).folder
            if other.resolve() != study.folder.resolve():
                raise LthError(f"{study.folder}: the same study as {other}; name one of them")
    return list(studies.values())


ALIKE = ("data", "model", "task")
"""What studies that are compared at one density have in common."""


def fit(
    studies: Sequence[Study], paired: Collection[int] = (), alike: Collection[str] = ALIKE
) -> list[str]:
    """Refuse studies of other data or another model than the first; say what else differs.

    ``alike`` are the settings that must be; ``paired`` are the seeds of the first's trials, its own
    if it stands alone.
    """
    first = studies[0]
    notes = [_incomplete(first)]
    for other in studies[1:]:
        for what in alike:
            _same(what, first, other)
        others = [c for what in ALIKE if what not in alike for c in _changes(what, first, other)]
        notes += [_told(other, others, first)] if others else []
        if len({_content(first), _content(other)} - {None}) > 1:
            raise LthError(f"{other.id}: its data hold others than those of {first.id}: {ONE_DATA}")
        seed, recipe = _changes("seed", first, other), _changes("recipe", first, other)
        if seed and other.config["seed"] not in paired:
            notes.append(f"{_told(other, seed, first)}: other trials, so its rows are not paired")
        if recipe:
            longer = any(c.path in ("recipe.steps", "recipe.batch") for c in recipe)
            note = " (dense runs are those of the latter)" * longer
            notes.append(_told(other, recipe, first) + note)
        notes.append(_incomplete(other))
    return [note for note in notes if note]


def sources(
    groups: Sequence[Sequence[Study]], plain: bool = True, phases: bool = False
) -> list[Source]:
    """Read the records of studies, each a group of those that differ in seed alone.

    Trials get numbers that tell seeds apart; with ``plain`` the first study has no label. Of a
    method's ``phases`` at a level those before the last are left out, unless they are asked for.
    """
    weights = groups[0][0].weights
    studies = [study for group in groups for study in group]
    seeds = sorted({study.config["seed"] for study in studies})
    step = 1 + max((r.trial for study in studies for r in study.records), default=0)
    named = labels([(group[0].id, group[0].config) for group in groups], plain)
    made = []
    for label, group in zip(named, groups, strict=True):
        ids = " + ".join(study.id for study in group)
        records = [
            r._replace(study=ids, trial=r.trial + step * seeds.index(study.config["seed"]))
            for study in group for r in (study.records if phases else last_phases(study.records))
        ]  # fmt: skip
        made.append(Source(label=label, study=ids, weights=weights, records=records))
    return made


def labels(studies: Sequence[tuple[str, Mapping[str, Any]]], plain: bool = True) -> list[str]:
    """Label each (id, configuration) by its name without what all share; not the first if plain.

    Studies of one name are told apart by the settings that differ, at last by their hash.

    >>> labels([("c-a-1", {"name": "c-a"}), ("c-snip-2", {"name": "c-snip"})])
    ['', 'snip']
    """
    names = [str(config["name"]) for _, config in studies]
    cut, told = len(shared_prefix(names)), []
    for (_, config), name in zip(studies, names, strict=True):
        twins = [c for _, c in studies if c["name"] == name and c is not config]
        told.append(", ".join(filter(None, (name[cut:], _settings(config, twins)))))
    first = int(plain)
    alone = [text for text in told if told[first:].count(text) == 1]
    hashed = [own[cut:].strip(SEPARATORS) for own, _ in studies]
    whole = [t if t and t in alone else h for t, h in zip(told, hashed, strict=True)]
    return [""] * first + whole[first:]


def shared_prefix(names: Sequence[str]) -> str:
    """Return what names have in common at their beginning, whole words only.

    >>> shared_prefix(["compare-snip", "compare-synflow"]), shared_prefix(["a", "b"])
    ('compare-', '')
    """
    letters = takewhile(lambda column: len(set(column)) == 1, zip(*names, strict=False))
    common = "".join(column[0] for column in letters)
    if len(set(names)) == 1:
        return common
    return common[: max(common.rfind(s) for s in SEPARATORS) + 1]


def name_of(studies: Sequence[Study]) -> str:
    """Name a comparison after what the studies' names have in common."""
    common = shared_prefix([str(s.config["name"]) for s in studies])
    return common.strip(SEPARATORS) or "studies"


def changes(ours: Any, theirs: Any, path: str) -> list[Change]:
    """List the settings that differ; of a choice that differs, the choice alone.

    A setting that one has and leaves empty is one that the other, older, does not know.

    >>> changes({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}}, "x")
    [Change(path='x.b.c', ours=2, theirs=3)]
    """
    if ours == theirs or (not _said(ours) and not _said(theirs)):
        return []
    if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping):
        return [Change(path, ours, theirs)]
    if ours.get("_target_") != theirs.get("_target_"):
        return [Change(path, ours.get("_target_"), theirs.get("_target_"))]
    keys = dict.fromkeys([*ours, *theirs])
    return [c for k in keys for c in changes(ours.get(k), theirs.get(k), f"{path}.{k}")]


def _said(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_said, value.values()))
    return value is not None and value != []


def _folders(pattern: str) -> list[str]:
    path = os.path.expanduser(pattern)
    if os.path.isdir(path):
        return [path]
    folders = [p for p in sorted(glob.glob(path)) if os.path.isdir(p)]
    if not folders:
        what = "it matches no folder" if glob.has_magic(path) else "there is no such folder"
        raise LthError(f"studies: {pattern}: {what} (looked from {os.getcwd()})")
    return folders


def _changes(what: str, first: Study, other: Study) -> list[Change]:
    ours, theirs = (without_root(s.config.get(what)) for s in (other, first))
    return changes(ours, theirs, what)


def _same(what: str, first: Study, other: Study) -> None:
    if differs := _changes(what, first, other):
        only = ONE_DATA if what == "data" else f"only studies of one {what} can be compared"
        raise LthError(f"{_told(other, differs, first)}: {only}")


def _content(study: Study) -> str | None:
    """Return the digest of a study's data, which no path tells; None where it is not known."""
    try:
        return study.provenance["data"]["digest"]
    except (LthError, KeyError, TypeError):
        return None


def _told(study: Study, differs: Sequence[Change], first: Study) -> str:
    words = ", ".join(f"{c.path}={_text(c.ours)} not {_text(c.theirs)}" for c in differs)
    return f"{study.id}: {words} as in {first.id}"


def _incomplete(study: Study) -> str:
    """Say which arms have no records: a study may be on its way."""
    there = _arms(study)
    missing = [arm for arm in study.config["arms"] if arm not in there]
    return f"{study.id}: no records of {', '.join(missing)} yet" if missing else ""


def _arms(study: Study) -> set[str]:
    """Return the arms of the greatest level that has records: the one that arms hang off."""
    last = max((r.level for r in study.records), default=0)
    return {r.arm for r in study.records if r.level == last > 0}


def _settings(config: Mapping[str, Any], twins: Sequence[Mapping[str, Any]]) -> str:
    """Return the settings in which a study differs from those of its name, in words."""
    ours = {k: v for k, v in config.items() if k not in NOT_IN_STUDY_ID and k != "data"}
    differs = [c for twin in twins for k in ours for c in changes(ours[k], twin.get(k), k)]
    told = {c.path: _text(c.ours) for c in differs}
    chosen = {p for p in told if isinstance(config.get(p), Mapping)}  # a group: its choice says it
    return ", ".join(text if p in chosen else f"{p}={text}" for p, text in told.items())


def _text(value: Any) -> str:
    """Write a setting as the command takes it; of a factory, its last name."""
    if value is None:
        return "null"
    return value.rpartition(".")[2] if isinstance(value, str) else str(value).replace("'", "")
