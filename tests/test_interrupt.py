"""Ctrl-C and SIGTERM at any moment: one line, no traceback, and the same command goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lth.interrupt import Interrupted, gently, held, install
from lth.store.store import Store
from lth.train.work import one_thread, stop_after_block, work
from tests.test_training import Pressing
from tests.toys import Deaf, blobs, in_turn, job

ROOT = Path(__file__).parents[1]
LINES = {
    signal.SIGINT: "interrupted: what is trained is kept; the same command goes on from there\n",
    signal.SIGTERM: "terminated: what is trained is kept; the same command goes on from there\n",
}
LONG = ["logger=none", "trials=2", "levels=20", "recipe.steps=20000", "recipe.eval_every=100"]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")


def start(*arguments, cwd):
    """Start the command as a shell does in a terminal: as the leader of a group of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    hear = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, preexec_fn=hear, start_new_session=True,
    )  # fmt: skip


def ends_in_one_line(process, number, group=True):
    (os.killpg if group else os.kill)(process.pid, number)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (128 + number, LINES[number])
    assert "Traceback" not in out
    return out


SOON = [(0.15, signal.SIGINT), (0.6, signal.SIGTERM), (2.5, signal.SIGINT)]
LATE = [(d, n) for d in (0.1, 0.3, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 12) for n in LINES]


@pytest.mark.parametrize(
    ("delay", "number"), SOON + [pytest.param(*case, marks=pytest.mark.slow) for case in LATE]
)
def test_at_any_moment_of_a_run(delay, number, tmp_path):
    process = start("-m", "lth", *LONG, cwd=tmp_path)
    time.sleep(delay)
    ends_in_one_line(process, number)


SWEEPS = [("basic", 1), ("joblib", 3), ("basic", 9)] + [
    ("joblib", d) for d in (1, 2, 2.5, 4, 9, 20)
]


@pytest.mark.parametrize(
    ("launcher", "delay"),
    [pytest.param(*case, marks=[pytest.mark.slow] if n else []) for n, case in enumerate(SWEEPS)],
)
def test_at_any_moment_of_a_sweep(launcher, delay, tmp_path):
    process = start("-m", "lth", "-m", *LONG, "seed=0,1", "trainer.workers=1",
                    f"hydra/launcher={launcher}", cwd=tmp_path)  # fmt: skip
    time.sleep(delay)
    ends_in_one_line(process, signal.SIGINT)


def test_while_workers_train_their_states_are_kept(tmp_path):
    # three dense members for two workers: whenever one has ended, another is on its way
    process = start("-m", "lth", *LONG, "recipe.steps=4000", "trials=3", "model.widths=[20,10]",
                    "trainer.workers=2", cwd=tmp_path)  # fmt: skip
    store = tmp_path / "out" / "store"
    while process.poll() is None and not list(store.glob("members/*/*/entry.json")):
        time.sleep(0.01)
    ends_in_one_line(process, signal.SIGTERM)
    assert list(store.glob("partial/*.safetensors"))


AFTERWARDS = """
import sys, time
import lth.results.figures
def draw(*_):
    print("drawing", flush=True)
    time.sleep(60)
lth.results.figures.draw = draw
sys.argv = ["lth", "logger=none", "trials=1", "levels=0", "recipe.steps=20", "trainer.workers=0",
            "trainer.device=cpu"]
from lth.__main__ import main
main()
"""


def test_while_figures_are_drawn_the_study_is_whole(tmp_path):
    process = start("-c", AFTERWARDS, cwd=tmp_path)
    for line in process.stdout:
        if "drawing" in line:
            break
    ends_in_one_line(process, signal.SIGINT)
    (folder,) = (tmp_path / "out" / "studies").iterdir()
    assert (folder / "members.csv").read_text().count("\n") == 2


@pytest.fixture
def term():
    """SIGTERM and SIGINT as a script has them."""
    before = {n: signal.getsignal(n) for n in LINES}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Terminating(Pressing):
    def step(self, member, step, done):
        if step in self.steps:
            os.kill(os.getpid(), signal.SIGTERM)
        self.seen.append(step)


def test_sigterm_in_a_script_keeps_the_member_and_ends_it(term, tmp_path):
    store, pressing = Store(tmp_path), Terminating(20)
    with pytest.raises(SystemExit) as ended, one_thread(), stop_after_block(pressing.note) as stop:
        work([[job()]], blobs(), store, in_turn, pressing.step, stop=stop)
    assert ended.value.code == 143 and pressing.seen == [10, 20]
    assert store.get_partial(job().key)[1]["step"] == 20
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_command_hears_a_signal_while_it_trains_as_an_exception(term, tmp_path):
    install()
    pressing = Terminating(10)
    with pytest.raises(Interrupted) as caught, gently(), one_thread():
        with stop_after_block(pressing.note) as stop:
            work([[job()]], blobs(), Store(tmp_path), in_turn, pressing.step, stop=stop)
    assert caught.value.number == signal.SIGTERM
    assert Store(tmp_path).get_partial(job().key)[1]["step"] == 10


def test_what_is_ignored_stays_ignored(term):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup and a shell's background jobs have it
    install()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    with stop_after_block(Deaf().note):
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_process_started_meanwhile_never_hears_a_signal(term):
    code = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); print('alive')"
    with held():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("alive\n", "")
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
