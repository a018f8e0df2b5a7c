"""What the loggers write is what the records say; wandb's offline file is read back."""

import csv
import inspect
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml

from lth import loggers
from lth.errors import LthError
from lth.loggers import panels
from lth.loggers.look import Look, picture
from lth.loggers.weights_and_biases import media, opening
from lth.measured import Measured
from lth.records.budget import Budget
from lth.records.record import COLUMNS, Record
from lth.records.statistics import EARLY, Cell, curve_means, summarise
from lth.records.verdict import verdict
from lth.results.figures import save, tickets_figure
from lth.spec.build import build
from tests.synthetic import REINIT, WINNER, study

CONF = Path(__file__).parent.parent / "conf" / "logger"
CONFIG = {"seed": 3, "model": {"_target_": "lth.models.lenet"}}


@contextmanager
def clean_environment(folder):
    """A machine where nobody has logged in, with wandb's settings read anew."""
    import wandb

    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("WANDB_")]:
            patch.delenv(name)
        patch.setenv("NETRC", str(folder / "netrc"))
        patch.setenv("WANDB_DATA_DIR", str(folder / "data"))
        patch.setenv("WANDB_CONFIG_DIR", str(folder / "config"))
        wandb.teardown()
        yield
        wandb.teardown()


@pytest.fixture(autouse=True)
def no_account(tmp_path):
    with clean_environment(tmp_path):
        yield


def by_level(rows):
    return [[r for r in rows if r.level == n] for n in sorted({r.level for r in rows})]


def log_study(logger, folder, records, curves, figures=(), name="lenet-1", **more):
    logger.start(name, "lenet", CONFIG, folder)
    for level, pair in enumerate(zip(by_level(records), by_level(curves), strict=True)):
        logger.log(*pair)
        if hasattr(logger, "look"):
            logger.look(level, 0.8**level, look)
    return logger.finish(records, curves, figures, **more)


def look():
    mask = {"fc1.weight": torch.eye(4, 6) > 0, "fc2.weight": torch.ones(2, 4) > 0}
    return Look(mask, {n: m * 0.5 for n, m in mask.items()})


def runs(folder):
    return sorted((folder / "wandb").glob("*run-*/*.wandb"))


def read_back(path):
    """Return the records of wandb's log, by wandb's own reader."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in text.splitlines()]


def history(found):
    items = [r["history"]["item"] for r in found if r["type"] == "history"]
    return [{k: v for k, v in item.items() if not k.startswith("_")} for item in items]


def metrics(found):
    """Return what is defined of each value: what it is drawn against, whether it is hidden."""
    defined = [r["metric"] for r in found if r["type"] == "metric"]
    return {
        m["name"]: (m.get("step_metric"), m.get("options", {}).get("hidden", False))
        for m in defined
    }


def panels_of(found):
    """Return the panels that wandb draws by itself: one per logged key, and per custom chart.

    A key that is defined as hidden has none; what is logged of a table or a picture is one key.
    """
    hidden = {name for name, (_, is_hidden) in metrics(found).items() if is_hidden}
    media_keys = ("weights", "masks", "figures", "analysis", "compare", "levels", "records")
    keys = {k.partition(".")[0] if k.split(".")[0] in media_keys or "_table." in k else k
            for item in history(found) for k in item}  # fmt: skip
    charts = {k for r in found if r["type"] == "config" for k in r["config"]["update"]
              if k.startswith("_wandb.visualize.")}  # fmt: skip
    return (keys - hidden) | charts


def summary_of(found):
    updates = [r["summary"]["update"] for r in found if r["type"] == "summary"]
    return {k: v for update in updates for k, v in update.items()}


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A study of two arms, logged offline with all there is; its folder, file and records."""
    folder = tmp_path_factory.mktemp("wandb")
    records, curves = study(trials=3, levels=2, copies=2, steps=600)
    found = Budget(params=10, nonzeros=5, bytes=33, macs=8.0, accuracy=0.5, validation=0.25)
    last = dict.fromkeys(r[:7] for r in records)
    records += [Record(*where, *point) for where in last for point in found.points(600)]
    with clean_environment(folder):
        logger = loggers.wandb_logger(tags=["a", "b"], notes="why", config={"author": "me"})
        said = logger.start("lenet-1", "lenet", CONFIG, folder)
        for level, pair in enumerate(zip(by_level(records), by_level(curves), strict=True)):
            for arm in (WINNER, REINIT)[: level + 1]:
                values = {"validation_accuracy": 0.5 + level / 10, "validation_loss": 1.0}
                logger.live(100 * level, {f"{n}/{arm}": v for n, v in values.items()})
            logger.log(*pair)
            logger.look(level, 0.8**level, look)
        figure = folder / "tickets.png"
        save(tickets_figure(records), figure)
        logger.pictures("analysis", [figure])
        lines = logger.finish(records, curves, [figure], tickets=[figure])
        (path,) = runs(folder)
        return {"said": said, "lines": lines, "path": path, "records": records, "curves": curves,
                "found": read_back(path), "figure": figure}  # fmt: skip


def test_wandb_holds_what_the_records_say(logged):
    found, records = logged["found"], logged["records"]
    rows = [r for r in history(found) if any(k.startswith("tickets/") for k in r)]
    assert len(rows) == 3
    for level, row in enumerate(rows):
        expected = {"level": level, "density": 0.8**level}
        for arm in (WINNER, REINIT) if level else (WINNER,):
            summary = summarise(r for r in records if "budget" not in r.metric)[
                Cell(0.0012, arm, level)]  # fmt: skip
            expected |= {f"tickets/{k}/{arm}": v.mean for k, v in summary.values.items()}
            expected |= {f"tickets/diverged/{arm}": 0}
            for name in ("test_accuracy", EARLY):
                low, high = summary.values[name][1:3]
                expected |= {f"spread/{name}/{arm}/min": low, f"spread/{name}/{arm}/max": high}
                each = summary.trials[name].items()
                expected |= {f"trials/{name}/{arm}/{trial}": v for trial, v in each}
        assert row == pytest.approx(expected)
    curves = {(k, r["step"]): v for r in history(found) for k, v in r.items()
              if k.startswith("curves/")}  # fmt: skip
    assert curves == pytest.approx({
        (f"curves/{m.split}_{m.metric}/{m.arm}/L{m.level}", m.step): v
        for m, v in curve_means(logged["curves"]).items()
    })  # fmt: skip
    run = next(r["run"] for r in found if r["type"] == "run")
    assert (run["display_name"], run["run_group"], run["project"]) == ("lenet-1", "lenet", "lth")
    assert (run["tags"], run["notes"]) == (["a", "b"], "why")
    config = run["config"]["update"]
    assert {k: config[k] for k in CONFIG} == CONFIG and config["author"] == "me"
    assert next(r["exit"] for r in found if r["type"] == "exit").get("exit_code", 0) == 0


def test_wandb_says_at_once_that_it_is_offline_and_how_to_upload(logged):
    folder = logged["path"].parent
    (line,) = logged["said"]
    assert line.startswith("wandb: offline (no account here") and line.endswith(f"sync {folder}")
    assert str(folder) in logged["lines"][0] and logged["lines"][1].endswith(f"sync {folder}")


def test_wandb_draws_over_shared_axes_and_hides_the_rest(logged):
    found = metrics(logged["found"])
    for arm in (WINNER, REINIT):
        assert found[f"tickets/test_accuracy/{arm}"] == ("density", False)
        assert found[f"tickets/{EARLY}/{arm}"] == ("density", False)
        assert found[f"tickets/train_loss/{arm}"] == ("density", True)
        assert found[f"spread/test_accuracy/{arm}/min"] == ("density", True)
        assert found[f"trials/test_accuracy/{arm}/0"] == ("density", True)
        assert found[f"live/validation_accuracy/{arm}"] == ("live/updates", False)
        assert found[f"live/validation_loss/{arm}"] == ("live/updates", True)
    assert found[f"curves/validation_loss/{REINIT}/L1"] == ("step", True)
    assert found["layers/fc1.weight"] == ("density", True)
    assert {n for n, (axis, _) in found.items() if axis is None} == {
        "step", "density", "level", "live/updates",
    }  # fmt: skip


def test_wandb_has_fewer_than_25_panels_for_two_arms_whatever_the_levels(logged):
    shown = panels_of(logged["found"])
    assert len(shown) == 24, sorted(shown)  # with budgets and an analysis
    records, _ = study(trials=1, levels=12)
    names = {n for row in panels.level_rows(records, False) for n in row}
    assert sum(panels.is_shown(n, records) for n in names) == 4


def test_wandb_lays_arms_and_layers_over_one_another(logged):
    def chart(name):
        (file,) = (logged["path"].parent / "files/media/table").rglob(f"{name}_table*.json")
        rows = json.loads(file.read_text())["data"]
        lines = {line: [] for _, line, _ in rows}
        for x, line, y in rows:
            lines[line].append((x, y))
        return lines

    summaries = summarise(r for r in logged["records"] if "budget" not in r.metric)
    accuracy, early = chart("accuracy"), chart("early_stop")
    arms = (WINNER, REINIT)
    assert set(accuracy) == set(early) == {a + x for a in arms for x in ("", ", least", ", most")}
    for name, lines in (("test_accuracy", accuracy), (EARLY, early)):
        for part, end in (("mean", ""), ("low", ", least"), ("high", ", most")):
            expected = [(s.density, getattr(s.values[name], part))
                        for cell, s in summaries.items() if cell.arm == WINNER]  # fmt: skip
            assert lines[WINNER + end] == [pytest.approx(point) for point in expected]
    assert set(chart("trials")) == {f"{a}, trial {t}" for a in arms for t in range(3)}
    assert set(chart("learning")) == {
        f"{WINNER}, 100 %", f"{WINNER}, 80 %", f"{WINNER}, 64 %", f"{REINIT}, 80 %",
        f"{REINIT}, 64 %",
    }  # fmt: skip
    assert chart("layers") == {
        "fc1.weight": [(0.8**n, 4 / 24) for n in range(3)],
        "fc2.weight": [(0.8**n, 1.0) for n in range(3)],
    }


def test_wandb_shows_masks_weights_and_what_moves(logged):
    rows = history(logged["found"])
    live = [r for r in rows if "live/updates" in r]
    assert [r["live/updates"] for r in live] == [0, 100, 100, 200, 200]
    assert live[0][f"live/validation_accuracy/{WINNER}"] == 0.5
    looks = [r for r in rows if any(k.startswith("layers/") for k in r)]
    assert [r["level"] for r in looks] == [0, 1, 2]
    assert [r["layers/fc1.weight"] for r in looks] == pytest.approx([4 / 24] * 3)
    assert all(any(k.startswith("weights") for k in r) for r in looks)
    assert len([*(logged["path"].parent / "files/media/images").glob("masks_*")]) == 6


def test_wandb_has_the_verdict_the_budgets_and_the_tables(logged):
    records, files = logged["records"], logged["path"].parent / "files/media"
    summary = summary_of(logged["found"])
    assert summary["verdict"] == "\n".join(verdict(records))
    assert summary[f"budget/{REINIT}/bytes"] == 33 and summary[f"budget/{WINNER}/test"] == 0.5
    (table,) = (files / "table").rglob("pareto_table*.json")
    content = json.loads(table.read_text())
    assert len(content["data"]) == 5 and {"bytes", "test", "macs"} <= set(content["columns"])
    (table,) = (files / "table").glob("records*.json")
    content = json.loads(table.read_text())
    assert content["columns"] == list(COLUMNS)
    assert content["data"] == [list(r) for r in records]
    (table,) = (files / "table").glob("levels*.json")
    content = json.loads(table.read_text())
    assert len(content["data"]) == 5 and "test_accuracy_mean" in content["columns"]
    assert tickets_in(logged["found"]) == []  # nobody asked for them
    for section in ("figures", "analysis"):
        (image,) = (files / "images").glob(f"{section}_*.png")
        assert image.read_bytes() == logged["figure"].read_bytes()


KILLED = """
import os, sys, signal
from pathlib import Path
from lth import loggers
from tests.synthetic import study
records, curves = study(trials=1, levels=1, steps=200)
logger = loggers.wandb_logger()
logger.start("lenet-1", "lenet", {}, Path(sys.argv[1]))
logger.log([r for r in records if r.level == 0], curves[:1])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_that_was_killed_goes_on_as_itself_and_is_whole(tmp_path):
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)])
    assert ended.returncode == -signal.SIGKILL
    (before,) = runs(tmp_path)
    records, curves = study(trials=1, levels=1, steps=200)
    log_study(loggers.wandb_logger(), tmp_path, records, curves)
    (after,) = [p for p in runs(tmp_path) if p != before] or [before]
    assert before.name == after.name == "run-lenet-1.wandb"  # one id: the last is the whole of it
    found = read_back(after)
    assert next(r["run"]["run_id"] for r in found if r["type"] == "run") == "lenet-1"
    levels = [r["level"] for r in history(found) if f"tickets/test_accuracy/{WINNER}" in r]
    assert levels == [0, 1]
    assert opening.run_id("a/b c-0a1b2c3d") == "a-b-c-0a1b2c3d"


def test_wandb_gets_the_tickets_if_it_is_asked_to_and_says_what_it_cuts(tmp_path, monkeypatch):
    monkeypatch.setattr(media, "TABLE_ROWS", 5)
    records, curves = study(trials=1, levels=1, steps=200)
    files = [tmp_path / "t" / n / "ticket.safetensors" for n in "ab"]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_bytes(b"weights " + str(file).encode())
    logger = loggers.wandb_logger(tickets=True)
    lines = log_study(logger, tmp_path, records, curves, tickets=files)
    assert f"first 5 of {len(records)} records" in lines[-1]
    (path,) = runs(tmp_path)
    (table,) = (path.parent / "files/media/table").glob("records*.json")
    assert json.loads(table.read_text())["data"] == [list(r) for r in records[:5]]
    assert tickets_in(read_back(path)) == ["a/ticket.safetensors", "b/ticket.safetensors"]


def tickets_in(found):
    artifacts = [r["artifact"] for r in found if r["type"] == "artifact"]
    contents = [a["manifest"]["contents"] for a in artifacts if a["type"] == "ticket"]
    return [e["path"] for entries in contents for e in entries]


class Resumed:
    """A run on a server that goes on: what it holds already it must not be told again."""

    id, disabled, resumed, offline, name, url = "x", False, True, False, "x", "https://there"

    def __init__(self, folder, step):
        self.rows, self.step = [], step
        self.settings = type("Settings", (), {"wandb_dir": str(folder), "sync_dir": str(folder)})
        self.summary = {}

    def log(self, row):
        self.rows.append(row)
        self.step += 1

    def define_metric(self, *_, **__):
        pass

    def finish(self, **_):
        pass


def test_a_run_that_is_resumed_on_a_server_is_told_what_is_new(tmp_path, monkeypatch):
    records, curves = study(trials=1, levels=2, steps=200)
    told = []
    for levels, step in ((1, 0), (2, 10_000), (2, 4)):
        run = Resumed(tmp_path, step)
        where = "lth.loggers.weights_and_biases.logger.open_run"
        monkeypatch.setattr(where, lambda *_, run=run: opening.Opened(run, ""))
        logger = loggers.wandb_logger()
        assert logger.start("x", None, CONFIG, tmp_path) == []
        some, points = ([r for r in rows if r.level <= levels] for rows in (records, curves))
        logger.live(50, {f"validation_accuracy/{WINNER}": 0.5})
        for level, pair in enumerate(zip(by_level(some), by_level(points), strict=True)):
            logger.log(*pair)
            logger.look(level, 0.8**level, look)
        assert logger.finish(some, points, [])[0].endswith("https://there")
        told.append(run.rows)
    for key in (f"tickets/test_accuracy/{WINNER}", "layers/fc1.weight"):
        levels = [[r["level"] for r in rows if key in r] for rows in told]
        # the last time the server has lost all but the first rows
        assert levels[:2] == [[0, 1], [2]] and levels[2][-2:] == [1, 2]
    assert [[r["live/updates"] for r in rows if "live/updates" in r] for rows in told] == [
        [50], [100], [150],
    ]  # fmt: skip


def test_wandb_names_the_learning_rate_where_there_are_several(tmp_path):
    records, curves = study(trials=1, levels=1, steps=200, rates=(0.0012, 0.4))
    names = {n for rows in by_level(records) for row in panels.level_rows(rows, True) for n in row}
    assert f"tickets/test_accuracy/lr=0.4/{REINIT}" in names
    names = {n for row in panels.curve_rows(curves, True) for n in row}
    assert f"curves/validation_loss/lr=0.0012/{WINNER}/L1" in names
    found = panels.charts(records, curves, True)
    assert f"lr=0.4/{WINNER}" in found["accuracy"].lines


def test_an_arm_with_densities_of_its_own_has_rows_of_its_own():
    records, _ = study(trials=1, levels=1)
    other = [r._replace(arm="supermask", density=0.33) for r in records if r.arm == REINIT]
    rows = panels.level_rows(records + other, False)
    assert [(r["level"], r["density"]) for r in rows] == [(0, 1.0), (1, 0.8), (1, 0.33)]
    assert "tickets/test_accuracy/supermask" in rows[2] and len(rows[2]) < len(rows[1])


def test_the_means_leave_diverged_members_out_and_count_them():
    records, _ = study(trials=2, levels=0, diverged={(1, 0, 0.0012, WINNER, 0)})
    alone, _ = study(trials=1, levels=0)
    (row,) = panels.level_rows(records, several=False)
    (expected,) = panels.level_rows(alone, several=False)
    assert row == expected | {f"tickets/diverged/{WINNER}": 1}


def test_what_is_shown_is_what_a_study_judges_by():
    records, _ = study(trials=1, levels=1)
    assert panels.is_shown("live/validation_mse/a", records, Measured("mse", False, "mse"))
    assert not panels.is_shown("live/validation_accuracy/a", records, Measured("mse", False))
    assert not panels.is_shown("curves/validation_accuracy/a/L1", records)


def test_the_learning_chart_has_few_lines_and_the_first_and_last_level():
    records, curves = study(trials=1, levels=20, steps=300)
    lines = panels.charts(records, curves, False)["learning"].lines
    assert len(lines) <= 12 and f"{WINNER}, 100 %" in lines and f"{WINNER}, 1.15 %" in lines


def test_a_mask_is_a_picture_of_its_matrix():
    grey = picture(torch.tensor([[True, False], [False, True]]))
    assert grey.shape == (256, 256) and grey[0, 0] == 255 and grey[0, 255] == 0
    kernels = torch.zeros(3, 2, 5, 5, dtype=torch.bool)
    kernels[1, 0] = True
    times = 256 // 15
    grey = picture(kernels)
    tiles = grey[: 15 * times : times, : 10 * times : times]
    assert (tiles[5:10, :5] == 255).all() and tiles.sum() == 255 * 25
    assert grey[0, -1] == 128  # a margin
    large = picture(torch.arange(600 * 300).reshape(600, 300) % 2 == 0)
    assert large.shape == (256, 256) and abs(int(large[0, 0]) - 127) <= 1


def test_a_second_study_in_one_process_opens_its_own_run(tmp_path):
    records, curves = study(trials=1, levels=0, steps=200)
    first, second = loggers.wandb_logger(), loggers.wandb_logger()
    first.start("one", None, {}, tmp_path)
    second.start("two", None, {}, tmp_path)
    second.log(records, curves)
    first.finish([], [], [])
    second.finish(records, curves, [])
    assert len(runs(tmp_path)) == 2
    counts = [sum("density" in r for r in history(read_back(p))) for p in runs(tmp_path)]
    assert sorted(counts) == [0, 1]


def test_a_logger_that_was_never_started_says_nothing(tmp_path):
    for logger in (loggers.wandb_logger(), loggers.csv_logger(), loggers.none()):
        logger.abort()
        assert logger.finish([], [], []) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["asked", "environment"])
def test_wandb_disabled_writes_nothing(tmp_path, monkeypatch, how):
    records, curves = study(trials=1, levels=0, steps=200)
    if how == "environment":
        monkeypatch.setenv("WANDB_MODE", "disabled")
    logger = loggers.wandb_logger(mode="disabled" if how == "asked" else None)
    assert log_study(logger, tmp_path, records, curves) == []
    assert runs(tmp_path) == []


def test_wandb_is_online_only_with_an_account_and_a_server(monkeypatch, tmp_path):
    import wandb

    def mode(wanted=None):
        return opening.possible_mode(wanted)[0]

    monkeypatch.setattr(opening, "_answers", lambda url: True)
    assert mode() == mode("online") == "offline"
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {'k' * 40}\n")
    assert mode() == "online"
    (tmp_path / "netrc").unlink()
    wandb.teardown()
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    assert mode() == "online" and mode("shared") == "shared" and mode("offline") == "offline"
    monkeypatch.setattr(opening, "_answers", lambda url: False)
    assert opening.possible_mode(None)[1].endswith("does not answer")


def test_wandb_without_a_network_records_offline_under_the_same_id(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    records, curves = study(trials=1, levels=0, steps=200)
    lines = log_study(loggers.wandb_logger(), tmp_path, records, curves)
    assert "(offline)" in lines[0]
    (path,) = runs(tmp_path)
    assert str(path.parent) in lines[0]
    found = read_back(path)
    assert next(r["run"]["run_id"] for r in found if r["type"] == "run") == "lenet-1"
    assert any("density" in row for row in history(found))


def test_wandb_says_why_a_server_did_not_take_the_run(tmp_path, monkeypatch):
    import wandb

    def init(mode, real=wandb.init, **about):
        if mode == "online":
            raise wandb.errors.CommError("entity nobody not found\nmore")
        return real(mode=mode, **about)

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(opening, "possible_mode", lambda *_: ("online", ""))
    logger = loggers.wandb_logger(entity="nobody")
    (line,) = logger.start("lenet-1", "lenet", CONFIG, tmp_path)
    logger.abort()
    assert "did not take the run: entity nobody not found)" in line


TOLD = {
    "project": "WANDB_PROJECT", "entity": "WANDB_ENTITY", "name": "WANDB_NAME",
    "group": "WANDB_RUN_GROUP", "job_type": "WANDB_JOB_TYPE", "notes": "WANDB_NOTES",
    "id": "WANDB_RUN_ID", "resume": "WANDB_RESUME", "dir": "WANDB_DIR",
}  # fmt: skip


def test_what_is_set_comes_before_the_environment_and_that_before_the_study(monkeypatch, tmp_path):
    import wandb

    def arguments(**asked):
        wandb.teardown()
        logger = loggers.wandb_logger(**asked)
        told = wandb.setup().settings
        return opening.arguments(logger.asked, told, "lenet-1", "lenet", tmp_path)

    assert arguments() == {
        "project": "lth", "name": "lenet-1", "group": "lenet", "id": "lenet-1", "resume": "allow",
        "dir": str(tmp_path), "reinit": "create_new",
    }  # fmt: skip
    for name in TOLD.values():
        monkeypatch.setenv(name, "must" if name == "WANDB_RESUME" else "told")
    monkeypatch.setenv("WANDB_TAGS", "one,two")
    left = arguments()  # wandb reads these itself
    assert left == {"dir": "told", "reinit": "create_new"}
    asked = dict.fromkeys(TOLD, "mine") | {"resume": "never", "tags": ["three"]}
    assert arguments(**asked) == asked | {"reinit": "create_new"}


def test_wandb_reads_its_environment(monkeypatch, tmp_path):
    environment = {"WANDB_PROJECT": "theirs", "WANDB_TAGS": "one,two", "WANDB_RUN_GROUP": "many",
                   "WANDB_NOTES": "why", "WANDB_JOB_TYPE": "prune", "WANDB_NAME": "me",
                   "WANDB_RUN_ID": "mine", "WANDB_MODE": "offline",
                   "WANDB_DIR": str(tmp_path / "there")}  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    records, curves = study(trials=1, levels=0, steps=200)
    logger = loggers.wandb_logger(group="mine")
    (line,) = logger.start("lenet-1", "lenet", CONFIG, tmp_path)
    assert line.startswith("wandb: offline (as asked)")
    logger.log(records, curves)
    logger.abort()
    logger.abort()
    (path,) = runs(tmp_path / "there")
    found = read_back(path)
    run = next(r["run"] for r in found if r["type"] == "run")
    names = ("project", "tags", "run_group", "notes", "job_type", "display_name", "run_id")
    assert [run[n] for n in names] == [
        "theirs", ["one", "two"], "mine", "why", "prune", "me", "mine",
    ]  # fmt: skip
    # and one that is aborted keeps what was logged
    assert any(f"tickets/test_accuracy/{WINNER}" in row for row in history(found))
    assert next(r["exit"] for r in found if r["type"] == "exit")["exit_code"] == 1


def test_wandb_goes_on_from_a_past_step_without_an_id_of_its_own(tmp_path):
    import wandb

    asked = loggers.wandb_logger(fork_from="abc?_step=3").asked
    found = opening.arguments(asked, wandb.setup().settings, "lenet-1", "lenet", tmp_path)
    assert found["fork_from"] == "abc?_step=3" and not {"id", "resume"} & found.keys()


WRONG = {
    "mode": ({"mode": "of"}, r"logger\.mode=of: it is one of online, offline"),
    "resume": ({"resume": "perhaps"}, r"logger\.resume=perhaps: it is one of allow, never"),
    "resume twice": ({"resume": "must", "fork_from": "a?_step=1"}, r"logger\.fork_from: resume is"),
    "a fork from nowhere": ({"fork_from": "abc"}, r"written <run id>\?_step=<step>"),
    "tags": ({"tags": "lenet"}, r"logger\.tags='lenet': a list of words: logger\.tags=\[one,two\]"),
    "a long tag": ({"tags": ["x" * 65]}, r"a tag has at most 64"),
    "tags of numbers": ({"tags": [1]}, r"logger\.tags=\[1\]: a list of words"),
    "id": ({"id": "a/b"}, r"logger\.id=a/b: it may not have / in it"),
    "a long id": ({"id": "x" * 129}, r"it has 1 to 128 characters"),
    "project": ({"project": "a#b"}, r"logger\.project=a#b: it may not have # in it"),
    "config": ({"config": "me"}, r"logger\.config='me': a mapping"),
    "settings": ({"settings": {"consol": "off"}}, r"settings\.consol: no setting of wandb's; did"),
    "a setting's value": ({"settings": {"console": "loud"}}, r"logger\.settings: "),
    "a key": ({"settings": {"api_key": "k" * 40}}, r"settings\.api_key: set WANDB_API_KEY"),
    "both keys": ({"config_include_keys": ["a"], "config_exclude_keys": ["b"]}, r"one of them"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_wandb_would_not_take_is_refused_before_any_work(what):
    arguments, words = WRONG[what]
    with pytest.raises(LthError, match=words) as caught:
        loggers.wandb_logger(**arguments)
    assert "\n" not in str(caught.value)


def test_every_argument_of_wandbs_init_is_one_of_ours_or_said_to_be_left_out():
    import wandb

    left_out = {
        "reinit": "a run per study",
        "allow_val_change": "a study that is gone on with has another configuration",
        "anonymous": "wandb has dropped it",
        "tensorboard": "logger=[wandb,tensorboard]",
        "sync_tensorboard": "settings.sync_tensorboard",
        "monitor_gym": "no study of this kind",
    }
    theirs = inspect.signature(wandb.init).parameters
    ours = inspect.signature(loggers.wandb_logger).parameters
    assert set(theirs) - set(ours) == set(left_out)
    assert set(ours) - set(theirs) == {"stats", "tickets"}


def test_the_csv_logger_writes_a_line_per_level(tmp_path):
    gone = {(t, 0, 0.0012, REINIT, 2) for t in range(3)} | {(0, 0, 0.0012, WINNER, 1)}
    records, curves = study(trials=3, levels=2, diverged=gone)
    lines = log_study(loggers.csv_logger(), tmp_path, records, curves)
    path = tmp_path / "levels.csv"
    assert lines == [f"levels:  {path}"]
    rows = list(csv.DictReader(path.read_text().splitlines()))
    summaries = summarise(records)
    assert len(rows) == len(summaries) == 5
    for row, (cell, summary) in zip(rows, summaries.items(), strict=True):
        assert Cell(float(row["lr"]), row["arm"], int(row["level"])) == cell
        assert float(row["density"]) == summary.density
        assert (int(row["members"]), int(row["diverged"])) == (3, summary.diverged)
        assert int(row["trials"]) == 3 - summary.diverged
        for name, spread in summary.values.items():
            found = [float(row[f"{name}_{part}"]) for part in ("mean", "min", "max")]
            assert found == list(spread[:3])
    assert rows[-1]["test_accuracy_mean"] == ""


def test_the_csv_logger_is_true_after_every_level(tmp_path):
    records, _ = study(trials=1, levels=2)
    logger = loggers.csv_logger()
    logger.start("lenet-1", None, {}, tmp_path)
    for number, rows in enumerate(by_level(records)):
        logger.log(rows, [])
        count = len((tmp_path / "levels.csv").read_text().splitlines()) - 1
        assert count == 1 + 2 * number
    logger.abort()
    assert (tmp_path / "levels.csv").exists()


YAMLS = [p for p in sorted(CONF.glob("*.yaml"))]


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.stem)
def test_every_yaml_builds_a_logger_and_says_what_it_is(path):
    text = path.read_text()
    assert text.startswith(f"# @package logger.{path.stem}\n# ")
    if path.stem == "tensorboard":
        pytest.importorskip("tensorboard")
    logger = build(yaml.safe_load(text))
    assert all(callable(getattr(logger, n)) for n in ("start", "log", "finish", "abort"))


def test_wandbs_yaml_names_every_argument_that_a_user_sets_often():
    keys = set(yaml.safe_load((CONF / "wandb.yaml").read_text())) - {"_target_"}
    rare = {"config_include_keys", "config_exclude_keys", "save_code", "force", "resume_from",
            "fork_from"}  # fmt: skip
    assert keys == set(inspect.signature(loggers.wandb_logger).parameters) - rare


def test_loggers_import_wandb_and_lightning_only_when_they_start():
    code = (
        "import sys, lth.loggers as l; l.wandb_logger(tags=['a']); "
        "sys.exit(bool({'wandb', 'pytorch_lightning', 'tensorboard'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
