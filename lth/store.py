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

from safetensors import SafetensorError
from safetensors.torch import load, save

from lth import masks
from lth.entry import Entry, Outcome, write_entry
from lth.errors import LthError
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
        return self.root / "members" / key[:2] / key

    def get(self, key: str) -> Entry | None:
        """Return the entry if it is there and whole; a damaged one is removed with a warning."""
        folder = self.folder(key)
        try:
            about = json.loads((folder / "entry.json").read_text())
            checksum = about.pop("checksum")
            content = (folder / "tensors.safetensors").read_bytes()
            whole = digest(about) == checksum
            if whole and hashlib.sha256(content).hexdigest() == about["tensors"]:
                return Entry(folder, about)
        except FileNotFoundError:
            if not folder.exists():
                return None
        except (ValueError, KeyError, AttributeError):
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
            tensors, meta = load(content), masks.metadata(content)
            if digest([meta["about"], meta["digest"]]) != meta["check"]:
                return None
            if tensors_digest(tensors) != meta["digest"]:
                return None
            return tensors, json.loads(meta["about"])
        except (OSError, SafetensorError, KeyError, ValueError):
            return None

    def drop_partial(self, key: str) -> None:
        """Forget the state on the way."""
        self._partial(key).unlink(missing_ok=True)

    def _partial(self, key: str) -> Path:
        return self.root / "partial" / f"{key}.safetensors"


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
