"""Several studies on disk: found by pattern, fit to be compared, named by what differs."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from lth.config import NOT_IN_STUDY_ID, without_root
from lth.errors import LthError
from lth.records.record import Record
from lth.store.study import Study

SEPARATORS = "-_. "


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
    found: dict[Path, Study] = {}
    for pattern in wanted:
        matched = [Study(folder) for folder in _folders(pattern)]
        for study in sorted(matched, key=lambda s: (-len(_arms(s)), s.id)):
            found.setdefault(study.folder.resolve(), study)
    return _each_once(list(found.values()))


def fit(studies: Sequence[Study], paired: Collection[int] = ()) -> list[str]:
    """Refuse studies of other data or another model than the first; say what else differs.

    ``paired`` are the seeds of the first's trials, its own if it stands alone.
    """
    first = studies[0]
    notes = [_incomplete(first)]
    for other in studies[1:]:
        for what in ("data", "model"):
            _same(what, first, other)
        seed, recipe = _changes("seed", first, other), _changes("recipe", first, other)
        if seed and other.config["seed"] not in paired:
            notes.append(f"{_told(other, seed, first)}: other trials, so its rows are not paired")
        if recipe:
            longer = " (dense runs are those of the latter)" if _steps(recipe) else ""
            notes.append(_told(other, recipe, first) + longer)
        notes.append(_incomplete(other))
    return [note for note in notes if note]


def sources(groups: Sequence[Sequence[Study]], plain: bool = True) -> list[Source]:
    """Read the records of studies, each a group of those that differ in seed alone.

    Trials get numbers that tell seeds apart; with ``plain`` the first study has no label.
    """
    weights = groups[0][0].weights
    studies = [study for group in groups for study in group]
    seeds = sorted({study.config["seed"] for study in studies})
    step = 1 + max((r.trial for study in studies for r in study.records), default=0)
    named = labels([(group[0].id, group[0].config) for group in groups], plain)
    found = []
    for label, group in zip(named, groups, strict=True):
        ids = " + ".join(study.id for study in group)
        records = [
            r._replace(study=ids, trial=r.trial + step * seeds.index(study.config["seed"]))
            for study in group
            for r in study.records
        ]
        found.append(Source(label, ids, weights, records))
    return found


def labels(studies: Sequence[tuple[str, Mapping[str, Any]]], plain: bool = True) -> list[str]:
    """Label each (id, configuration) by its name without what all share; not the first if plain.

    Studies of one name are told apart by the settings that differ, at last by their hash.

    >>> labels([("c-a-1", {"name": "c-a"}), ("c-snip-2", {"name": "c-snip"})])
    ['', 'snip']
    """
    names = [str(config["name"]) for _, config in studies]
    cut = len(shared_prefix(names))
    found = []
    for (_, config), name in zip(studies, names, strict=True):
        twins = [c for _, c in studies if c["name"] == name and c is not config]
        found.append(", ".join(filter(None, (name[cut:], _settings(config, twins)))))
    first = int(plain)
    told = found[first:]
    for number, (own, _) in enumerate(studies[first:], start=first):
        if not found[number] or told.count(found[number]) > 1:
            found[number] = own[cut:].strip(SEPARATORS)
    return ["", *found[1:]] if plain else found


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
    found = [p for p in sorted(glob.glob(path)) if os.path.isdir(p)]
    if not found:
        what = "it matches no folder" if glob.has_magic(path) else "there is no such folder"
        raise LthError(f"studies: {pattern}: {what} (looked from {os.getcwd()})")
    return found


def _each_once(studies: list[Study]) -> list[Study]:
    seen: dict[str, Path] = {}
    for study in studies:
        if study.id in seen:
            raise LthError(f"{study.folder}: the same study as {seen[study.id]}; name one of them")
        seen[study.id] = study.folder
    return studies


def _changes(what: str, first: Study, other: Study) -> list[Change]:
    ours, theirs = (without_root(s.config.get(what)) for s in (other, first))
    return changes(ours, theirs, what)


def _same(what: str, first: Study, other: Study) -> None:
    if found := _changes(what, first, other):
        kind = {"data": "data set"}.get(what, what)
        raise LthError(f"{_told(other, found, first)}: only studies of one {kind} can be compared")


def _steps(found: Sequence[Change]) -> bool:
    return any(c.path in ("recipe.steps", "recipe.batch") for c in found)


def _told(study: Study, found: Sequence[Change], first: Study) -> str:
    words = ", ".join(f"{c.path}={_text(c.ours)} not {_text(c.theirs)}" for c in found)
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
    found = {
        c.path: c.ours
        for twin in twins
        for key in ours
        for c in changes(ours[key], twin.get(key), key)
    }
    chosen = {p for p in found if isinstance(config.get(p), Mapping)}  # a group: its choice says it
    return ", ".join(_text(v) if p in chosen else f"{p}={_text(v)}" for p, v in found.items())


def _text(value: Any) -> str:
    """Write a setting as the command takes it; of a factory, its last name."""
    if value is None:
        return "null"
    return value.rpartition(".")[2] if isinstance(value, str) else str(value).replace("'", "")
