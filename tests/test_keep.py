"""Results that are kept: complete, and without the machine's name or folders."""

import csv
import json
import platform

import pytest

import lth
from experiments.keep import keep, main
from lth.statistics import Cell, paired_difference


def test_a_result_is_kept_without_where_it_was_made(tmp_path):
    study = lth.run(
        trials=2, levels=1, model={"widths": [20, 10]}, logger="none", out=str(tmp_path / "out"),
        recipe={"steps": 30, "eval_every": 10}, trainer={"workers": 0, "device": "cpu"},
        progress=False,
    )  # fmt: skip
    keep(study, tmp_path / "kept")
    names = {p.name for p in (tmp_path / "kept").iterdir()}
    assert names == {"levels.csv", "differences.csv", "about.json", "tickets.png", "curves.png"}
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


def test_a_folder_that_is_no_study_is_one_line(tmp_path):
    with pytest.raises(SystemExit, match="not a study's folder"):
        main([str(tmp_path), str(tmp_path / "kept")])
    with pytest.raises(SystemExit, match="usage"):
        main([])
