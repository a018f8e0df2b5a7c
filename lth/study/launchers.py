"""What Hydra's launchers mean for a job: its share of the cores, and where it prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXTRAS = {
    "submitit": ("slurm", "hydra-submitit-launcher"), "ray": ("ray", "hydra-ray-launcher"),
    "optuna": ("optuna", "hydra-optuna-sweeper"), "joblib": ("", "hydra-joblib-launcher"),
}  # fmt: skip
"""What installs a launcher or a sweeper: the extra of this package, and the plugin."""

JOBLIB = ("joblib", "parallel")
"""Choices of hydra/launcher that start processes of joblib's."""

LOUD = ("basic", "joblib")
"""Launchers whose jobs print into this terminal."""


def kind_of(launcher: Mapping[str, Any]) -> str:
    """Return which launcher a configuration is of: basic, joblib, submitit_local, ..."""
    target = str(launcher.get("_target_", "")).rpartition(".")[2]
    named = {
        "BasicLauncher": "basic", "JoblibLauncher": "joblib", "LocalLauncher": "submitit_local",
        "SlurmLauncher": "submitit_slurm", "RayLauncher": "ray", "RayAWSLauncher": "ray_aws",
    }  # fmt: skip
    return named.get(target, target or "basic")


def cores_of(launcher: Mapping[str, Any], cores: int) -> int | None:
    """Return on how many of so many cores a job may train; None for all that it sees.

    Jobs of joblib share this machine's: ``cores / n_jobs`` each. Those of submitit and Ray have
    what they ask for, one where they ask for nothing; a job of Slurm sees its own cores alone.

    >>> joblib = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
    >>> cores_of({"_target_": joblib, "n_jobs": 2}, 8), cores_of({"_target_": joblib}, 8)
    (4, 1)
    """
    kind = kind_of(launcher)
    if kind == "joblib":
        jobs = int(launcher.get("n_jobs") or -1)
        at_once = jobs if jobs > 0 else max(1, cores + 1 + jobs)
        return max(1, cores // at_once)
    if kind == "submitit_local":
        return int(launcher.get("cpus_per_task") or 1)
    if kind == "ray":
        remote = (launcher.get("ray") or {}).get("remote") or {}
        return max(1, int(remote.get("num_cpus") or 1))
    return None


def log_of(launcher: Mapping[str, Any], job: str | None) -> str | None:
    """Return the file that submitit's job of this id prints into; None: this terminal.

    >>> slurm = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
    >>> log_of({"_target_": slurm, "submitit_folder": "sweep/logs/%j"}, "12_0")
    'sweep/logs/12_0/12_0_0_log.out'
    """
    if job is None or not kind_of(launcher).startswith("submitit"):
        return None
    folder = str(launcher.get("submitit_folder")).replace("%j", job)
    folder = folder.replace("%A", job.partition("_")[0]).replace("%a", job.partition("_")[2])
    return f"{folder}/{job}_0_log.out"


def lacking(name: str) -> str | None:
    """Return how what a launcher's or a sweeper's name stands for is installed; None: not known."""
    for part, (extra, plugin) in EXTRAS.items():
        if name == part or name.startswith(f"{part}_"):
            own = f"pip install 'lth[{extra}]'" if extra else f"pip install {plugin}"
            return f"it needs {plugin}: {own}"
    return None
