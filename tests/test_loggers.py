"""What the loggers write is what the records say; wandb's offline file is read back."""

import csv
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml

from lth import loggers
from lth.loggers import weights_and_biases
from lth.records.budget import Budget
from lth.records.record import COLUMNS, Record
from lth.records.statistics import EARLY, Cell, curve_means, summarise
from lth.spec.build import build
from tests.synthetic import REINIT, WINNER, study

CONF = Path(__file__).parent.parent / "conf" / "logger"
CONFIG = {"seed": 3, "model": {"_target_": "lth.models.lenet"}}


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    """A machine where nobody has logged in, with wandb's settings read anew."""
    import wandb

    for name in [n for n in os.environ if n.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    wandb.teardown()
    yield
    wandb.teardown()


def by_level(rows):
    return [[r for r in rows if r.level == n] for n in sorted({r.level for r in rows})]


def log_study(logger, folder, records, curves, figures=(), name="lenet-1", **more):
    logger.start(name, "lenet", CONFIG, folder)
    for pair in zip(by_level(records), by_level(curves), strict=True):
        logger.log(*pair)
    return logger.finish(records, curves, figures, **more)


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


def test_wandb_holds_what_the_records_say(tmp_path, capfd):
    records, curves = study(trials=3, levels=2, copies=2, steps=600)
    lines = log_study(loggers.wandb_logger(), tmp_path, records, curves)
    assert capfd.readouterr() == ("", "")  # wandb keeps its chatter to itself
    (path,) = runs(tmp_path)
    assert str(path.parent) in lines[0] and lines[1].endswith(f"wandb sync {path.parent}")
    found = read_back(path)
    rows = history(found)
    levels = [r for r in rows if f"{WINNER}/density" in r]
    assert len(levels) == 3
    for level, row in enumerate(levels):
        for arm in (WINNER, REINIT) if level else (WINNER,):
            summary = summarise(records)[Cell(0.0012, arm, level)]
            logged = {k: v for k, v in row.items() if k.startswith(f"{arm}/")}
            expected = {f"{arm}/{k}": v.mean for k, v in summary.values.items()}
            expected |= {f"{arm}/density": summary.density, f"{arm}/diverged": 0}
            assert logged == pytest.approx(expected)
    logged = {(k, r["step"]): v for r in rows for k, v in r.items() if "/L" in k}
    assert logged == pytest.approx({
        (f"{m.arm}/L{m.level}/{m.split}_{m.metric}", m.step): v
        for m, v in curve_means(curves).items()
    })  # fmt: skip
    run = next(r["run"] for r in found if r["type"] == "run")
    assert (run["display_name"], run["run_group"], run["project"]) == ("lenet-1", "lenet", "lth")
    assert {k: run["config"]["update"][k] for k in CONFIG} == CONFIG
    assert next(r["exit"] for r in found if r["type"] == "exit").get("exit_code", 0) == 0


def test_a_study_that_is_gone_on_with_is_the_same_run(tmp_path):
    records, curves = study(trials=1, levels=1, steps=200)
    for _ in range(2):
        log_study(loggers.wandb_logger(), tmp_path, records, curves)
    log_study(loggers.wandb_logger(), tmp_path / "other", records, curves, name="lenet-2")
    found = [r["run"] for p in runs(tmp_path) for r in read_back(p) if r["type"] == "run"]
    assert {r["run_id"] for r in found} == {"lenet-1"} and len(runs(tmp_path)) <= 2
    assert weights_and_biases.run_id("a/b c-0a1b2c3d") == "a-b-c-0a1b2c3d"


def test_wandb_draws_values_against_density_and_curves_against_step(tmp_path):
    records, curves = study(trials=1, levels=1, steps=200)
    log_study(loggers.wandb_logger(), tmp_path, records, curves)
    found = [r["metric"] for r in read_back(runs(tmp_path)[0]) if r["type"] == "metric"]
    axis = {m["name"]: m.get("step_metric") for m in found}
    assert axis[f"{REINIT}/test_accuracy"] == f"{REINIT}/density"
    assert axis[f"{WINNER}/{EARLY}"] == f"{WINNER}/density"
    assert axis[f"{REINIT}/L1/validation_loss"] == "step"
    assert {n for n, a in axis.items() if a is None} == {
        "step", f"{WINNER}/density", f"{REINIT}/density",
    }  # fmt: skip


def test_wandb_names_the_learning_rate_where_there_are_several(tmp_path):
    records, curves = study(trials=1, levels=1, steps=200, rates=(0.0012, 0.4))
    log_study(loggers.wandb_logger(), tmp_path, records, curves)
    names = {k for row in history(read_back(runs(tmp_path)[0])) for k in row if "/" in k}
    assert {n.split("/")[0] for n in names} == {"lr=0.0012", "lr=0.4"}
    assert f"lr=0.4/{REINIT}/test_accuracy" in names


def test_wandb_leaves_diverged_members_out_of_the_means_and_counts_them():
    records, _ = study(trials=2, levels=0, diverged={(1, 0, 0.0012, WINNER, 0)})
    alone, _ = study(trials=1, levels=0)
    (row,) = weights_and_biases.level_rows(records, several=False)
    (expected,) = weights_and_biases.level_rows(alone, several=False)
    assert row == expected | {f"{WINNER}/diverged": 1}


def test_wandb_shows_budgets_in_its_summary_and_in_one_panel(tmp_path):
    records, curves = study(trials=2, levels=1, steps=200)
    found = Budget(params=10, nonzeros=5, bytes=33, macs=8.0, accuracy=0.5, validation=0.25)
    last = dict.fromkeys(r[:7] for r in records)
    records += [Record(*where, *point) for where in last for point in found.points(200)]
    log_study(loggers.wandb_logger(), tmp_path, records, curves)
    (path,) = runs(tmp_path)
    read = read_back(path)
    keys = {k for row in history(read) for k in row}
    assert not [k for k in keys if "budget" in k]
    assert {k.partition(".")[0] for k in keys if "pareto" in k} == {"pareto_table"}
    panels = [k for r in read if r["type"] == "config" for k in r["config"]["update"]]
    assert [k for k in panels if "visualize" in k] == ["_wandb.visualize.pareto"]
    (table,) = (path.parent / "files/media/table").glob("pareto_table*.json")
    content = json.loads(table.read_text())
    assert len(content["data"]) == 3 and {"bytes", "test", "macs"} <= set(content["columns"])
    updates = [r["summary"]["update"] for r in read if r["type"] == "summary"]
    summary = {k: v for update in updates for k, v in update.items()}
    assert summary[f"budget/{REINIT}/bytes"] == 33 and summary[f"budget/{WINNER}/test"] == 0.5


def test_wandb_gets_the_table_the_figures_and_the_tickets(tmp_path):
    records, curves = study(trials=1, levels=1, steps=200)
    figure = tmp_path / "tickets.png"
    from lth.results.figures import save, tickets_figure

    save(tickets_figure(records), figure)
    files = [tmp_path / "t" / n / "ticket.safetensors" for n in "ab"]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_bytes(b"weights " + str(file).encode())
    logger = loggers.wandb_logger(tickets=True)
    log_study(logger, tmp_path, records, curves, [figure], tickets=files)
    (path,) = runs(tmp_path)
    (table,) = (path.parent / "files/media/table").glob("records*.json")
    content = json.loads(table.read_text())
    assert content["columns"] == list(COLUMNS)
    assert content["data"] == [list(r) for r in records]
    (image,) = (path.parent / "files/media/images").rglob("*.png")
    assert image.read_bytes() == figure.read_bytes()
    artifacts = [r["artifact"] for r in read_back(path) if r["type"] == "artifact"]
    (tickets,) = [a for a in artifacts if a["type"] == "ticket"]
    assert [e["path"] for e in tickets["manifest"]["contents"]] == [
        "a/ticket.safetensors", "b/ticket.safetensors",
    ]  # fmt: skip


def test_wandb_uploads_no_tickets_unless_asked(tmp_path):
    records, curves = study(trials=1, levels=0, steps=200)
    file = tmp_path / "ticket.safetensors"
    file.write_bytes(b"weights")
    log_study(loggers.wandb_logger(), tmp_path, records, curves, tickets=[file])
    found = read_back(runs(tmp_path)[0])
    assert "ticket" not in {r["artifact"]["type"] for r in found if r["type"] == "artifact"}


def test_wandb_says_when_its_table_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(weights_and_biases, "TABLE_ROWS", 5)
    records, curves = study(trials=1, levels=1, steps=200)
    lines = log_study(loggers.wandb_logger(), tmp_path, records, curves)
    assert f"first 5 of {len(records)} records" in lines[-1]
    (table,) = (runs(tmp_path)[0].parent / "files/media/table").glob("records*.json")
    assert json.loads(table.read_text())["data"] == [list(r) for r in records[:5]]


def test_an_aborted_run_keeps_what_was_logged(tmp_path):
    records, curves = study(trials=1, levels=1, steps=200)
    logger = loggers.wandb_logger()
    logger.start("lenet-1", "lenet", CONFIG, tmp_path)
    logger.log(by_level(records)[0], by_level(curves)[0])
    logger.abort()
    logger.abort()
    found = read_back(runs(tmp_path)[0])
    assert any(f"{WINNER}/test_accuracy" in row for row in history(found))
    assert next(r["exit"] for r in found if r["type"] == "exit")["exit_code"] == 1


def test_a_second_study_in_one_process_opens_its_own_run(tmp_path):
    records, curves = study(trials=1, levels=0, steps=200)
    first, second = loggers.wandb_logger(), loggers.wandb_logger()
    first.start("one", None, {}, tmp_path)
    second.start("two", None, {}, tmp_path)
    second.log(records, curves)
    first.finish([], [], [])
    second.finish(records, curves, [])
    assert len(runs(tmp_path)) == 2
    counts = [sum(f"{WINNER}/density" in r for r in history(read_back(p))) for p in runs(tmp_path)]
    assert sorted(counts) == [0, 1]


def test_a_logger_that_was_never_started_says_nothing(tmp_path):
    for logger in (loggers.wandb_logger(), loggers.csv_logger(), loggers.none()):
        logger.abort()
        assert logger.finish([], [], []) == []
    assert list(tmp_path.iterdir()) == []


def test_wandb_disabled_writes_nothing(tmp_path):
    records, curves = study(trials=1, levels=0, steps=200)
    assert log_study(loggers.wandb_logger(mode="disabled"), tmp_path, records, curves) == []
    assert runs(tmp_path) == []


def test_wandb_follows_wandb_mode(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    records, curves = study(trials=1, levels=0, steps=200)
    assert log_study(loggers.wandb_logger(), tmp_path, records, curves) == []


def test_wandb_is_online_only_with_an_account(monkeypatch, tmp_path):
    import wandb

    assert weights_and_biases._possible_mode(None) == "offline"
    assert weights_and_biases._possible_mode("online") == "offline"
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {'k' * 40}\n")
    assert weights_and_biases._possible_mode(None) == "online"
    (tmp_path / "netrc").unlink()
    wandb.teardown()
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    assert weights_and_biases._possible_mode(None) == "online"
    assert weights_and_biases._possible_mode("offline") == "offline"


def test_wandb_without_a_network_records_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setitem(weights_and_biases.PATIENCE, "init_timeout", 1.0)
    records, curves = study(trials=1, levels=0, steps=200)
    lines = log_study(loggers.wandb_logger(), tmp_path, records, curves)
    assert "(offline)" in lines[0]
    path = max(runs(tmp_path), key=lambda p: p.stat().st_size)
    assert str(path.parent) in lines[0]
    assert any(f"{WINNER}/density" in row for row in history(read_back(path)))


@pytest.mark.parametrize("broken", ["init", "log", "define_metric"])
def test_a_broken_wandb_costs_one_warning_and_no_study(tmp_path, monkeypatch, broken):
    import wandb

    def fail(*_, **__):
        raise OSError("No space left on device\nand more")

    monkeypatch.setattr(wandb if broken == "init" else wandb.Run, broken, fail)
    records, curves = study(trials=1, levels=2, steps=200)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert log_study(loggers.wandb_logger(), tmp_path, records, curves) == []
    ours = [str(w.message) for w in caught if str(w.message).startswith("wandb:")]
    assert ours == ["wandb: No space left on device; the study goes on without it"]


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


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_yaml_builds_a_logger_and_says_what_it_is(path):
    text = path.read_text()
    assert text.startswith("# ")
    logger = build(yaml.safe_load(text))
    assert all(callable(getattr(logger, n)) for n in ("start", "log", "finish", "abort"))


def test_loggers_import_wandb_only_when_they_start():
    code = "import sys, lth.loggers as l; l.wandb_logger(); sys.exit('wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
