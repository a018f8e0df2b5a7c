"""Files of a data set: found in the user's folder, or downloaded once and checked by hash."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lth.data.place import brief
from lth.errors import LthError


@dataclass(frozen=True)
class OfficialFiles:
    """A folder of official files; ``mend`` says what to do about a bad one."""

    folder: Path
    mend: str
    note: str


def local(root: str, folder: str) -> OfficialFiles:
    """Use the official files under the user's own ``root``."""
    place = Path(root).expanduser()
    mend = f"put the official {folder} files there, or leave out data.root to download them"
    within = [path for path in (place, *place.parents) if path.name == folder]
    if within and not (place / folder).exists():
        mend = f"data.root is the folder that holds {folder}/: data.root={within[0].parent}"
    return OfficialFiles(place / folder, mend, "local files")


def cached(folder: Path) -> OfficialFiles:
    """Use files that ``download`` put on this machine."""
    return OfficialFiles(
        folder, "delete it and run again to download it anew", "downloaded, hash checked"
    )


def cache_of(folder: str) -> Path:
    """Return where this machine keeps what was downloaded for a data set."""
    import pooch

    return Path(pooch.os_cache("lth")) / folder


def download(
    file: str, known_hash: str, mirrors: Sequence[str], folder: str, members: Sequence[str] = ()
) -> Path:
    """Fetch ``file`` from the first mirror that answers, once per machine.

    Args:
        file: Its name, appended to each mirror's address.
        known_hash: SHA-256, or another digest as ``md5:...``.
        mirrors: Addresses to try in turn, each ending in a slash.
        folder: Where it goes in the cache; data sets share file names.
        members: The files to unpack, if it is a tar archive.

    Returns:
        The file's path; of an archive, the folder that its members were unpacked into.
    """
    import pooch  # slow to import, and a local folder needs none of it
    from filelock import FileLock

    cache = cache_of(folder)
    reason: Exception | None = None
    for mirror in mirrors:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with FileLock(cache / f"{file}.lock"):  # jobs of one sweep start together
                found = pooch.retrieve(
                    mirror + file, known_hash, file, cache, **_options(pooch, members)
                )
            return cache / f"{file}.untar" if members else Path(found)
        except (OSError, ValueError) as error:  # no network, no space, another hash
            reason = error
    raise LthError(
        f"cannot download {file} from {' or '.join(mirrors)} ({brief(reason)}); "
        "get the official files elsewhere and name the folder that holds them in data.root"
    )


def _options(pooch: Any, members: Sequence[str]) -> dict[str, Any]:
    unpack = pooch.Untar(members=list(members)) if members else None
    return {"processor": unpack, "progressbar": sys.stderr.isatty()}
