"""Watching a study: several loggers at once, what they hear as it trains, sweeps of wandb."""

import csv
import json
import subprocess
import sys
import threading
import time
import warnings
from functools import partial
from pathlib import Path

import pydantic
import pytest
import torch
import yaml
from rich.console import Console

import lth
from lth import LthError, cli, config
from lth.loggers.aside import Aside
from lth.loggers.chosen import loggers_of, specs_of
from lth.study.progress import Display
from lth.study.run import execute, study_of
from lth.study.setup import prepare
from lth.study.shorthand import of_its_logger
from lth.study.sweep import ready
from tests import tasks, toys
from tests.synthetic import REINIT, WINNER, study

HERE = "tests.test_watching"
HEARD = []


class Ear:
    """A logger that remembers what it is told, in order."""

    def start(self, name, group, config, folder):
        HEARD.append(("start", name))
        return ["an ear is open"]

    def log(self, records, curves):
        HEARD.append(("log", sorted({(r.level, r.arm) for r in records})))

    def live(self, updates, values):
        HEARD.append(("live", updates, dict(values)))

    def look(self, level, density, at):
        HEARD.append(("look", level, density, at()))

    def pictures(self, section, figures, tables=None):
        HEARD.append(("pictures", section, [p.name for p in figures], sorted(tables or {})))

    def finish(self, records, curves, figures, tickets=()):
        HEARD.append(("finish", len(records)))
        return ["ear:     closed"]

    def abort(self):
        HEARD.append(("abort",))


def ear():
    return Ear()


class Failing(Ear):
    def __init__(self, where):
        setattr(self, where, self.fail)

    def fail(self, *_):
        raise SystemExit("the server is away\nand more")


def failing(where: str):
    return Failing(where)


@pytest.fixture
def heard(monkeypatch):
    HEARD.clear()
    monkeypatch.setattr("lth.study.logged.SECOND", 0.0)
    return HEARD


def ran(out, enabled=True, **changes):
    """Run the toy study and close its loggers, without figures."""
    setup = toys.setup_of(str(out), **changes)
    display = Display(Console(width=200), enabled)
    journal = execute(setup, display)
    for line in journal.logged.finish(journal.records, journal.curves, [], []):
        display.say(line)
    return study_of(setup)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return toys.run_study(str(tmp_path_factory.mktemp("plain")), arms=[WINNER, REINIT])


def files(run):
    return {n: (run.folder / f"{n}.csv").read_bytes() for n in ("records", "curves", "members")}


def test_several_loggers_hear_all_and_change_no_number(tmp_path, heard, plain, capsys):
    lightnings = {"_target_": "pytorch_lightning.loggers.CSVLogger"}
    given = {"ear": {"_target_": f"{HERE}.ear"}, "csv": {}, "lightnings": lightnings}
    run = ran(tmp_path, arms=[WINNER, REINIT], logger=given)
    assert run.id == plain.id and files(run) == files(plain)
    out = capsys.readouterr().out
    assert out.index("an ear is open") < out.index("level  0/2") and "ear:     closed" in out
    assert (run.folder / "levels.csv").is_file()
    kinds = [h[0] for h in heard]
    assert kinds[0] == "start" and kinds[-1] == "finish"
    logs = [n for n, kind in enumerate(kinds) if kind == "log"]
    assert [heard[n][1] for n in logs] == [
        [(level, arm) for arm in ((REINIT, WINNER) if level else (WINNER,))] for level in range(3)
    ]  # fmt: skip
    # learning curves move while a level trains
    assert all("live" in kinds[a:b] for a, b in zip([0, *logs], logs, strict=False))
    live = [h for h in heard if h[0] == "live"]
    assert [h[1] for h in live] == sorted(h[1] for h in live) and live[-1][1] <= 10 * 20
    values = {(name.partition("/")[0], value) for h in live for name, value in h[2].items()}
    curve = {(f"{r.split}_{r.metric}", r.value) for r in plain.curves}
    assert len(values) > 10 and values <= curve
    assert {name.partition("/")[2] for h in live for name in h[2]} == {WINNER, REINIT}
    # and each level's winning ticket is looked at
    looks = {h[1]: h for h in heard if h[0] == "look"}
    for level, (_, _, density, seen) in looks.items():
        ticket = plain.ticket(trial=0, level=level)
        assert density == ticket.density
        assert all(torch.equal(seen.masks[n], m) for n, m in ticket.mask.items())
        assert len(seen.kept) == sum(int(m.sum()) for m in ticket.mask.values())
    assert [*looks] == [0, 1, 2]
    # Lightning's own logger has every value under the names that all have
    (path,) = run.folder.rglob("metrics.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    name = f"tickets/test_accuracy/{WINNER}"
    means = {r.level: [] for r in plain.records}
    for r in plain.records:
        if (r.arm, r.split, r.metric) == (WINNER, "test", "accuracy"):
            early = next(e.value for e in plain.records if e[1:6] == r[1:6]
                         and e.metric == "early_stop_step")  # fmt: skip
            means[r.level] += [r.value] if r.step == early else []
    found = {int(r["step"]): float(r[name]) for r in rows if r.get(name)}
    assert found == pytest.approx({n: sum(v) / len(v) for n, v in means.items()})


def test_what_workers_measure_is_heard_too(tmp_path, heard, plain):
    trainer = {"workers": 1, "device": "cpu"}
    logger = {"_target_": f"{HERE}.ear"}
    run = ran(tmp_path, False, arms=[WINNER, REINIT], logger=logger, trainer=trainer)
    assert files(run) == files(plain)
    live = [h for h in heard if h[0] == "live"]
    names = {name for h in live for name in h[2]}
    assert {f"validation_accuracy/{WINNER}", f"train_batch_loss/{REINIT}"} <= names


@pytest.mark.parametrize("where", ["start", "log", "live", "look", "finish"])
def test_a_logger_that_fails_costs_one_line_and_no_study(tmp_path, heard, plain, where, capsys):
    given = {"bad": {"_target_": f"{HERE}.failing", "where": where}, "csv": {}}
    run = ran(tmp_path, arms=[WINNER, REINIT], logger=given)
    assert files(run) == files(plain) and (run.folder / "levels.csv").is_file()
    lines = [x for x in capsys.readouterr().out.splitlines() if x.startswith("logger: left out")]
    (line,) = lines
    assert "(SystemExit: the server is away)" in line and line.endswith("the records are complete")
    marks = json.loads((run.folder / "logged.json").read_text())
    assert len(marks) == 1  # the next command tells the other one again


class Loading(Ear):
    def load(self):
        HEARD.append(("load", threading.current_thread() is threading.main_thread()))


def test_a_logger_imports_in_the_studys_thread(heard):
    """Two threads that import one library at a time can stop each other, and the study."""
    aside = Aside("ear", Loading())
    aside.start("toy", None, {}, Path())
    aside.finish([], [], [])
    assert heard[:2] == [("load", True), ("start", "toy")]


def test_tensorboard_imports_all_that_it_writes_with_before_it_starts():
    code = (
        "import sys, lth.loggers; lth.loggers.tensorboard_logger().load(); "
        "assert {'pytorch_lightning.loggers', 'torch.utils.tensorboard'} <= sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_a_library_refuses_is_named():
    aside = Aside("wandb", Failing("start"))
    aside.logger.fail = lambda *_: pydantic.TypeAdapter(bool).validate_python("")
    aside.logger.start = aside.logger.fail
    aside.start()
    aside.finish()
    (line,) = aside.said()
    assert "bool" in line and "unable to interpret input" in line and "\n" not in line


def test_a_logger_that_hangs_holds_nothing_up():
    gate = threading.Event()

    class Slow(Ear):
        def start(self, *_):
            gate.wait(30)

    aside = Aside("slow", Slow())
    begun = time.monotonic()
    aside.start("x", None, {}, None)
    for n in range(1000):
        aside.tell_if_idle("live", n, {})
    assert time.monotonic() - begun < 5
    HEARD.clear()
    gate.set()
    assert aside.finish([], [], []) == ["ear:     closed"]
    assert 50 < sum(h[0] == "live" for h in HEARD) <= 110  # it would only get further behind
    gate.clear()
    aside = Aside("slow", Slow())
    aside.start("x", None, {}, None)
    aside.abort(0.2)
    assert "it has not ended in 0 s" in aside.said()[0]
    gate.set()


def test_a_run_that_trains_nothing_logs_what_is_stored(tmp_path, heard, capsys):
    given = {"arms": [WINNER, REINIT]}
    ran(tmp_path, **given)
    logger = {"_target_": f"{HERE}.ear"}
    ran(tmp_path, **given, logger=logger)
    assert [h[0] for h in heard] == ["start", "log", "look", "look", "look", "finish"]
    ran(tmp_path, **given, logger=logger)
    assert len(heard) == 6 and "nothing new; ear was told of all of it" in capsys.readouterr().out


def test_of_several_loggers_only_those_that_lack_something_are_opened(tmp_path, heard):
    ran(tmp_path, logger="csv")
    ran(tmp_path, logger=["csv", {"_target_": f"{HERE}.ear"}])
    assert heard[0][0] == "start" and not (tmp_path / "lightning_logs").exists()


def test_an_analysis_and_a_comparison_are_logged(tmp_path, heard, monkeypatch):
    from lth.study.actions import ACTIONS

    logger, out = {"_target_": f"{HERE}.ear"}, str(tmp_path)
    ran(tmp_path, levels=1)
    display = Display(Console())
    values = toys.SETTINGS | {"out": out, "levels": 1, "logger": logger}
    ACTIONS["analyse"](prepare(config.compose(**values, action="analyse")), display)
    (section,) = [h for h in heard if h[0] == "pictures"]
    assert section[1] == "analysis" and "analysis.png" in section[2]
    heard.clear()
    given = {"logger": logger, "out": out, "action": "compare", "studies": [f"{out}/studies/*"]}
    ACTIONS["compare"](config.compose(**given) | {"name": None}, display)
    assert [h[0] for h in heard] == ["start", "pictures", "finish"]
    assert heard[1][1:] == ("compare", ["compare.png"], ["compare", "equal_cost"])


def test_a_comparison_is_not_kept_offline_unasked(tmp_path, monkeypatch):
    from lth import loggers

    monkeypatch.setattr(
        "lth.loggers.weights_and_biases.logger.possible_mode",
        lambda wanted: ("offline", "as asked" if wanted else "no account here"),
    )
    assert loggers.wandb_logger().unseen() == "no account here"
    assert loggers.wandb_logger(mode="offline").unseen() == ""


def test_a_lightning_module_is_watched_as_it_trains(tmp_path, heard):
    given = {
        "task": {"module": tasks.Line, "data": tasks.Points}, "trainer": {"max_epochs": 3},
        "trials": 1, "levels": 1, "arms": [WINNER], "out": str(tmp_path), "progress": False,
    }  # fmt: skip
    run = lth.run(**given, logger={"_target_": f"{HERE}.ear"})
    kinds = [h[0] for h in heard]
    live = [h for h in heard if h[0] == "live"]
    assert kinds.index("live") < kinds.index("log") and kinds[-1] == "finish"
    values = {value for h in live for value in h[2].values()}
    assert values and values <= {r.value for r in run.curves}
    assert {h[1] for h in heard if h[0] == "look"} == {0, 1}
    again = lth.run(**given | {"out": str(tmp_path / "b")}, logger="none")
    assert files(again) == files(run)


def test_tensorboard_holds_what_the_records_say_and_goes_on(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from lth import loggers
    from lth.results.figures import save, tickets_figure
    from tests.test_loggers import by_level, look

    records, curves = study(trials=2, levels=2, steps=300)
    save(tickets_figure(records), tmp_path / "tickets.png")
    for levels in (1, 2):
        some, points = ([r for r in rows if r.level <= levels] for rows in (records, curves))
        logger = loggers.tensorboard_logger()
        logger.start("lenet-1", "lenet", {"seed": 3}, tmp_path)
        for level, pair in enumerate(zip(by_level(some), by_level(points), strict=True)):
            logger.live(10, {f"validation_accuracy/{WINNER}": 0.5 + level / 10})
            logger.log(*pair)
            logger.look(level, 0.8**level, look)
        lines = logger.finish(some, points, [tmp_path / "tickets.png"])
    assert lines == [f"tensorboard: {tmp_path / 'tensorboard'}/"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        events = EventAccumulator(str(tmp_path / "tensorboard"), {"images": 0, "histograms": 0})
        events.Reload()
    points = events.Scalars(f"tickets/test_accuracy/{WINNER}")
    assert [p.step for p in points] == [0, 1, 2]  # what it was told before it is not told again
    tags = events.Tags()
    assert {"masks/fc1.weight", "figures/tickets"} <= set(tags["images"])
    assert "weights" in tags["histograms"] and "layers/fc1.weight" in tags["scalars"]
    assert (
        "custom_scalars__config__" in tags["tensors"] and "verdict/text_summary" in tags["tensors"]
    )
    live = events.Scalars(f"live/validation_accuracy/{WINNER}")
    assert [p.step for p in live] == [10, 10, 20, 20, 20]


def test_tensorboard_that_is_not_installed_is_said_before_work(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LthError, match=r"logger=tensorboard: .* pip install 'lth\[tensorboard\]'"):
        loggers_of({"_target_": "lth.loggers.tensorboard_logger"})


# --- which loggers --------------------------------------------------------------------------------


def composed(logger):
    return config.compose(**toys.SETTINGS | {"logger": logger})["logger"]


def test_loggers_are_chosen_by_name_list_mapping_or_factory():
    assert [*composed("csv")] == ["csv"] and [*composed(["wandb", "csv"])] == ["wandb", "csv"]
    assert composed({"mode": "offline"})["wandb"]["mode"] == "offline"
    both = composed({"wandb": {"tags": ["a"]}, "csv": {}})
    assert both["wandb"]["tags"] == ["a"] and both["csv"]["_target_"] == "lth.loggers.csv_logger"
    assert composed(ear) == {"_target_": f"{HERE}.ear"}
    assert [*composed(["csv", partial(failing, where="log")])] == ["csv", "failing"]
    mine = composed({"mine": {"_target_": f"{HERE}.ear"}, "csv": None})
    assert [*specs_of(mine)] == ["mine", "csv"] and loggers_of(composed([])) == {}


REFUSED = {
    "no such logger": ("wand", r"logger=wand: no such choice; did you mean wandb"),
    "a word for a setting": ({"wandb": "offline"}, r"logger\.wandb=.offline.: a mapping"),
    "a misspelt setting": ({"wandb": {"tag": ["a"]}}, r"takes no 'tag'; it takes .*tags"),
    "an argument that Lightning's lacks": (
        {"mine": {"_target_": "pytorch_lightning.loggers.CSVLogger", "nam": "x"}},
        r"logger\.nam: .*CSVLogger takes no 'nam'; did you mean name\?",
    ),
    "what does not log": ({"mine": {"_target_": "lth.pruning.score.magnitude"}},
                          r"logger\.mine: .*it has no start"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_wrong_choice_is_refused_in_one_line(what, tmp_path):
    logger, words = REFUSED[what]
    with pytest.raises(LthError, match=words) as caught:
        toys.setup_of(str(tmp_path), logger=logger)
    assert "\n" not in str(caught.value) and not (tmp_path / "studies").exists()


def test_the_command_and_python_choose_the_same_loggers():
    chosen = {
        ("logger=[wandb,csv]", "logger.wandb.tags=[a]"): {"wandb": {"tags": ["a"]}, "csv": {}},
        ("logger.mode=offline",): {"wandb": {"mode": "offline"}},
        ("logger=csv", "logger.mine={_target_: tests.test_watching.ear}"): ["csv"],
        ("--logger=none", "--recipe.lr=0.1"): "none",
    }  # fmt: skip
    for words, given in chosen.items():
        theirs = toys.by_hydra(*ready(words))["logger"]
        ours = config.compose(logger=given)["logger"]
        assert {n: theirs[n] for n in ours} == ours, words
    theirs = toys.by_hydra(
        *ready(["logger._target_=tests.test_watching.failing", "logger.where=x"])
    )
    assert specs_of(theirs["logger"])[""] == {
        "_target_": "tests.test_watching.failing", "where": "x",
    }  # fmt: skip


def test_a_setting_of_several_loggers_must_say_of_which():
    with pytest.raises(
        LthError, match=r"logger\.tags: say of which logger: logger\.wandb\.tags or"
    ):
        of_its_logger(["logger=[wandb,csv]", "logger.tags=[a]"])
    with pytest.raises(LthError, match=r"logger\.tags: say of which: logger\.wandb, logger\.csv"):
        config.compose(logger={"wandb": {}, "csv": {}, "tags": ["a"]})


# --- sweeps of wandb ------------------------------------------------------------------------------

FEW = ["trials=1", "levels=1", "model.widths=[8]", "recipe.steps=4", "recipe.eval_every=2",
       "trainer.workers=0", "trainer.device=cpu", "rewind=to_init"]  # fmt: skip


def agent(monkeypatch, run, *arguments):
    """Do what an agent of wandb's does: name the run in the environment, start the command."""
    import wandb

    parameters = dict(a.lstrip("-").split("=") for a in arguments)
    path = f"sweep-s1/config-{run}.yaml"
    wandb.teardown()
    Path(path).parent.mkdir(exist_ok=True)
    content = {k: {"value": yaml.safe_load(v)} for k, v in parameters.items()}
    Path(path).write_text(yaml.safe_dump({"wandb_version": 1, **content}))
    for name, value in {"WANDB_SWEEP_ID": "s1", "WANDB_RUN_ID": run, "WANDB_PROJECT": "of-sweep",
                        "WANDB_SWEEP_PARAM_PATH": path}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["lth", *FEW, *arguments])
    cli.main()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # wandb leaves its file of parameters open
def test_an_agent_of_a_wandb_sweep_starts_the_command(tmp_path, monkeypatch, capsys):
    from tests.test_loggers import clean_environment, history, read_back, runs, summary_of

    monkeypatch.chdir(tmp_path)
    with clean_environment(tmp_path):
        agent(monkeypatch, "first", "--recipe.lr=0.1")
        agent(monkeypatch, "second", "recipe.lr=0.1")  # which is in the store already
    assert "trained 0 members" in capsys.readouterr().out.splitlines()[-1]
    (folder,) = (tmp_path / "out" / "studies").iterdir()
    found = {}
    for path in runs(folder):
        read = read_back(path)
        found[next(r["run"] for r in read if r["type"] == "run")["run_id"]] = read
    assert set(found) == {"first", "second"}
    for read in found.values():
        run = next(r["run"] for r in read if r["type"] == "run")
        assert (run["project"], run["sweep_id"]) == ("of-sweep", "s1")
        assert run["config"]["update"]["recipe"]["lr"] == 0.1
        levels = [r["level"] for r in history(read) if f"tickets/validation_accuracy/{WINNER}" in r]
        assert levels == [0, 1] and f"tickets/validation_accuracy/{WINNER}" in summary_of(read)
