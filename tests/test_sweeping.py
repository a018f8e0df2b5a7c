"""What a sweep is told, and what it ends with: one value per job, one table, one figure."""

import csv
import json
import math
import signal
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lth import LthError
from lth.records.judged import Judged
from lth.records.objective import Objective, check_objective, objective_of, outcome_of
from lth.records.record import Record
from lth.results.figures.sweep import sweep_figure
from lth.results.sweep import Finished, Value, best_of, is_grid, rows_of, varied
from lth.study.callback import Sweep, Watch, claim, told
from lth.study.jobs import FAILED, RUNNING, JobFile, SweepJob, begin_job, read_jobs
from lth.study.launchers import cores_of, kind_of, lacking
from lth.train.work import stop_after_block
from tests.toys import Deaf, commanded


def rows(trial, level, value, arm="winning_ticket", lr=0.1, split="validation", seed=0):
    place = ("s", trial, 0, lr, arm, level, 0.8**level)
    return [
        Record(*place, 10, "validation", "early_stop_step", 10.0),
        Record(*place, 10, split, "accuracy", value), Record(*place, 10, split, "loss", 1 - value),
    ]  # fmt: skip


def diverged(trial, level, lr=0.1):
    return [Record("s", trial, 0, lr, "winning_ticket", level, 0.8, 3, "train", "diverged", 3.0)]


TWO = rows(0, 0, 0.7) + rows(1, 0, 0.8) + rows(0, 1, 0.5) + rows(1, 1, 0.75)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, Objective()),
        ("accuracy at level 5", Objective("accuracy", level=5)),
        ("loss  of noise at level 3 on train", Objective("loss", "noise", 3, "train")),
        ("early_stop_step", Objective("early_stop_step")),
        ({"measure": None, "level": 2, "arm": "x"}, Objective(arm="x", level=2)),
    ],
)  # fmt: skip
def test_what_is_optimized_is_said_in_words_or_by_name(given, expected):
    assert objective_of(given) == expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("accuracy on test", "nothing is chosen on the test set"),
        ({"split": "test"}, "nothing is chosen on the test set"),
        ({"split": "val"}, "it is one of validation, train"),
        ("accuracy at the deepest level", "not understood; say optimize='accuracy at level 5'"),
        ({"measur": "x"}, "optimize.measur: no such setting; did you mean measure?"),
        ({"level": -1}, "a whole number from 0"),
        ({"arm": 3}, "optimize.arm=3: a name"),
        (3, "a mapping of measure, arm, level, split"),
    ],
)
def test_a_bad_objective_is_one_line(given, words):
    with pytest.raises(LthError) as caught:
        objective_of(given)
    assert words in str(caught.value)


def test_what_the_study_will_not_have_is_refused_before_work():
    check_objective(Objective("loss", level=1), ["random_mask"], [2], measures=["accuracy"])
    for asked, words in (
        (Objective(level=3), "optimize.level=3: winning_ticket has level 2"),
        (Objective(arm="random_mask", level=1), "random_mask has level 2"),
        (Objective(arm="randm_mask"), "did you mean random_mask"),
        (Objective("acuracy"), "it is not measured; did you mean accuracy?"),
    ):
        with pytest.raises(LthError, match=words):
            check_objective(asked, ["random_mask"], [2], measures=["accuracy"])


def test_the_value_is_the_mean_over_trials_on_validation():
    found = outcome_of(TWO + rows(0, 1, 0.99, split="test"), Objective(), {})
    assert (found.value, found.level, found.trials) == (0.625, 1, {0: 0.5, 1: 0.75})
    assert outcome_of(TWO, Objective("loss", level=0), {}).value == pytest.approx(0.25)
    assert outcome_of(TWO, Objective("early_stop_step"), {}).value == 10
    assert outcome_of([], Objective(), {}) is None
    with pytest.raises(LthError, match="not measured on validation; did you mean accuracy"):
        outcome_of(TWO, Objective("accurac"), {})


def test_a_trial_that_diverged_is_the_worst_there_is():
    ended = TWO + rows(2, 0, 0.9) + diverged(2, 1)
    assert outcome_of(ended, Objective(), {}).value == -math.inf
    assert outcome_of(ended, Objective("loss"), {}).value == math.inf
    begun = TWO + diverged(2, 0)  # and so it never came to level 1
    assert outcome_of(begun, Objective(), {}).value == -math.inf
    other = TWO + rows(0, 0, 0.6, lr=0.2) + rows(0, 1, 0.6, lr=0.2)
    assert outcome_of(other, Objective(), {}).lr == 0.1  # the best rate counts
    assert outcome_of(other + diverged(3, 0), Objective(), {}).lr == 0.2


def value(*trials, **changes):
    found = Value("winning_ticket", 1, 0.1, 0.8, len(trials), dict(enumerate(trials)), {0: 0.9})
    return found._replace(**changes)


def job(number, study, found=None, error=None, **settings):
    return Finished(number, {k: str(v) for k, v in settings.items()}, study, found, error)


def test_seeds_are_pooled_and_what_varies_is_a_row():
    made = [
        job(0, "a", value(0.5, 0.7), lr=1, seed=0, trials=2),
        job(1, "b", value(0.6, 0.8), lr=1, seed=1, trials=2),
        job(2, "c", value(0.9), lr=2, seed=0, trials=2),
        job(3, "c", value(0.9), lr=2, seed=0, trials=2),  # the same study again
        job(4, "", None, "boom", lr=3, seed=0, trials=2),
    ]
    assert varied(made) == ["lr"]
    first, second, third = found = rows_of(made)
    assert (first.value.mean, first.value.n, first.seeds, first.begun) == (0.65, 4, ("0", "1"), 4)
    assert second.value.n == 1 and second.jobs == (2, 3) and third.errors == ("boom",)
    assert best_of(found, Judged()) is second and best_of([first], Judged()) is None
    assert best_of(found, Judged(higher=False)) is first
    worse = rows_of([job(0, "a", value(0.99, begun=2), lr=1), job(1, "b", value(0.5), lr=2)])
    assert best_of([*worse, *worse], Judged()).settings == {"lr": "2"}  # one trial diverged


WHAT = Judged("validation", "accuracy", True, True)


def test_the_axis_is_the_number_that_varies_most_and_the_rest_are_lines():
    made = [
        job(n, f"{m}{lr}", value(0.5 + n / 100, 0.6), model=m, lr=lr)
        for n, (m, lr) in enumerate((m, lr) for m in ("lenet", "conv_2") for lr in (0.001, 0.1))
    ]
    found = rows_of(made)
    assert is_grid(found)
    figure = sweep_figure(found, WHAT)
    (ax,) = figure.axes
    assert ax.get_xlabel() == "lr" and ax.get_xscale() == "log"
    assert ax.get_ylabel() == "validation accuracy at level 1 (%)"
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["lenet", "conv 2"]
    other = rows_of([job(0, "a", value(0.5), m="x"), job(1, "b", value(0.4), m="y")])
    words = sweep_figure(other, WHAT)
    assert {line.get_ls() for line in words.axes[0].lines} == {"None"}  # nothing lies between words
    assert [t.get_text() for t in words.axes[0].get_xticklabels()] == ["x", "y"]
    assert sweep_figure(rows_of([job(0, "a", value(0.5), m="x")]), WHAT) is None


def test_points_of_a_search_have_a_panel_per_setting():
    found = rows_of([job(n, str(n), value(0.5), lr=n, rate=n * n) for n in (1, 2, 3)])
    assert not is_grid(found)
    assert [ax.get_xlabel() for ax in sweep_figure(found, WHAT).axes] == ["lr", "rate"]


def test_sweeps_of_one_second_have_folders_of_their_own(tmp_path):
    folders = [claim(tmp_path / "a" / "b") for _ in range(3)]
    assert [f.name for f in folders] == ["b", "b-2", "b-3"]
    old = tmp_path / "old"
    old.mkdir()
    (old / "multirun.yaml").write_text("{}")
    assert claim(old).name == "old-2"  # of an earlier version


def hydra():
    return OmegaConf.create({
        "optimize": {"measure": "accuracy"}, "recipe": {}, "hydra": {
            "sweep": {"dir": "x"}, "overrides": {"hydra": []},
            "launcher": {"_target_": "a.BasicLauncher"},
            "sweeper": {"_target_": "h.OptunaSweeper", "n_trials": 3, "direction": "minimize"}},
    })  # fmt: skip


def test_optuna_looks_for_the_better_end(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Sweep, "folder", None)
    config = hydra()
    Sweep().on_multirun_start(config)
    assert config.hydra.sweeper.direction == "maximize"
    assert list(config.hydra.overrides.hydra) == ["hydra.sweep.dir='x'"]
    assert "optuna: maximize validation accuracy" in capsys.readouterr().out
    config.optimize, config.hydra.sweep.dir = "loss", "y"
    Sweep().on_multirun_start(config)
    assert config.hydra.sweeper.direction == "minimize"
    config.hydra.overrides.hydra = ["hydra.sweeper.direction=minimize"]
    config.optimize = "accuracy"
    with pytest.raises(SystemExit):
        Sweep().on_multirun_start(config)
    assert "is better the other way" in capsys.readouterr().err
    config.optimize = "accuracy on test"
    with pytest.raises(SystemExit):
        Sweep().on_multirun_start(config)
    assert "test set" in capsys.readouterr().err


JOBLIB = {"_target_": "p.JoblibLauncher", "n_jobs": 2}


def test_jobs_share_the_cores(tmp_path, monkeypatch):
    assert cores_of({"_target_": "p.JoblibLauncher"}, 8) == 1 and cores_of(JOBLIB, 8) == 4
    assert cores_of({"_target_": "p.LocalLauncher", "cpus_per_task": 3}, 8) == 3
    assert cores_of({"_target_": "p.RayLauncher", "ray": {"remote": {"num_cpus": 2}}}, 8) == 2
    assert cores_of({"_target_": "p.SlurmLauncher"}, 8) is None  # it sees its own alone
    monkeypatch.setattr("lth.train.options.count_cores", lambda: 8)
    about = {"launcher": JOBLIB, "sweep": {"dir": str(tmp_path)}, "job": {"num": 3}}
    trainer, chosen = {"workers": "auto"}, {"workers": 7}
    begin_job(about, ["a=1"], trainer)
    begin_job(about, ["a=1"], chosen)
    assert (trainer, chosen) == ({"workers": 4}, {"workers": 7})
    assert [j.number for j in read_jobs(tmp_path)] == [3]


def test_a_launcher_that_is_not_installed_says_how_it_is():
    assert lacking("submitit_slurm") == "it needs hydra-submitit-launcher: pip install 'lth[slurm]'"
    assert "lth[optuna]" in lacking("optuna") and lacking("slrum") is None
    assert kind_of({"_target_": "hydra.core_plugins.BasicLauncher"}) == "basic"


def test_the_watch_tells_what_is_new_once(tmp_path, capsys):
    file, watch = JobFile(tmp_path, 0, ["seed=1"], "logs/0.out"), Watch(tmp_path)
    watch.look()
    watch.look()
    file.end(FAILED, error="boom")
    watch.look()
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("job 0: running") and "seed=1; log: logs/0.out" in first
    assert second.startswith("job 0: failed after 0 s: boom")
    (tmp_path / "jobs" / "1.json").write_text("{")  # half written
    assert [j.state for j in read_jobs(tmp_path)] == [FAILED]
    assert told(SweepJob(1, ("a=1",), RUNNING, host="h")) == "job 1: running on h: a=1"


def test_a_job_that_submitit_ends_keeps_its_state_first(monkeypatch):
    """Its own handler requeues the job, after what trains has been stopped and kept."""
    calls = []

    def requeue(number, frame):
        calls.append(number)
        raise SystemExit(-1)

    requeue.__module__ = "submitit.core.job_environment"
    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        with pytest.raises(SystemExit), stop_after_block(Deaf().note) as stop:
            signal.raise_signal(signal.SIGUSR2)
            assert stop() and not calls
        assert calls == [signal.SIGUSR2] and signal.getsignal(signal.SIGUSR2) is requeue
        requeue.__module__ = "mine"  # anyone else's stays theirs
        with pytest.raises(SystemExit), stop_after_block(Deaf().note) as stop:
            signal.raise_signal(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)


TINY = ["trials=1", "levels=1", "recipe.steps=8", "recipe.eval_every=4", "model.widths=[6]",
        "logger=none", "arms=[winning_ticket]", "trainer.workers=0",
        "trainer.device=cpu"]  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.chdir(tmp_path)
        return commanded(monkeypatch, capsys, *arguments)

    return call


def sweeps(tmp_path):
    return sorted((tmp_path / "out" / "multirun").glob("*/*"))


def test_a_sweep_ends_with_one_table_and_one_figure(here, tmp_path):
    code, out, _ = here("-m", *TINY, "recipe.lr=1e-3,1e-2", "seed=0,1")
    assert code == 0
    (folder,) = sweeps(tmp_path)
    with open(folder / "sweep.csv") as file:
        table = list(csv.DictReader(file))
    assert [(r["recipe.lr"], r["trials"], r["seeds"]) for r in table] == [
        ("0.001", "2", "0 1"), ("0.01", "2", "0 1"),
    ]  # fmt: skip
    assert (folder / "sweep.png").is_file() and (folder / "multirun.yaml").is_file()
    assert "sweep: validation accuracy of winning_ticket at level 1; 2 seeds pooled" in out
    made = read_jobs(folder)
    assert [j.state for j in made] == ["done"] * 4 and all(Path(j.study).is_dir() for j in made)
    assert made[0].value == json.loads((folder / "jobs" / "0.json").read_text())["value"]
    mean = (made[0].value + made[1].value) / 2
    assert float(table[0]["mean"]) == pytest.approx(mean)
    (folder / "sweep.csv").unlink()
    code, again, _ = here("action=sweep", f"studies=[{folder}]")
    assert code == 0 and (folder / "sweep.csv").is_file() and "2 seeds pooled" in again


def test_a_sweep_with_a_failing_job_shows_the_others(here, tmp_path):
    code, out, err = here("-m", *TINY, "prune.rate=0.2,1.5")
    assert code == 1 and err.count("error: ") == 1
    assert "job 1: failed: " in out and "sweep.csv" in out
    assert [j.state for j in read_jobs(sweeps(tmp_path)[0])] == ["done", FAILED]


def test_nothing_is_chosen_on_test_and_no_sweep_begins(here, tmp_path):
    code, _, err = here("-m", *TINY, "seed=0,1", "optimize=accuracy on test")
    assert code == 1 and "nothing is chosen on the test set" in err and err.count("\n") == 1
    code, _, err = here("action=sweep", "studies=[nowhere]")
    assert code == 1 and "no jobs of a sweep" in err


@pytest.mark.parametrize("name", ["submitit_local", "slurm", "ray_local"])
def test_a_choice_whose_plugin_is_missing_is_one_line(name, here):
    part = name.partition("_")[0].replace("slurm", "submitit")
    plugin = f"hydra_plugins.hydra_{part}_launcher"
    if _there(plugin):
        pytest.skip("it is installed")
    code, _, err = here("-m", *TINY, "seed=0,1", f"hydra/launcher={name}")
    assert code == 1 and err.count("\n") == 1 and "pip install 'lth[" in err


def _there(name):
    from importlib.util import find_spec

    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.filterwarnings("ignore")  # optuna's own, of what it will change
def test_optuna_finds_a_learning_rate(here, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    code, out, err = here("tune=learning_rate", *TINY, "hydra.sweeper.n_trials=3")
    assert code == 0, err
    assert "optuna: maximize validation accuracy" in out
    (folder,) = sweeps(tmp_path)
    best = OmegaConf.load(folder / "optimization_results.yaml")
    made = {j.value for j in read_jobs(folder)}
    assert best.best_value == max(made) and len(read_jobs(folder)) == 3
