"""The command ``lth``: Hydra puts the configuration together, the library does the rest."""

from __future__ import annotations

import os
import re
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from lth import config, interrupt
from lth.config import choices
from lth.errors import LthError, told, where
from lth.help.asked import answer, near, versions
from lth.help.overview import HELP
from lth.help.words import check_words
from lth.known import GROUPS
from lth.study.attempt import AlreadyReported, Jobs, carry_out
from lth.study.callback import end_sweep
from lth.study.launchers import JOBLIB, lacking
from lth.study.readable import check_readable
from lth.study.sweep import ready, undashed

__all__ = ["GROUPS", "HELP", "main", "one_line", "task"]


def main() -> None:
    """Run the command; bad input ends in one clear line and an exit code that is not 0."""
    interrupt.install()
    arguments = sys.argv[1:]
    config_folder = _option(arguments, "--config-dir")
    if {"-h", "--help", "--version"} & {*arguments}:
        return _answer(arguments, config_folder)
    show_traceback = "--traceback" in arguments
    config.make_importable(config_folder)
    Jobs.mine = jobs = Jobs()
    try:
        given = [undashed(a) for a in arguments if a != "--traceback"]
        check_words(given, own_folder(config_folder))
        whole = ready(given, config_folder)
        check_readable(whole)
        sys.argv = jobs.command = [sys.argv[0], *whole]
        if any(f"hydra/launcher={name}" in given for name in JOBLIB):
            _prepare_joblib()
        _hydra_main(config_folder)
        jobs.failed |= bool(jobs.errors)
        if jobs.errors and show_traceback:
            raise jobs.errors[0]
    except KeyboardInterrupt as error:
        interrupt.leave(getattr(error, "number", signal.SIGINT))
    except AlreadyReported:  # of a job elsewhere: the others' table is worth showing
        end_sweep()
        sys.exit(1)
    except Exception as error:
        end_sweep()
        if show_traceback:
            raise
        _end(f"error: {one_line(error)}", 1)
    if jobs.failed:
        sys.exit(1)


def _answer(arguments: list[str], config_folder: str | None) -> None:
    config.make_importable(config_folder)
    try:
        own = own_folder(config_folder)
        print(versions() if "--version" in arguments else answer(arguments, own), flush=True)
    except LthError as error:
        _end(f"error: {error}", 1)
    except BrokenPipeError:  # its reader, less or head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def own_folder(folder: str | None) -> Path | None:
    """Return the user's own folder of YAMLs, if it is there; if not, Hydra says so."""
    return Path(folder) if folder is not None and os.path.isdir(folder) else None


def task(composed: Any) -> float | None:
    """Do one job: what Hydra calls with each composed configuration.

    Returned is what a sweeper optimizes, the setting ``optimize`` (None of what trains nothing).
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf
    from rich.console import Console
    from rich.text import Text

    from lth.study.overrides import freed, named_by  # which waits for torch

    hydra = HydraConfig.get()
    overrides = list(hydra.overrides.task)
    if Jobs.mine is None:
        interrupt.alone()
        _as_here(hydra, overrides)
    else:
        sys.argv = Jobs.mine.command  # which the study's provenance keeps
    values: Any = OmegaConf.to_container(composed, resolve=True)
    plain = freed(values, overrides)
    for key in ("name", "reference"):
        if type(plain.get(key)) is int:
            plain[key] = str(plain[key])  # Hydra takes name=2024 for a number
    if plain["name"] is None and plain["action"] != "compare":  # which has names to go by
        chosen = hydra.runtime.choices
        model, data = (named_by(overrides, g) or chosen.get(g) for g in ("model", "data"))
        plain["name"] = config.default_name(model, data, plain.get("task"))
    # a preset's setting for an arm that was not chosen is no arm
    plain["arms"] = _chosen(plain.get("arms"), "_target_")
    plain["method"] = _chosen(plain.get("method"), "moves")
    console = Console()
    if hydra.mode != RunMode.MULTIRUN:
        result = carry_out(lambda: _act(plain, console), one_line)
        return None if result is None else result.value
    title = f"job {hydra.job.num}: {' '.join(overrides)}"
    console.rule(Text(title), align="left")  # brackets would be taken for markup
    about: Any = OmegaConf.to_container(OmegaConf.create(
        {"launcher": hydra.launcher, "sweep": hydra.sweep, "job": hydra.job}
    ), resolve=True)  # fmt: skip
    from lth.study.jobs import begin_job

    job = begin_job(about, overrides, plain.get("trainer"))
    result = carry_out(lambda: _act(plain, console), one_line, job)
    return None if result is None else result.value


def _chosen(values: dict[str, Any] | None, key: str) -> dict[str, Any]:
    """Return the choices that have what makes them one; ``arms.rigl=null`` takes one away."""
    some = {n: v for n, v in (values or {}).items() if v is not None}
    return {n: v for n, v in some.items() if not isinstance(v, dict) or key in v}


def _as_here(hydra: Any, overrides: list[str]) -> None:
    """Let a job in a launcher's process find the user's modules, and name its own command."""
    for source in hydra.runtime.config_sources:
        if source.schema == "file":
            config.make_importable(source.path)
    sys.argv = ["lth", *overrides]


def _act(settings: dict[str, Any], console: Any) -> Any:
    from lth.study.actions import ACTIONS, ALONE
    from lth.study.jobs import Result
    from lth.study.progress import Display
    from lth.study.setup import prepare

    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: console.print(  # type: ignore[assignment]
            f"warning: {message}", style="yellow", highlight=False, soft_wrap=True, markup=False
        )
        # to compare studies that there are needs neither data nor a model
        given = settings if settings["action"] in ALONE else prepare(settings)
        found = ACTIONS[settings["action"]](given, Display(console))
        return found if isinstance(found, Result) else None  # others are for Python


def one_line(error: BaseException) -> str:
    """Say in one line what went wrong, in the words of the innermost cause that is ours."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, LthError):
            return str(cause) + _whose(cause)
        cause = cause.__cause__ or cause.__context__
    if not type(error).__module__.startswith(("hydra", "omegaconf")):
        return str(told(error))
    text = str(error)
    missing = re.search(r"Could not (?:find|load) '([^']*)'", text)
    if missing:
        return _no_choice(missing[1], text)
    unknown = re.search(r"Could not override '([^']*)'", text)
    if unknown:
        own = own_folder(_option(sys.argv, "--config-dir"))
        return f"{unknown[1]}: no such setting{near(unknown[1], sys.argv[1:], own)}"
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return f"{first} (--traceback shows where)"


def _whose(error: LthError) -> str:
    """Return file and line of a user's code that made us say so, where we do not say them yet."""
    place = "" if error.__cause__ is None else where(error.__cause__, own=True)
    return "" if place in str(error) else place


def _no_choice(path: str, text: str) -> str:
    deep = path.startswith("experiment/")
    group, _, name = path.partition("/") if deep else path.rpartition("/")
    _, _, offered = text.partition("Available options in")
    names = [line.strip() for line in offered.splitlines()[1:] if line.startswith("\t")]
    names = [name for name in names if "=" not in name]
    if path.startswith("hydra/") and (mend := lacking(name)):
        return f"{group}={name}: {mend}"
    if path.startswith("data/"):  # a path of the user's own may have more of these
        group, _, name = path.partition("/")
    return config.no_choice(group, name, names or choices(group))


def _hydra_main(own: str | None = None) -> None:
    import hydra

    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here, to be said in one line
    folder, given = str(config.conf_folder()), sys.argv
    if own is not None and os.path.isdir(own):  # Hydra would take the package's first
        sys.argv = [_named_anew(argument, own, folder) for argument in given]
        folder = os.path.abspath(own)
    try:
        hydra.main(version_base="1.3", config_path=folder, config_name="config")(task)()
    finally:
        sys.argv = given


def _named_anew(argument: str, own: str, folder: str) -> str:
    flag = "--config-dir="
    return {own: folder, flag + own: flag + folder}.get(argument, argument)


def _prepare_joblib() -> None:
    """Keep joblib's processes silent when the command is interrupted: they would say much."""
    from joblib.externals.loky.backend import resource_tracker

    if os.name == "posix":
        with interrupt.mute():  # it would tell of semaphores, which it tidies up
            interrupt.start_tracker()
            resource_tracker.ensure_running()
    interrupt.aside()


def _option(arguments: list[str], name: str) -> str | None:
    for index, argument in enumerate(arguments):
        if argument == name and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith(name + "="):
            return argument.partition("=")[2]
    return None


def _end(text: str, code: int) -> None:
    print(text, file=sys.stderr, flush=True)
    sys.exit(code)
