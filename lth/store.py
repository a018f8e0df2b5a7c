"""The store: what is trained already, under the hash of what determines it.

An entry is a folder ``members/<key[:2]>/<key>``. Publishing is atomic and if-absent; a damaged
entry is detected by its checksum and made again, never trusted.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import save

from lth.entry import Entry, Outcome, write_entry
from lth.entry_check import check_entry, check_partial
from lth.errors import LthError
from lth.files import check_key, demand, parse, read_tensors
from lth.records import write_atomic
from lth.spec import digest
from lth.ticket import tensors_digest
from lth.types import Params


class Store:
    """Entries on disk; safe to share between studies and concurrent jobs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, key: str) -> Path:
        """Where the entry of ``key`` lies."""
        return self.root / "members" / check_key(key)[:2] / key

    def get(self, key: str) -> Entry | None:
        """Return the entry if it is there and whole; a damaged one is removed with a warning."""
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
            return Entry(folder, about)
        except FileNotFoundError:
            if not folder.exists():
                return None
        except PermissionError as error:
            raise LthError(f"{folder}: cannot be read ({error.strerror})") from None
        except Exception:  # whatever a damaged file makes of it
            pass
        warnings.warn(f"{folder} is damaged; its member is trained again", stacklevel=2)
        shutil.rmtree(folder, ignore_errors=True)
        return None

    def sweep(self, age: float = 86400.0) -> None:
        """Remove what killed writers left behind ``age`` seconds ago or earlier."""
        for path in self.root.rglob(".*.tmp"):
            try:
                if time.time() - path.stat().st_mtime >= age:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            except OSError:
                continue  # another job was quicker

    def abouts(self) -> Iterator[dict[str, Any]]:
        """Yield what is written about every entry, unchecked: for estimates only."""
        for path in self.root.glob("members/*/*/entry.json"):
            try:
                yield json.loads(path.read_text())
            except (OSError, ValueError):
                continue

    def publish(self, key: str, outcome: Outcome, replace: bool = False) -> Entry:
        """Add an entry whole or not at all; if one is there already, that one stands."""
        folder = self.folder(key)
        temporary = folder.with_name(f".{key[:16]}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            temporary.mkdir(parents=True)
            write_entry(temporary, outcome)
            if replace and folder.exists():
                shutil.rmtree(folder)
            try:
                os.rename(temporary, folder)
            except OSError:
                if not folder.exists():
                    raise
            _sync_folder(folder.parent)
        except OSError as error:
            raise LthError(f"{folder.parent}: cannot write the store: {error.strerror}") from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self.drop_partial(key)
        entry = self.get(key)
        assert entry is not None, "an entry just published can be read"
        return entry

    def put_partial(self, key: str, tensors: Params, about: dict[str, Any]) -> None:
        """Keep a member's state on the way, so that a kill costs minutes."""
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


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
