"""The studies under one root of outputs: what each is, what it needs of the store, and its size."""

from __future__ import annotations

import fnmatch
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lth.config import study_id
from lth.errors import LthError
from lth.records.record import read_csv
from lth.store.study import read_config, read_members
from lth.study.settings import levels_of
from lth.types import WINNER, MemberId

KEY = re.compile(r"\b[0-9a-f]{40,}\b")
"""Keys of members that a configuration names: a teacher's, say."""


@dataclass(frozen=True, eq=False)
class StoredStudy:
    """A study's folder, read as data: nothing that it names is called.

    ``damaged`` says what of it cannot be read, so that what it needs is not known.
    """

    folder: Path
    config: Mapping[str, Any]
    members: Mapping[MemberId, str]
    running: bool
    damaged: str = ""

    @property
    def id(self) -> str:
        """``<name>-<hash8>``."""
        return self.folder.name

    @property
    def name(self) -> str:
        """Its name, without the hash."""
        return str(self.config.get("name") or self.id.rpartition("-")[0])

    @property
    def model(self) -> str:
        """The last name of its model's factory, of a task its module's."""
        task = (self.config.get("task") or {}).get("module")
        return _last(task or self.config.get("model"))

    @property
    def data(self) -> str:
        """The last name of its data's factory, and of the data inside."""
        spec = self.config.get("data") or (self.config.get("task") or {}).get("data") or {}
        inner = spec.get("of") if isinstance(spec, Mapping) else None
        return " of ".join(filter(None, (_last(spec), _last(inner) if inner else "")))

    @property
    def arms(self) -> list[str]:
        """Arms and methods that it has members of, else those that it asks for."""
        asked = [*(self.config.get("arms") or {}), *(self.config.get("method") or {})]
        return list(dict.fromkeys(p.arm for p in self.members)) or asked

    @property
    def trials(self) -> int:
        """How many trials have members."""
        return len({p.trial for p in self.members})

    @property
    def level(self) -> int:
        """The deepest level that has members."""
        return max((p.level for p in self.members), default=0)

    @cached_property
    def last_used(self) -> float:
        """When a command last wrote into the folder; seconds since the epoch."""
        names = ("provenance.json", "config.yaml", "members.csv", ".lock")
        times = [_time(self.folder / name) for name in names]
        return max([*times, 0.0]) or _time(self.folder)

    @cached_property
    def bytes(self) -> int:
        """Bytes of the folder itself."""
        return size_of(self.folder)

    @cached_property
    def lacking(self) -> int:
        """How many members it still asks for: 0, it is complete.

        What lies below a winning ticket that diverged is not asked for.
        """
        return sum(place not in self.members for place in self._asked())

    def _asked(self) -> Iterable[MemberId]:
        config = self.config
        if not config:
            return []
        levels = [n for n in levels_of(config.get("levels", 0)) if n]
        found = [MemberId(t, lr, WINNER, 0, 0) for t in range(config["trials"]) for lr in _rates(
            config, self.members)]  # fmt: skip
        ended = self._ended() if levels else {}
        for dense in list(found):
            last = ended.get((dense.trial, dense.lr))
            for level in (n for n in levels if last is None or n <= last):
                found += [
                    dense._replace(arm=arm, level=level, copy=copy)
                    for arm, spec in {WINNER: {}, **(config.get("arms") or {})}.items()
                    for copy in range(spec.get("copies", 1))
                ]
        return dict.fromkeys(found)

    def _ended(self) -> dict[tuple[int, float], int]:
        """Return the level at which a chain's winning ticket diverged, if it did."""
        try:
            rows = read_csv(self.folder / "records.csv")
        except LthError:
            return {}
        diverged = [r for r in rows if r.metric == "diverged" and r.arm == WINNER and not r.phase]
        return {(r.trial, r.lr): r.level for r in sorted(diverged, key=lambda r: -r.level)}

    def named_keys(self) -> set[str]:
        """Return the keys of members that its settings name."""
        return set(KEY.findall(self._text))

    def names(self, other: StoredStudy) -> bool:
        """Whether its settings name another study, as the source of tickets or of a teacher."""
        return other.id != self.id and other.id in self._text

    @cached_property
    def _text(self) -> str:
        try:
            return (self.folder / "config.yaml").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""

    def fits(self, patterns: Sequence[str]) -> bool:
        """Whether a name, an id, a folder or a pattern of these means this study."""
        own = (self.id, self.name, str(self.folder), str(self.folder.resolve()))
        return any(fnmatch.fnmatchcase(text, p.rstrip("/")) for p in patterns for text in own)


def studies_in(out: Path) -> list[StoredStudy]:
    """Return the studies under a root of outputs, the last used first."""
    folders = [p for p in (out / "studies").glob("*") if p.is_dir() and not p.name.startswith(".")]
    return sorted(map(read_study, folders), key=lambda s: -s.last_used)


def read_study(folder: Path) -> StoredStudy:
    """Read a study's folder; whatever is wrong with it is told, not raised."""
    config: dict[str, Any] = {}
    members: dict[MemberId, str] = {}
    damaged = ""
    try:
        if (folder / "config.yaml").is_file():
            config = read_config(folder / "config.yaml")
            study_id(config)  # what a study's settings are
        if (folder / "members.csv").is_file():
            members = read_members(folder / "members.csv")
    except Exception as error:  # a damaged file may make anything of a reader
        damaged = " ".join(str(error).split())[:200] or type(error).__name__
    return StoredStudy(folder, config, members, is_running(folder), damaged)


def is_running(folder: Path) -> bool:
    """Whether a command holds the folder."""
    if not (folder / ".lock").exists():
        return False
    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False  # not ours to write: nobody who could be asked


def size_of(folder: Path) -> int:
    """Count the bytes of a folder's files; what goes meanwhile counts nothing."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue
    return total


def age_in_words(when: float) -> str:
    """Write how long ago something was.

    >>> age_in_words(time.time() - 7200), age_in_words(time.time() - 5 * 86400)
    ('2 h ago', '5 days ago')
    """
    seconds = max(0.0, time.time() - when)
    if seconds < 5400:
        return f"{seconds / 60:.0f} min ago"
    return (
        f"{seconds / 3600:.0f} h ago" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days ago"
    )


def size_in_words(count: float) -> str:
    """Write bytes.

    >>> size_in_words(1234), size_in_words(5_600_000), size_in_words(7.8e9)
    ('1.2 kB', '5.6 MB', '7.8 GB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"


def _rates(config: Mapping[str, Any], members: Mapping[MemberId, str]) -> list[float]:
    lr = (config.get("recipe") or {}).get("lr")
    given = lr if isinstance(lr, list) else [lr]
    return [float(x) for x in given if x is not None] or sorted({p.lr for p in members})


def _last(spec: Any) -> str:
    return str((spec or {}).get("_target_", "")).rpartition(".")[2] if spec else ""


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
