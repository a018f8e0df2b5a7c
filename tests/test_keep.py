"""Results that are kept: complete, and without the machine's name or folders."""

import csv
import json
import platform
from types import SimpleNamespace

import pytest
from rich.console import Console

import lth
from experiments.keep import keep, main, phases
from lth.config import compose
from lth.records.record import Record
from lth.records.statistics import Cell, paired_difference
from lth.study.actions import compare_studies
from lth.study.progress import Display


def test_a_result_is_kept_without_where_it_was_made(tmp_path):
    study = lth.run(
        trials=2, levels=1, model={"widths": [20, 10]}, logger="none", out=str(tmp_path / "out"),
        recipe={"steps": 30, "eval_every": 10}, trainer={"workers": 0, "device": "cpu"},
        progress=False,
    )  # fmt: skip
    keep(study, tmp_path / "kept")
    names = {p.name for p in (tmp_path / "kept").iterdir()}
    tables = {"levels.csv", "differences.csv", "phases.csv"}
    assert names == {*tables, "about.json", "tickets.png", "curves.png"}
    text = (tmp_path / "kept" / "about.json").read_text()
    assert str(tmp_path) not in text and platform.node() not in text
    assert json.loads(text)["config"]["trials"] == 2
    with open(tmp_path / "kept" / "differences.csv") as file:
        rows = list(csv.DictReader(file))
    found = next(r for r in rows if (r["subtrahend"], r["measure"]) == ("dense", "test_accuracy"))
    lr = study.config["recipe"]["lr"]
    expected = paired_difference(
        study.records, Cell(lr, "winning_ticket", 1), Cell(lr, "winning_ticket", 0)
    )
    assert [float(found[k]) for k in ("mean", "low", "high")] == list(expected[:3])
    assert found["trials"] == "2"
    for name in ("analysis.csv", "matching.csv", "paths.csv", "curves.csv"):
        (study.folder / name).write_text(name)
    line = "0.1,winning_ticket,1,0.8,level,,test,0.5"
    (study.folder / "paths.csv").write_text(
        f"trial,lr,arm,level,density,kind,norms,split,alpha,error,loss\n"
        f"0,{line},0.25,2.0\n1,{line},0.75,4.0\n"
    )
    (study.folder / "figures" / "layers.png").write_bytes(b"drawn")
    keep(study, tmp_path / "kept")
    more = {"analysis.csv", "matching.csv", "paths.csv", "layers.png"}
    assert {p.name for p in (tmp_path / "kept").iterdir()} == names | more
    assert (tmp_path / "kept" / "paths.csv").read_text().splitlines()[1] == (
        f"{line},0.5,0.25,0.75,3.0,2"
    )


def test_a_comparison_is_kept_with_what_all_its_studies_were(tmp_path):
    settings = {
        "trials": 2, "levels": 1, "model": {"widths": [20, 10]}, "logger": "none",
        "out": str(tmp_path / "out"), "recipe": {"steps": 10, "eval_every": 10},
        "trainer": {"workers": 0, "device": "cpu"}, "arms": ["winning_ticket"],
    }  # fmt: skip
    one = lth.run(**settings, name="c-a", progress=False)
    two = lth.run(**settings, name="c-b", score="random", progress=False)
    config = compose(**settings) | {
        "name": None, "action": "compare", "studies": [str(tmp_path / "out/studies/c-*")],
    }  # fmt: skip
    compare_studies(config, Display(Console(), enabled=False))
    main([str(tmp_path / "out" / "compare" / "c"), str(tmp_path / "kept")])
    names = {p.name for p in (tmp_path / "kept").iterdir()}
    assert names == {"compare.csv", "equal_cost.csv", "compare.png", "about.json"}
    text = (tmp_path / "kept" / "about.json").read_text()
    assert str(tmp_path) not in text and platform.node() not in text
    about = json.loads(text)
    assert set(about["studies"]) == {one.id, two.id}
    assert about["command"].endswith(f"'studies=[out/studies/{one.id},out/studies/{two.id}]'")
    assert all(d["command"] and d["data"] for d in about["studies"].values())
    assert about["config"]["seed"] == 0 and "score" not in about["config"]
    scores = [about["studies"][s.id]["config"]["score"]["_target_"] for s in (one, two)]
    assert scores == ["lth.pruning.score.magnitude", "lth.pruning.score.random"]
    text = (tmp_path / "kept" / "compare.csv").read_bytes()
    assert text == (tmp_path / "out" / "compare" / "c" / "compare.csv").read_bytes()


def test_a_folder_that_is_no_study_is_one_line(tmp_path):
    with pytest.raises(SystemExit, match="not a study's folder"):
        main([str(tmp_path), str(tmp_path / "kept")])
    with pytest.raises(SystemExit, match="usage"):
        main([])


def test_phases_are_averaged_by_their_ends_on_the_test_set():
    def row(trial, step, value, **other):
        about = {"study": "s", "lr": 0.1, "arm": "cluster", "level": 2, "density": 0.5, "copy": 0,
                 "split": "test", "metric": "accuracy", "phase": 1, "move": "cluster"}  # fmt: skip
        return Record(trial=trial, step=step, value=value, **about | other)

    rows = [
        row(0, 10, 0.1), row(0, 20, 0.5), row(1, 20, 0.75, copy=1), row(1, 20, 0.65),
        row(0, 20, 0.9, split="validation"), row(0, 30, 0.8, phase=2), row(1, 30, 0.8, phase=2),
    ]  # fmt: skip
    first, second = phases(SimpleNamespace(records=rows))
    assert first[:6] == (0.1, "cluster", 2, 1, 0.5, "accuracy") and first[-2] == 2
    assert [float(v) for v in first[-1].split()] == pytest.approx([0.5, 0.7])
    assert first[6] == pytest.approx(0.6) and first[7] < 0.5 < 0.7 < first[8]
    assert second[3] == 2 and second[6:] == (0.8, "", "", 2, "0.8")  # equal trials give no interval
