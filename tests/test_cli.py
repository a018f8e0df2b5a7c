"""The command as its users meet it: in processes of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lth
from lth import cli
from tests.conftest import SHARED
from tests.toys import commanded, run_study

ROOT = Path(__file__).parents[1]
TINY = ["trials=2", "levels=2", "recipe.steps=30", "recipe.eval_every=10", "model.widths=[20,10]",
        "logger=none"]  # fmt: skip


def start(*arguments, cwd, **options):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    return subprocess.Popen(
        [sys.executable, "-m", "lth", *arguments], cwd=cwd, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_hear_ctrl_c, **options,
    )  # fmt: skip


def _hear_ctrl_c():
    """Undo what a shell does to its background jobs: they are made deaf to SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def command(*arguments, cwd):
    process = start(*arguments, cwd=cwd)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """Run the command in this process, without workers; return what ``command`` returns."""

    def call(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "100")
        return commanded(monkeypatch, capsys, *arguments, "trainer.workers=0")

    return call


def last_line(out):
    return out.rstrip("\n").splitlines()[-1]


def folders(tmp_path):
    return sorted((tmp_path / "out" / "studies").iterdir())


def values(folder):
    return {n: (folder / n).read_bytes() for n in ("records.csv", "curves.csv", "members.csv")}


def test_a_run_says_what_it_did_and_the_second_does_nothing(here, tmp_path):
    code, out, err = command(*TINY, cwd=tmp_path)
    assert (code, err) == (0, "")
    assert last_line(out) == "trained 10 members, reused 0"
    (folder,) = folders(tmp_path)
    assert re.fullmatch(r"lenet-digits-[0-9a-f]{8}", folder.name)
    assert f"out/studies/{folder.name}/records.csv" in out
    assert f"out/studies/{folder.name}/figures/tickets.png" in out
    assert "density" in out and "to match" in out
    before = values(folder)
    code, out, _ = here(*TINY)
    assert (code, last_line(out)) == (0, "trained 0 members, reused 10")
    assert values(folder) == before
    code, out, _ = here(*TINY, "action=plan")
    assert (code, last_line(out)) == (0, "trained 0 members, reused 10")
    assert "0 steps" in out
    (folder / "figures" / "tickets.png").unlink()
    code, out, _ = here(*TINY, "action=plot")
    assert (code, last_line(out)) == (0, "trained 0 members, reused 10")
    assert (folder / "figures" / "tickets.png").is_file()


LENET = {
    "trials": 2, "levels": 2, "model": {"widths": [20, 10]}, "logger": "none",
    "recipe": {"steps": 30, "eval_every": 10}, "trainer": {"workers": 0},
}  # fmt: skip


def test_the_command_and_python_are_the_same_study(here, tmp_path):
    study = lth.run(**LENET, out=str(tmp_path / "out"), progress=False)
    before = values(study.folder)
    code, out, _ = here(*TINY)
    assert (code, last_line(out)) == (0, "trained 0 members, reused 10")
    assert folders(tmp_path) == [study.folder]
    assert values(study.folder) == before


MANY = [*TINY, "levels=4", "recipe.steps=200"]
MEMBERS = 2 * (1 + 2 * 4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same study, uninterrupted."""
    recipe = LENET["recipe"] | {"steps": 200}
    settings = LENET | {"data": "digits", "name": None, "levels": 4, "recipe": recipe}
    return run_study(tmp_path_factory.mktemp("whole") / "out", **settings)


@pytest.mark.parametrize(("share", "workers"), [(0.2, 0), (0.7, 2)])
def test_killed_at_any_moment_the_same_command_goes_on(share, workers, whole, here, tmp_path):
    """``kill -9`` to the parent, at a share of its work."""
    process = start(*MANY, f"trainer.workers={workers}", cwd=tmp_path)
    wanted = round(share * MEMBERS)
    while process.poll() is None and len(entries(tmp_path)) < wanted:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert len(entries(tmp_path)) < MEMBERS
    code, out, _ = here(*MANY)
    assert code == 0
    trained, reused = map(int, re.findall(r"\d+", last_line(out)))
    assert trained + reused == MEMBERS and 0 < trained <= MEMBERS - wanted
    (folder,) = folders(tmp_path)
    assert folder.name == whole.folder.name and values(folder) == values(whole.folder)


def entries(folder):
    return list((folder / "out" / "store" / "members").glob("*/*/entry.json"))


# with workers: test_interrupt.py, test_while_workers_train_their_states_are_kept
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_keeps_what_is_trained(workers, tmp_path):
    # three dense members: whenever one has ended, another is on its way
    many = [*TINY, "trials=3", "levels=6", "recipe.steps=4000", f"trainer.workers={workers}"]
    process = start(*many, cwd=tmp_path)
    while process.poll() is None and not entries(tmp_path):
        time.sleep(0.01)
    time.sleep(0.3)  # in one process the next member has to begin
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert ("stopping after this block of steps" in out) == (workers == 0)
    assert (
        err.strip() == "interrupted: what is trained is kept; the same command goes on from there"
    )
    assert entries(tmp_path)
    assert list((tmp_path / "out" / "store" / "partial").glob("*.safetensors"))


def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    process = start(*TINY, "recipe.steps=100000", "trainer.workers=1", cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (workers := children(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers
    time.sleep(3)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def children(pid):
    if not Path("/proc/self/task").exists():
        pytest.skip("needs /proc")
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return listed.read_text().split() if listed.exists() else []


BAD = {
    "model=nope": "error: model=nope: no such choice; there are all_conv, conv2",
    "recipe.stepz=3": "error: recipe.stepz: no such setting; did you mean recipe.steps?",
    "levls=3": "error: levls: no such setting; did you mean levels?",
    "+extra=3": "error: extra: no such setting",
    "prune.rate=-0.2": "error: prune.rate=-0.2: a rate is the share pruned per level",
    "prune.rate=1": "error: prune.rate=1: a rate is the share pruned per level",
    "levels=99": "the last useful one is levels=",
    "arms.random_reinit=3": "error: arms.random_reinit=3: it is no arm",
    "arms=[nope]": "error: arms=nope: no such choice; did you mean noise?",
    "experiment=frankle2019/nope": "error: experiment=frankle2019/nope: no such choice",
    "action=jump": "error: action=jump: it is one of run, plan, explain, plot",
    "out=/dev/null/x": "cannot write there",
    "rewind.step=30": "error: rewind.step=30 leaves nothing to train",
    "recipe.lr=[1e-3,1e-3]": "name at least one learning rate, each once",
    "trainer.devices=2": "more than one is not supported",
}


def test_bad_input_is_one_line_and_no_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for argument, words in BAD.items():
        monkeypatch.setattr(sys, "argv", ["lth", *TINY, argument])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        err = capsys.readouterr().err
        assert caught.value.code == 1, argument
        assert words in err and err.count("\n") == 1, (argument, err)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_missing_and_truncated_data_are_one_line(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "mnist"
    monkeypatch.setattr(sys, "argv", ["lth", *TINY, "data=mnist", f"data.root={tmp_path}"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "train-images-idx3-ubyte" in capsys.readouterr().err
    folder.mkdir()
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte").write_bytes(b"\x00\x00\x08\x03\x00\x00\xea\x60")
    with pytest.raises(SystemExit):
        cli.main()
    err = capsys.readouterr().err
    assert "train-images-idx3-ubyte" in err and err.count("\n") == 1


def test_a_traceback_comes_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lth", "trials=0", "--traceback"])
    with pytest.raises(lth.LthError, match="trials=0"):
        cli.main()


def test_help_is_for_a_person_and_imports_nothing_heavy(tmp_path):
    script = (
        "import sys; sys.argv = ['lth', '--help']; from lth.cli import main; main(); "
        "heavy = {'torch', 'pytorch_lightning', 'wandb', 'matplotlib', 'hydra'}; "
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith("lth: find, control and compare winning tickets.")
    for word in (
        "trials=N",
        "--multirun",
        "lenet",
        "frankle2019/lenet",
        "random_reinit",
        "data.root",
        "action=compare",
    ):
        assert word in done.stdout
    assert done.stdout.rstrip().endswith("heavy: []")


def test_a_multirun_shares_one_store_and_goes_on_past_a_bad_job(here, tmp_path):
    code, out, err = here("-m", *TINY, "seed=0,1", "levels=1")
    assert (code, err) == (0, "")
    assert out.count("trained 6 members, reused 0") == 2
    assert len(folders(tmp_path)) == 2
    code, out, err = here("-m", *TINY, "levels=1", "prune.rate=0.2,2,0.3", "model.widths=[20,10]")
    assert code == 1
    assert err.strip() == "error: prune.rate=2: a rate is the share pruned per level, in (0, 1)"
    assert "trained 0 members, reused 6" in out
    assert "trained 4 members, reused 2" in out


def test_a_multirun_goes_side_by_side_with_joblib(tmp_path):
    code, out, err = command(
        "-m", *TINY, "levels=1", "seed=0,1", "hydra/launcher=joblib", "trainer.workers=0",
        cwd=tmp_path,
    )  # fmt: skip
    assert code == 0, err
    assert out.count("trained 6 members, reused 0") == 2
    assert len(folders(tmp_path)) == 2


def test_own_code_joins_by_target_from_the_working_folder(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def tiny(input_shape, classes, width=8):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(),\n"
        "                         nn.Linear(width, classes))\n"
    )
    model = tmp_path / "own" / "model"
    model.mkdir(parents=True)
    (model / "tiny.yaml").write_text(
        "_target_: mine.tiny\nwidth: 8\ninput_shape: null\nclasses: null\n"
    )
    plain = [a for a in TINY if not a.startswith("model")]
    few = ["trials=1", "levels=1", "trainer.workers=1"]  # a process of its own imports it too
    code, out, err = command("--config-dir", "own", "model=tiny", *plain, *few, cwd=tmp_path)
    assert (code, err) == (0, "")
    assert last_line(out) == "trained 3 members, reused 0"


def test_a_script_without_a_main_guard_works(tmp_path):
    (tmp_path / "script.py").write_text(
        "import lth\nprint('begin')\n"
        "study = lth.run(trials=1, levels=1, recipe={'steps': 20}, logger='none', progress=False,\n"
        "                trainer={'workers': 1})\n"
        "mask, params, step = study.ticket(level=1)\n"
        "print(step, sorted(mask))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=environment, text=True,
                          capture_output=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("begin") == 1 and "'output.weight'" in done.stdout


@pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="needs MNIST beside the checkout")
def test_the_papers_preset_runs_on_real_mnist(here):
    code, out, err = here(
        "experiment=frankle2019/lenet", f"data.root={SHARED}", "recipe.steps=60", "trials=1",
        "levels=1", "logger=none",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert last_line(out) == "trained 5 members, reused 0"
    assert "266,200 weights" in out and "random_reinit x3" in out and "80 %" in out
