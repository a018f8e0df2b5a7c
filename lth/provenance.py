"""Provenance: where, when, with what and by which command a result was made."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("lth", "torch", "pytorch-lightning", "hydra-core", "wandb", "numpy", "safetensors")


def provenance() -> dict[str, Any]:
    """Describe this run's command, commit, versions and device."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "started": now(),
        "command": shlex.join([_program(sys.argv[0]), *map(_as_given, sys.argv[1:])]),
        "commit": commit(Path(__file__).parent),
        "python": platform.python_version(),
        "versions": {name: installed(name) for name in PACKAGES},
        "machine": {
            "host": platform.node(),
            "system": platform.platform(),
            "cpu": platform.processor() or platform.machine(),
            "gpu": gpu,
        },
    }


def _as_given(argument: str) -> str:
    """Take off what ``lth.study.sweep.ready`` put before a setting that no YAML names."""
    opened = argument.startswith(("++task.", "++trainer."))
    return argument.removeprefix("++") if opened else argument


def _program(path: str) -> str:
    """Name what was run; ``python -m lth`` is the command too."""
    found = Path(path)
    return found.parent.name if found.name == "__main__.py" else found.name


def now() -> str:
    """Return the time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def commit(folder: Path) -> str | None:
    """Return the commit of the checkout that holds ``folder``, ``-dirty`` if it was edited."""
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40",
             "--exclude=*"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def installed(package: str) -> str | None:
    """Return the installed version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
