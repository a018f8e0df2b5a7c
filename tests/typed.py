"""What an editor and pyright know of lth: each line that must be refused says by which rule.

Nothing here runs; ``make check`` reads it, and a rule that refuses nothing is an error too.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import functools
from typing import assert_type

import torch
from torch import nn

import lth
from lth.api.results import Figures, Results
from lth.records.budget import Budget
from lth.study.fit import Fitted
from lth.study.plan import Plan


def net(input_shape: list[int], classes: int, width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0] * width, classes))


def right() -> None:
    study = lth.run(model="lenet", data="digits", trials=3, levels=[1, 5], logger="none")
    assert_type(study, lth.Study)
    lth.run(model=net, recipe={"steps": 50, "lr": [1e-3, 2e-3]}, arms=["winning_ticket", net])
    lth.run(model=functools.partial(net, width=3), prune={"rate": 0.3}, budget="auto")
    lth.run(method={"mine": [net]}, trainer={"workers": 0}, progress=False, seed=1, name="x")
    assert_type(lth.plan(trials=3), Plan)
    assert_type(lth.plan(trials=3).seconds, float | None)
    assert_type(lth.plot(study), Figures)
    assert_type(lth.analyse("out/studies/x", progress=False), Results)
    assert_type(lth.compare(study, "out/studies/*", axis="bytes", budgets=[9e3]), Results)
    assert_type(lth.fit("prune.rate", "bytes<=900", values=[0.1], trials=2), Fitted)
    ticket = study.ticket(trial=0, arm="random_reinit", level=5, copy=1)
    assert_type(ticket, lth.Ticket)
    assert_type(study.network(level=1), nn.Module)
    assert_type(study.budget(level=1), Budget)
    assert_type(ticket.mask, dict[str, torch.Tensor])
    assert_type(ticket.to_torch_prune(net([1], 2)), nn.Module)
    assert_type(lth.load_ticket("level_3/main", net), lth.Ticket)
    study.to_pandas("curves").groupby("arm")


def wrong(study: lth.Study) -> None:
    lth.run(trails=3)  # pyright: ignore[reportCallIssue]
    lth.run(trials="3")  # pyright: ignore[reportArgumentType]
    lth.run(levels=2.5)  # pyright: ignore[reportArgumentType]
    lth.run(action="plan")  # pyright: ignore[reportCallIssue]
    lth.run(model=3)  # pyright: ignore[reportArgumentType]
    lth.run("lenet")  # pyright: ignore[reportCallIssue]
    lth.plan(seed=None)  # pyright: ignore[reportArgumentType]
    lth.compare(study, axis="flops")  # pyright: ignore[reportArgumentType]
    lth.fit("prune.rate", "bytes<=900", of="some")  # pyright: ignore[reportArgumentType]
    study.ticket(levle=3)  # pyright: ignore[reportCallIssue]
    study.network(arm=3)  # pyright: ignore[reportArgumentType]
    study.to_pandas("record")  # pyright: ignore[reportArgumentType]
