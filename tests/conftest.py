"""What every test has: one intra-op thread, and signals as they were."""

import gc
import os
import signal
from pathlib import Path

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same")  # a suite says the same twice

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """With ``-n`` a worker takes files as they come, and steals when it has done its share.

    So what a file's tests share is made once, and no worker is idle at the end.
    """
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "worksteal"


def pytest_collection_finish():
    """Let the garbage collector pass over what lives to the end: torch, and 6,000 tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _files_need_not_outlive_a_power_cut():
    """A disk takes milliseconds for every file that it is told to keep: minutes of a suite."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(autouse=True)
def _signals_as_before():
    """The command takes signals over; a test that runs it inside gives them back."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        if handler is not None:
            signal.signal(number, handler)


@pytest.fixture(scope="module")
def one_core():
    """A module whose studies take seconds: what it starts sees one core, and starts no workers."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    mine = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % len(before)
    os.sched_setaffinity(0, {sorted(before)[mine]})
    yield
    os.sched_setaffinity(0, before)
