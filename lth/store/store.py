"""The store: what is trained already, under the hash of what determines it.

An entry is a folder ``members/<key[:2]>/<key>``. Publishing is atomic and if-absent; a damaged
entry is detected by its checksum and made again, never trusted.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors.torch import save

from lth.errors import LthError
from lth.files import check_key, demand, parse, read_tensors, write_atomic
from lth.networks.ticket import tensors_digest
from lth.spec.build import digest
from lth.store.entry import StoredMember, TrainResult, own, write_entry
from lth.store.entry_check import check_entry, check_partial
from lth.types import Params

ATTEMPTS = 10

CLEANING = ".cleaning.lock"
"""Held while members are removed by rule."""

LOCK_PATIENCE = 30.0
"""Seconds to wait for another job that replaces or removes an entry: it takes milliseconds."""


class Store:
    """Entries on disk; safe to share between studies and concurrent jobs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, key: str) -> Path:
        """Where the entry of ``key`` lies."""
        return self.root / "members" / check_key(key)[:2] / key

    def get(self, key: str) -> StoredMember | None:
        """Return the entry if it is there and whole; a damaged one is removed with a warning."""
        entry, there = self._read(key)
        if entry is not None or not (there or self._lock_path(key).exists()):
            return entry
        with self._locked(key):  # another job may just exchange it, or have made it again
            folder = self.folder(key)
            if not folder.exists() and _aside(folder).exists():  # killed half way
                os.rename(_aside(folder), folder)
            entry, there = self._read(key)
            if entry is None and there:
                warnings.warn(f"{folder} is damaged; its member is trained again", stacklevel=2)
                self._discard(folder)
        return entry

    def _read(self, key: str) -> tuple[StoredMember | None, bool]:
        """Return the entry, None where it is not whole, and whether there is anything."""
        folder = self.folder(key)
        try:
            about = parse((folder / "entry.json").read_bytes())
            checksum = about.pop("checksum")
            content = (folder / "tensors.safetensors").read_bytes()
            demand(digest(about) == checksum, "its checksum does not fit")
            demand(
                hashlib.sha256(content).hexdigest() == about["tensors"], "nor that of its tensors"
            )
            check_entry(about, content)
            return StoredMember(folder, about), True
        except FileNotFoundError:
            pass
        except PermissionError as error:
            raise LthError(f"{folder}: cannot be read ({error.strerror})") from None
        except Exception:  # whatever a damaged file makes of it
            pass
        return None, folder.exists()

    def sweep(self, age: float = 86400.0) -> None:
        """Remove what killed writers left behind ``age`` seconds ago or earlier."""
        for path in self.root.rglob(".*.tmp"):
            try:
                if time.time() - path.stat().st_mtime >= age:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            except OSError:
                continue  # another job was quicker
        for path in (self.root / "partial").glob("*.safetensors"):
            with suppress(OSError):  # of a member that another job has finished meanwhile
                if self.folder(path.stem).exists() and time.time() - path.stat().st_mtime >= age:
                    path.unlink()

    def abouts(self) -> Iterator[dict[str, Any]]:
        """Yield what is written about every entry, unchecked: for estimates only."""
        for path in self.root.glob("members/*/*/entry.json"):
            try:
                yield json.loads(path.read_text())
            except (OSError, ValueError):
                continue

    def publish(self, key: str, outcome: TrainResult, replace: bool = False) -> StoredMember:
        """Add an entry whole or not at all; if a whole one is there already, that one stands.

        The states on the way that it lacks are added to it, if it is the same to the last bit.
        """
        folder = self.folder(key)
        temporary = self._beside(folder)
        try:
            temporary.mkdir(parents=True)
            write_entry(temporary, outcome)
            entry = self._put(key, temporary, replace)
        except OSError as error:
            raise LthError(f"{folder.parent}: cannot write the store: {error.strerror}") from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self.drop_partial(key)
        return entry

    def _put(self, key: str, temporary: Path, replace: bool) -> StoredMember:
        """Give a finished folder its name, or give way to the entry that has it."""
        folder, about = self.folder(key), (temporary / "entry.json").read_bytes()
        ours = StoredMember(temporary, parse(about))
        for _ in range(ATTEMPTS):
            try:
                if replace:
                    self._exchange(key, temporary)
                else:
                    os.rename(temporary, folder)
                _sync_folder(folder.parent)
            except OSError:
                if not folder.exists():
                    raise
            entry = self.get(key)  # one that is there and damaged goes, so that ours may come
            if entry is None and temporary.exists():
                continue
            if entry is None:  # ours, replaced or removed by another job since
                entry = StoredMember(folder, ours.about)
            elif temporary.exists() and entry.about["tensors"] == ours.about["tensors"]:
                for step in ours.snapshots:
                    if not entry.has(step):
                        entry.keep(step, ours.at(step))
            return entry
        raise OSError(errno.EEXIST, "what lies there is damaged and cannot be removed")

    def _exchange(self, key: str, temporary: Path) -> None:
        """Put a folder in another's place; who looks meanwhile waits, and finds one of the two."""
        folder = self.folder(key)
        with self._locked(key):
            shutil.rmtree(_aside(folder), ignore_errors=True)
            if folder.exists():
                os.rename(folder, _aside(folder))
            os.rename(temporary, folder)
            shutil.rmtree(_aside(folder), ignore_errors=True)

    def _discard(self, folder: Path) -> None:
        aside = self._beside(folder)
        with suppress(OSError):  # another job was quicker
            os.rename(folder, aside)
            shutil.rmtree(aside, ignore_errors=True)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Hold what replaces or removes an entry; where locks are not to be had, go on without."""
        path = self._lock_path(key)
        lock = FileLock(path, timeout=LOCK_PATIENCE)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (Timeout, OSError, NotImplementedError):
            pass
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def cleaning(self) -> Iterator[bool]:
        """Hold the store for whoever removes members by rule; False: another does."""
        lock = FileLock(self.root / CLEANING, timeout=0)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            yield False
            return
        except OSError as error:
            raise LthError(f"{self.root}: cannot write the store: {error.strerror}") from None
        try:
            yield True
        finally:
            lock.release()

    def wait_for_cleaning(self, note: Callable[[str], None]) -> None:
        """Wait while another command cleans; whoever begins after it finds what is left."""
        path = self.root / CLEANING
        if not path.exists():
            return
        with suppress(OSError, NotImplementedError):  # where locks are not to be had nobody cleans
            lock = FileLock(path, timeout=0)
            try:
                lock.acquire()
            except Timeout:
                note(f"{self.root}: another command is cleaning it; waiting for it to end")
                lock.acquire(timeout=-1)
            lock.release()

    def remove(self, key: str) -> None:
        """Remove an entry, its states on the way and its lock."""
        self._discard(self.folder(key))
        self.drop_partial(key)
        with suppress(OSError):
            self._lock_path(key).unlink(missing_ok=True)
            self.folder(key).parent.rmdir()  # if it was the last

    def _lock_path(self, key: str) -> Path:
        return self.root / "locks" / f"{key}.lock"

    def _beside(self, folder: Path) -> Path:
        return folder.with_name(f".{folder.name[:16]}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")

    def put_partial(self, key: str, tensors: Params, about: dict[str, Any]) -> None:
        """Keep a member's state on the way, so that a kill costs minutes.

        What is kept may share memory: a mask may be the best one's too.
        """
        tensors = {n: own(t) for n, t in tensors.items()}
        meta = {"about": json.dumps(about), "digest": tensors_digest(tensors)}
        meta["check"] = digest([meta["about"], meta["digest"]])
        try:
            write_atomic(self._partial(key), save(tensors, metadata=meta))
        except OSError as error:
            raise LthError(f"{self.root}: cannot write the store: {error.strerror}") from None

    def get_partial(self, key: str) -> tuple[Params, dict[str, Any]] | None:
        """Return what ``put_partial`` kept, None where there is nothing whole."""
        try:
            content = self._partial(key).read_bytes()
            tensors, meta = read_tensors(content)
            whole = digest([meta["about"], meta["digest"]]) == meta["check"]
            demand(whole and tensors_digest(tensors) == meta["digest"], "its checksum does not fit")
            return tensors, check_partial(parse(meta["about"]), tensors)
        except Exception:  # whatever a damaged file makes of it: the member begins anew
            return None

    def drop_partial(self, key: str) -> None:
        """Forget the state on the way."""
        self._partial(key).unlink(missing_ok=True)

    def _partial(self, key: str) -> Path:
        return self.root / "partial" / f"{check_key(key)}.safetensors"


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.aside.tmp")


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def store_of(study: str | Path) -> Store:
    """Return the store of a study's folder, which it shares with the others under the same root."""
    return Store(Path(study).parent.parent / "store")
