"""What studies there are: ``action=list``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lth.config import NOT_IN_STUDY_ID, without_root
from lth.errors import LthError
from lth.records.intervals import grouped
from lth.records.statistics import counted
from lth.results.compare.studies import changes
from lth.spec.plain import short
from lth.store.store import Store
from lth.study.inventory import (
    StoredStudy,
    age_in_words,
    size_in_words,
    size_of,
    studies_in,
)
from lth.study.progress import Display
from lth.study.settings import check_values


def list_studies(config: Mapping[str, Any], display: Display) -> None:
    """Show the studies under ``out``: what they are, how far, when last used, how large."""
    check_values({**config, "name": config.get("name") or "list"})
    out, wanted = Path(config["out"]), config.get("studies")
    every = studies_in(out)
    studies = [s for s in every if not wanted or s.fits(wanted)]
    if not studies:
        there = ", ".join(s.id for s in every)
        raise LthError(
            f"studies={wanted}: it matches none; there are {there}" if every
            else f"{out / 'studies'}: no studies there; another root of outputs is out=DIR"
        )  # fmt: skip
    sizes = member_sizes(Store(out / "store"))
    for line, style in _lines(studies, sizes):
        display.say(line, style)
    for study in studies:
        if study.damaged:
            display.note(f"{study.id}: {study.damaged}")
    display.say(_summary(every, sizes))


def member_sizes(store: Store) -> dict[str, int]:
    """Return the bytes of every entry in the store, by its key."""
    return {
        p.name: size_of(p) for p in (store.root / "members").glob("*/*")
        if p.is_dir() and not p.name.startswith(".")
    }  # fmt: skip


def state_of(study: StoredStudy, sizes: Mapping[str, int]) -> str:
    """Say in a word or two whether a study is complete."""
    if study.running:
        return "running"
    if study.damaged:
        return "damaged"
    gone = sum(key not in sizes for key in study.members.values())
    if gone:
        return f"{gone} not in the store"
    return f"{study.lacking} to train" if study.lacking else "complete"


def _lines(studies: Sequence[StoredStudy], sizes: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yield two or three lines per study, each with its style."""
    told = told_apart(studies)
    for study in studies:
        state, size = state_of(study, sizes), size_in_words(_bytes(study, sizes))
        yield f"{study.id}  {state}, {size}, used {age_in_words(study.last_used)}", "bold"
        counts = (
            "nothing is finished"
            if not study.members
            else f"{counted(study.trials, 'trial')}, {counted(study.level, 'level')}"
        )
        yield f"  {study.model}, {study.data}; {', '.join(study.arms)}; {counts}", ""
        if told[study.id]:
            yield f"  {told[study.id]}", ""


def told_apart(studies: Sequence[StoredStudy]) -> dict[str, str]:
    """Return the settings in which each study differs from others of its name, in words."""
    told = dict.fromkeys((s.id for s in studies), "")
    named = [s for s in studies if s.config and not s.damaged]
    for same in grouped(named, lambda s: s.name).values():
        for study in same:
            ours = {k: v for k, v in study.config.items() if k not in NOT_IN_STUDY_ID}
            found = [
                c for other in same for key, value in ours.items()
                for c in changes(without_root(value), without_root(other.config.get(key)), key)
            ]  # fmt: skip
            words = {c.path: f"{c.path}={_plainly(c.ours)}" for c in found}
            told[study.id] = ", ".join(words.values())
    return told


def _plainly(value: Any) -> str:
    """Write a setting's value; of a function of this package its name."""
    own = isinstance(value, str) and value.startswith("lth.")
    return value.rpartition(".")[2] if own else short(value)


def _bytes(study: StoredStudy, sizes: Mapping[str, int]) -> int:
    return study.bytes + sum(sizes.get(key, 0) for key in set(study.members.values()))


def _summary(studies: Sequence[StoredStudy], sizes: Mapping[str, int]) -> str:
    named = {key for study in studies for key in study.members.values()}
    loose = [size for key, size in sizes.items() if key not in named]
    text = (
        f"\n{len(studies)} {'study' if len(studies) == 1 else 'studies'}; "
        f"{len(sizes):,} members in the store, "
        f"{size_in_words(sum(sizes.values()))} (one that several studies share counts in each)"
    )
    if loose:
        text += f"; {len(loose):,} of no study, {size_in_words(sum(loose))}"
    return text + "\naction=clean shows what can be freed"
