"""Freeing space by rule: ``action=clean`` says what would go, and deletes with clean.delete=true.

What a kept study needs stays: the members in its index, those that its settings name, and the
teachers of both. While any study is running no member goes, since what it will look up is not known
beforehand; a study that begins waits for the cleaning to end (``lth.study.run.locked``).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lth.errors import LthError, nearest
from lth.store.store import Store
from lth.study.inventory import StoredStudy, age_in_words, size_in_words, size_of, studies_in
from lth.study.listing import member_sizes
from lth.study.progress import Display
from lth.study.settings import check_values

DAY = 86400.0

RULES = {
    "studies": None, "older": None, "keep": None, "unreachable": True, "partial": True, "age": 1,
    "delete": False,
}  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """Which studies go (all that is given must hold), and what else.

    ``studies`` and ``keep`` are names, ids, folders or patterns; ``older`` and ``age`` days.
    """

    studies: tuple[str, ...] | None = None
    older: float | None = None
    keep: tuple[str, ...] = ()
    unreachable: bool = True
    partial: bool = True
    age: float = 1
    delete: bool = False


@dataclass
class Findings:
    """What would go, in bytes, and what is said of what stays."""

    studies: dict[StoredStudy, int] = field(default_factory=dict)
    members: dict[str, int] = field(default_factory=dict)
    files: dict[Path, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """All that would be freed."""
        parts = self.studies, self.members, self.files
        return sum(size for part in parts for size in part.values())


def clean_store(config: Mapping[str, Any], display: Display) -> None:
    """Say what the rules would free; with ``clean.delete=true`` free it."""
    check_values({**config, "name": config.get("name") or "clean"})
    rules, out = rules_of(config.get("clean")), Path(config["out"])
    if not (out / "store").is_dir() and not (out / "studies").is_dir():
        raise LthError(f"{out}: no store there; another root of outputs is out=DIR")
    with Store(out / "store").cleaning() as mine:
        if not mine:
            raise LthError(f"{out / 'store'}: another command is cleaning it; wait for it to end")
        found = find(out, rules)
        for line in found.notes:
            display.note(line)
        for line in _lines(found, rules.delete):
            display.say(line)
        if rules.delete:
            _delete(out, found, display)
        elif found.bytes:
            display.say("nothing was deleted: add clean.delete=true")


def rules_of(given: Any) -> Rules:
    """Read the setting ``clean``; a bad value is refused by name."""
    if not isinstance(given, Mapping):
        raise LthError(f"clean={given}: a mapping of {', '.join(RULES)}")
    for key in given:
        if key not in RULES:
            raise LthError(f"clean.{key}: no such setting{nearest(str(key), RULES)}")
    values: dict[str, Any] = RULES | dict(given)
    for key in ("unreachable", "partial", "delete"):
        if not isinstance(values[key], bool):
            raise LthError(f"clean.{key}={values[key]}: true or false")
    for key in ("older", "age"):
        value = values[key]
        days = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        if not days and not (value is None and key == "older"):
            raise LthError(f"clean.{key}={value}: a number of days from 0")
    for key in ("studies", "keep"):
        values[key] = _patterns(key, values[key])
    return Rules(**{**values, "keep": values["keep"] or ()})


def _patterns(key: str, value: Any) -> tuple[str, ...] | None:
    listed = [value] if isinstance(value, str) else value
    if listed is None:
        return None
    if not isinstance(listed, list | tuple) or not all(isinstance(p, str) and p for p in listed):
        raise LthError(f"clean.{key}={value}: a list of names or patterns: clean.{key}=[old-*]")
    return tuple(listed)


def find(out: Path, rules: Rules) -> Findings:
    """Return what the rules would free; nothing is touched."""
    store, studies, found = Store(out / "store"), studies_in(out), Findings()
    for pattern in (*(rules.studies or ()), *rules.keep):
        if not any(s.fits([pattern]) for s in studies):
            key = "keep" if pattern in rules.keep else "studies"
            there = ", ".join(s.id for s in studies) or "none"
            raise LthError(f"clean.{key}: {pattern} matches no study; there are {there}")
    going = _going(studies, rules, found)
    kept = [s for s in studies if s not in going]
    sizes = member_sizes(store)
    found.studies = {s: s.bytes for s in going}
    if rules.unreachable:
        found.members = _members(store, sizes, going, kept, rules, found)
    if rules.partial:
        found.files = _leftovers(store, sizes, set(found.members), rules)
    return found


def _going(studies: Sequence[StoredStudy], rules: Rules, found: Findings) -> list[StoredStudy]:
    """Return the studies that go: never one that is running, or that a kept one names."""
    if rules.studies is None and rules.older is None:
        return []
    going = [s for s in studies if rules.studies is None or s.fits(rules.studies)]
    going = [s for s in going if not s.fits(rules.keep)]
    if rules.older is not None:
        going = [s for s in going if time.time() - s.last_used >= rules.older * DAY]
    for study in [s for s in going if s.running]:
        found.notes.append(f"{study.id}: it is running; it stays")
        going.remove(study)
    while True:  # what a kept study names is kept, and so is what that names
        kept = [s for s in studies if s not in going]
        needed = {s.id: k.id for s in going for k in kept if k.names(s)}
        if not needed:
            return going
        for id, by in needed.items():
            found.notes.append(f"{id}: {by} takes tickets or a teacher of it; it stays")
        going = [s for s in going if s.id not in needed]


def _members(
    store: Store,
    sizes: Mapping[str, int],
    going: Sequence[StoredStudy],
    kept: Sequence[StoredStudy],
    rules: Rules,
    found: Findings,
) -> dict[str, int]:
    """Return the members that no kept study needs, and their bytes."""
    if running := [s.id for s in kept if s.running]:
        found.notes.append(
            f"running: {', '.join(running)}: what it will look up is not known, so no member of "
            "the store goes; clean again when it has ended"
        )
        return {}
    if damaged := [s.id for s in kept if s.damaged]:
        found.notes.append(
            f"{', '.join(damaged)}: cannot be read, so what it needs is not known and no member "
            f"goes; run it again, or let it go: 'clean.studies=[{damaged[0]}]'"
        )
        return {}
    needed = needed_by(store, kept)
    theirs = {key for study in going for key in study.members.values()}
    loose = {key: size for key, size in sizes.items() if key not in needed}
    young = {k for k in loose if k not in theirs and _age(store.folder(k)) < rules.age * DAY}
    if young:
        found.notes.append(
            f"{len(young)} members of no study are younger than clean.age={rules.age:g} days: they "
            "stay, a study may be on its way"
        )
    return {key: size for key, size in loose.items() if key not in young}


def needed_by(store: Store, studies: Iterable[StoredStudy]) -> set[str]:
    """Return the keys of members that studies need, their teachers' teachers too."""
    studies = list(studies)
    waiting = {key for s in studies for key in (*s.members.values(), *s.named_keys())}
    needed = set[str]()
    while waiting:
        needed |= waiting
        waiting = {t for key in waiting if (t := _teacher(store, key)) is not None} - needed
    return needed


def _teacher(store: Store, key: str) -> str | None:
    try:
        about = json.loads((store.folder(key) / "entry.json").read_text())
        teacher = (about.get("ticket") or {}).get("teacher")
    except (OSError, ValueError, AttributeError):
        return None
    return teacher if isinstance(teacher, str) else None


def _leftovers(
    store: Store, sizes: Mapping[str, int], going: set[str], rules: Rules
) -> dict[Path, int]:
    """Return what is left of finished members, and of writers that were killed long ago.

    With ``older``, states on the way that nobody has gone on with for so long, too.
    """
    found: dict[Path, int] = {}
    for path in (store.root / "partial").glob("*.safetensors"):
        finished = path.stem in sizes or path.stem in going
        given_up = rules.older is not None and _age(path) >= rules.older * DAY
        if finished or given_up:
            found[path] = size_of(path.parent) if path.is_dir() else _bytes(path)
    for path in store.root.rglob(".*.tmp"):
        if _age(path) >= DAY:
            found[path] = size_of(path) if path.is_dir() else _bytes(path)
    return found


def _delete(out: Path, found: Findings, display: Display) -> None:
    store, freed = Store(out / "store"), 0
    for study, size in found.studies.items():
        if _remove_study(study):
            freed += size
        else:
            display.note(f"{study.id}: it has begun to run; it stays, and so do all members")
            found.members.clear()
    for key, size in found.members.items():
        store.remove(key)
        freed += size
    for path, size in found.files.items():
        with suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            freed += size
    display.say(f"freed {size_in_words(freed)}")


def _remove_study(study: StoredStudy) -> bool:
    """Remove a study's folder, unless a command has it now."""
    try:
        with FileLock(study.folder / ".lock", timeout=0):
            aside = study.folder.with_name(f".{study.id}.tmp")
            study.folder.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
            return True
    except Timeout:
        return False
    except OSError as error:
        raise LthError(f"{study.folder}: cannot be removed ({error.strerror})") from None


def _lines(found: Findings, deleting: bool) -> list[str]:
    lines = [
        f"study   {s.id}: last used {age_in_words(s.last_used)}, {size_in_words(size)}"
        for s, size in found.studies.items()
    ]
    for what, part in (
        ("members that no kept study needs", found.members),
        ("states left of finished members, and files of killed writers", found.files),
    ):
        if part:
            lines.append(f"{what}: {len(part):,}, {size_in_words(sum(part.values()))}")
    if not lines:
        return ["nothing to free by these rules (clean.studies, clean.older: see docs/store.md)"]
    verb = "to free" if deleting else "could be freed"
    return [*lines, f"{verb}: {size_in_words(found.bytes)}"]


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
