"""The benchmark: that it runs, that its arithmetic is right, and that both sides do the same."""

import json

import pytest
import torch

from benchmarks import bare, before_after, throughput
from lth.data import split
from lth.train.options import Options
from lth.types import MemberId


def test_a_quick_run_reports_every_contestant(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(throughput, "COHORTS", (1, 2))
    path = tmp_path / "found.json"
    arguments = ["--rounds", "2", "--networks", "lenet", "--share", "0.005", "--json", str(path)]
    throughput.main(arguments)
    out = capsys.readouterr().out
    speeds = json.loads(path.read_text())["networks"]["lenet"]["scores"]
    for name, score in speeds.items():
        assert name in out
        for values in score.values():
            assert len(values) == 2 and all(v > 0 for v in values)
    assert {"bare, 1 thread", "bare masked, 1 thread", "lth dense, R = 1", "lth, R = 2"} <= set(
        speeds
    )


def test_ratios_are_within_a_round_and_against_the_faster_bare_loop():
    speeds = {
        "bare, 1 thread": [10.0, 20.0, 5.0], "bare masked, 1 thread": [99.0, 99.0, 99.0],
        "bare, 2 threads": [5.0, 40.0, 10.0], "lth, R = 1": [20.0, 40.0, 30.0],
    }  # fmt: skip
    scores = {n: throughput.Score(v, [0.1] * 3) for n, v in speeds.items()}
    assert throughput.ratios(scores)["lth, R = 1"] == (2.0, 1.0, 3.0)
    assert throughput.ratios(scores)["bare, 1 thread"] == (0.5, 0.5, 1.0)
    assert "2.00 (2.00-6.00)" in throughput.report("x", scores)


def test_a_fixed_cost_does_not_count_as_slowness(monkeypatch):
    class Fake:
        def __init__(self, *_):
            self.trainer = self

        def close(self):
            pass

        def contestants(self):
            return {"lth, R = 4": (4, lambda number, steps: 3.0 + 0.5 * steps)}

    monkeypatch.setattr(throughput, "Contest", Fake)
    score = throughput.measure(throughput.NETWORKS["conv2"], 2, "cpu")["lth, R = 4"]
    assert score.speeds == [8.0, 8.0] and score.fixed == [3.5 / 4, 3.5 / 4]


@pytest.mark.parametrize("name", throughput.NETWORKS)
def test_every_contest_names_what_there_is(name):
    network = throughput.NETWORKS[name]
    assert network.steps > 1 and len(network.shape) == 3


def test_the_bare_loop_learns_what_the_framework_learns(tmp_path):
    """Both reach the same loss by learning the noise by heart: neither side is a straw man."""
    network = throughput.Network("lenet", (1, 28, 28), "lenet", 150)
    contest = throughput.Contest(network, tmp_path, "cpu")
    contest.trainer.options = Options(device="cpu", workers=0)
    (entry,) = contest.trainer({MemberId(0, 0.0012, "x", 0, 0): contest.ticket(0, 1.0)}).values()
    found = {s: v for step, s, m, v in entry.measured if m == "loss" and step == 150}
    data = contest.dataset
    train, validation = split(data, torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(v)[None, :, None, None].float() for v in (data.mean, data.std))
    ticket = contest.ticket(0, 1.0)
    task = bare.Task(
        ticket.module(), torch.optim.Adam, {"lr": 0.0012},
        bare.Split(data.train_inputs[train], data.train_targets[train]),
        bare.Split(data.train_inputs[validation], data.train_targets[validation]),
        bare.Split(data.test_inputs, data.test_targets), mean, std, batch=60, steps=150,
    )  # fmt: skip
    torch.manual_seed(0)
    by_hand = bare.train(task)
    assert found["train"] < 0.5 and by_hand["train"][0] < 0.5  # of ln 10 = 2.3


def test_two_checkouts_take_turns_and_ratios_are_of_speeds():
    class Side:
        def __init__(self, name, per_step):
            self.name, self.per_step = name, per_step

        def run(self, number, steps, members):
            order.append((number, self.name, steps, members))
            seconds = 1.0 + self.per_step * steps
            return {"wall": seconds, "cpu": seconds}

    order = []
    sides = {"before": Side("before", 0.02), "after": Side("after", 0.01)}
    found = before_after.compare(sides, 3, 4, 400)
    assert found["steps, cpu"] == pytest.approx([2.0] * 4)  # it is twice as fast
    assert found["whole, wall"] == pytest.approx([9 / 5] * 4)
    assert [name for n, name, *_ in order if n == 1] == ["before"] * 2 + ["after"] * 2
    assert [name for n, name, *_ in order if n == 2] == ["after"] * 2 + ["before"] * 2
    ratio = before_after.ratio([0.9, 1.0, 1.1, 1.0, 1.0])
    assert ratio.median == 1.0 and 0.9 <= ratio.low <= ratio.high <= 1.1


def test_packed_bytes_are_compared(capsys):
    from benchmarks import packing

    packing.main(["--values", "16"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    for row in rows:
        entropy, huffman, _, packed, lzma = (float(n.replace(",", "")) for n in row[3:8])
        assert packed <= huffman and packed < 1.02 * entropy + 60
        assert packed < lzma
