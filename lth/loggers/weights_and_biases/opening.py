"""Opening a run: who is asked first, and what is done where there is no account or no network."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lth.errors import first_line

if TYPE_CHECKING:
    from wandb import Run

QUIET = {
    "console": "off", "silent": True, "x_stats_sampling_interval": 30.0,
    "init_timeout": 30.0, "finish_timeout": 300.0, "finish_timeout_raises": True,
}  # fmt: skip
"""Settings of wandb's, unless its environment variables or the user say otherwise.

Seconds until a server that does not answer is given up: the data stays on disk. The machine is
looked at every half minute, so that a run of seconds pays nothing for it.
"""

AS_ASKED = "as asked"

ANSWER = 5.0
"""Seconds in which a server must answer at all."""

ENVIRONMENT = {
    "project": "project", "entity": "entity", "name": "run_name", "group": "run_group",
    "job_type": "run_job_type", "tags": "run_tags", "notes": "run_notes", "id": "run_id",
    "resume": "resume", "resume_from": "resume_from", "fork_from": "fork_from",
}  # fmt: skip
"""Arguments of ``wandb.init``, and where its settings hold what environment and files say."""


class Asked(NamedTuple):
    """What a user asks of wandb: arguments of ``init`` that are set, more config, settings."""

    init: dict[str, Any]
    config: dict[str, Any]
    settings: dict[str, Any]


class Opened(NamedTuple):
    """A run, and in words why it is offline ("" where it is not)."""

    run: Run
    why: str


def open_run(
    asked: Asked, study: str, group: str | None, config: Mapping[str, Any], folder: Path
) -> Opened:
    """Open the run of a study; without an account or a network it is kept offline."""
    import wandb

    told = wandb.setup().settings
    about = arguments(asked, told, study, group, folder)
    os.makedirs(about["dir"], exist_ok=True)
    about |= {"config": {**config, **asked.config}, "allow_val_change": True}
    unsaid = {n: v for n, v in QUIET.items() if f"WANDB_{n.upper()}" not in os.environ}
    settings = wandb.Settings(**unsaid | asked.settings)
    mode, why = possible_mode(asked.init.get("mode"), bool(asked.init.get("force")))
    if mode in ("online", "shared"):
        try:
            return Opened(wandb.init(**about, mode=mode, settings=settings), "")
        except wandb.Error as error:  # a key, an entity, a server that ails: the record is kept
            mode, why = "offline", f"the server did not take the run: {first_line(error)}"
        if about.get("id"):  # wandb's own service still holds the run that it gave up
            about["id"] += f"-{uuid.uuid4().hex[:6]}"
    return Opened(wandb.init(**about, mode=mode, settings=settings), why)


def arguments(
    asked: Asked, told: Any, study: str, group: str | None, folder: Path
) -> dict[str, Any]:
    """Return the arguments of ``wandb.init``: asked for, else as wandb is told, else of the study.

    An agent of a sweep says itself which run of which project this is.
    """
    own = {"project": "lth", "name": study, "group": group, "id": run_id(study), "resume": "allow"}
    past = {n for n in ("resume_from", "fork_from") if asked.init.get(n) or getattr(told, n, None)}
    if past:
        own = {n: v for n, v in own.items() if n not in ("id", "resume")}
    known = {n for n, field in ENVIRONMENT.items() if getattr(told, field, None) is not None}
    found = {n: v for n, v in own.items() if n not in known} | asked.init
    if told.sweep_id:
        found = {n: v for n, v in found.items() if n not in ("project", "entity", "id", "name")}
    place = asked.init.get("dir") or os.environ.get("WANDB_DIR") or str(folder)
    found = {n: v for n, v in found.items() if n != "mode"}
    return found | {"dir": place, "reinit": "create_new"}


def run_id(study: str) -> str:
    """Return the id of a study's run: one that is gone on with is the same run.

    >>> run_id("lenet-digits-0a1b2c3d"), run_id("a name-0a1b2c3d")
    ('lenet-digits-0a1b2c3d', 'a-name-0a1b2c3d')
    """
    return re.sub(r"[^\w.-]", "-", study, flags=re.ASCII)[-64:]


def possible_mode(wanted: str | None, force: bool = False) -> tuple[Any, str]:
    """Return the mode, and why it is offline where it is: never a prompt, never a long wait.

    Who forces to be logged in is left to wandb, which then raises.
    """
    import wandb

    settings = wandb.setup().settings
    mode = wanted or settings.mode
    if mode == "offline":
        return mode, AS_ASKED
    if mode not in ("online", "shared") or force:
        return mode, ""
    if not _has_account(settings):
        return "offline", "no account here: wandb login, or WANDB_API_KEY"
    if not _answers(settings.base_url):
        return "offline", f"{settings.base_url} does not answer"
    return mode, ""


def _has_account(settings: Any) -> bool:
    from requests.utils import get_netrc_auth  # as wandb itself, it honours NETRC

    if settings.api_key or settings.identity_token_file:
        return True
    hosts = [settings.base_url]
    if settings.base_url == type(settings).model_fields["base_url"].default:
        hosts.append("https://api.wandb.ai")  # under which older versions stored the key
    return any(get_netrc_auth(host) for host in hosts)


def _answers(url: str) -> bool:
    """Whether anything answers at an address, through the proxies that the environment names."""
    import requests

    try:
        requests.get(url, timeout=ANSWER, stream=True).close()
    except requests.RequestException:
        return False
    return True
