"""Member-steps per second: a bare PyTorch loop against this framework, in one run.

    python -m benchmarks.throughput [--rounds 3] [--networks lenet conv2 resnet20] [--json FILE]

Every round runs every contestant once, in turn, so that a machine that slows down slows them all;
what is reported is the median over rounds, and the median of the ratios within a round. Every
contestant runs twice in a round, for all its steps and for one: the difference is the speed, and
the short run is the fixed cost (evaluations, and for the framework hand-over and writing to the
store), which the thousands of steps of a real member dwarf and these few do not.

"bare masked" is how pruning is usually written by hand: weights times mask after every update. A
cohort runs on all cores; R = 1 is one member, so one core. The pictures are noise: speed does not
depend on what they show, and the run needs no download.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import bare
from lth import config
from lth.data import Dataset, tensors
from lth.data.dataset import split
from lth.networks import masks
from lth.networks.layers import Layers
from lth.networks.ticket import Ticket, draw_model, draw_state, layers_of
from lth.recipe.recipe import Recipe
from lth.store.store import Store
from lth.train.options import Listener, Options, count_cores
from lth.train.trainer import Trainer
from lth.types import MemberId

TRAIN, VALIDATION, TEST = 600, 200, 200
COHORTS = (1, 5, 10)


@dataclass(frozen=True)
class Network:
    """A contest: a model on pictures of a shape, its recipe, and how many steps to time."""

    name: str
    shape: tuple[int, int, int]
    recipe: str
    steps: int


NETWORKS = {
    n.name: n
    for n in (
        Network("lenet", (1, 28, 28), "lenet", 2000),
        Network("conv2", (3, 32, 32), "conv2", 12),
        Network("resnet20", (3, 32, 32), "resnet18", 10),
    )
}

Contestant = Callable[[int, int], float]
"""Runs once, for a number that no run had before and so many steps; returns seconds."""


@dataclass
class Score:
    """What one contestant did: member-steps per second, and seconds per member, by round."""

    speeds: list[float] = field(default_factory=list)
    fixed: list[float] = field(default_factory=list)


def noise(shape: list[int], train: int, test: int, validation: int) -> Dataset:
    """Pictures of noise in ten classes; the worker processes make the same."""
    generator = torch.Generator().manual_seed(0)

    def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = torch.randint(256, (count, *shape), generator=generator, dtype=torch.uint8)
        return inputs, torch.arange(count) % 10

    return tensors("noise", draw(train), draw(test), validation)


class Contest:
    """All contestants over one network."""

    def __init__(self, network: Network, store: Path, device: str) -> None:
        self.network, self.device = network, device
        arguments = {
            "shape": list(network.shape), "train": TRAIN + VALIDATION, "test": TEST,
            "validation": VALIDATION,
        }  # fmt: skip
        self.dataset = noise(**arguments)
        values = config.load("recipe", network.recipe)
        changes = {"steps": network.steps, "eval_every": network.steps, "schedule": CONSTANT}
        self.recipe = Recipe(**values | changes)
        shape, classes = list(network.shape), self.dataset.classes
        self.model = config.load("model", network.name)
        self.model |= {"input_shape": shape, "classes": classes}
        self.layers: Layers = layers_of(self.model)
        data = {"_target_": "benchmarks.throughput.noise", **arguments}
        options = Options(device="cuda" if device == "cuda" else "cpu")
        self.trainer = Trainer(
            data, self.dataset, self.recipe, 0, (), Store(store), options, Listener()
        )

    def contestants(self) -> dict[str, tuple[int, Contestant]]:
        """Name them with their members, in the order in which a round runs them."""
        found: dict[str, tuple[int, Contestant]] = {
            "bare, 1 thread": (1, partial(self.bare, threads=1)),
            "bare masked, 1 thread": (1, partial(self.bare, threads=1, masked=True)),
        }
        if self.device == "cpu":
            threads = count_cores()
            found[f"bare, {threads} threads"] = 1, partial(self.bare, threads=threads)
        found["lth dense, R = 1"] = 1, partial(self.framework, members=1, density=1.0)
        for members in COHORTS:
            found[f"lth, R = {members}"] = members, partial(self.framework, members=members)
        return found

    def bare(self, number: int, steps: int, threads: int, masked: bool = False) -> float:
        """Time the loop written by hand; on a GPU the threads do not matter."""
        data, spec = self.dataset.to(self.device), dict(self.recipe.optimizer)
        factory = getattr(torch.optim, spec.pop("_target_").rpartition(".")[2])
        train, validation = split(data, torch.Generator().manual_seed(0))
        constants = [torch.tensor(v, device=self.device)[None, :, None, None].float()
                     for v in (data.mean, data.std)]  # fmt: skip
        model, settings = draw_model(self.model, 0), {"lr": self.recipe.rates[0], **spec}
        task = bare.Task(
            model.to(self.device), factory, settings,
            bare.Split(data.train_inputs[train], data.train_targets[train]),
            bare.Split(data.train_inputs[validation], data.train_targets[validation]),
            bare.Split(data.test_inputs, data.test_targets), *constants,
            batch=self.recipe.batch, steps=steps,
        )  # fmt: skip
        if masked:
            ticket = self.ticket(0, 0.5)
            model.load_state_dict(ticket.start.params, strict=False)
            task.masks = {n: m.to(self.device, torch.float32) for n, m in ticket.mask.items()}
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            begun = time.perf_counter()
            bare.train(task)
            return time.perf_counter() - begun
        finally:
            torch.set_num_threads(before)

    def framework(self, number: int, steps: int, members: int, density: float = 0.5) -> float:
        """Time a cohort of members, of trials that no run has trained before."""
        cohort = {
            MemberId(trial, self.recipe.rates[0], "winning_ticket", 0, 0): self.ticket(
                trial, density
            )
            for trial in range(members)
        }
        self.trainer.seed = 1000 * number + members  # nothing is in the store
        self.trainer.recipe = replace(self.recipe, steps=steps, eval_every=steps)
        begun = time.perf_counter()
        entries = self.trainer(cohort)
        seconds = time.perf_counter() - begun
        assert len(entries) == members
        return seconds

    def ticket(self, trial: int, density: float) -> Ticket:
        """Return a network of which this share of every layer is kept."""
        generator = torch.Generator().manual_seed(trial)
        mask = {
            n: torch.rand(m.shape, generator=generator) < density
            for n, m in masks.full(self.layers, self.layers.shapes).items()
        }
        return Ticket(model=self.model, mask=mask, **draw_state(self.model, trial)._asdict())


CONSTANT = {"_target_": "lth.recipe.schedule.constant", "warmup": 0}


def measure(network: Network, rounds: int, device: str) -> dict[str, Score]:
    """Let every contestant run ``rounds`` times, after once to warm up."""
    with tempfile.TemporaryDirectory() as folder:
        contest = Contest(network, Path(folder), device)
        contestants = contest.contestants()
        found = {name: Score() for name in contestants}
        try:
            for number in range(rounds + 1):
                for name, (members, run) in contestants.items():
                    whole = run(number, network.steps)
                    fixed = run(number, 1)
                    if number:
                        steps = members * (network.steps - 1)
                        found[name].speeds.append(steps / max(whole - fixed, 1e-9))
                        found[name].fixed.append(fixed / members)
        finally:
            contest.trainer.close()
    return found


def ratios(scores: dict[str, Score]) -> dict[str, tuple[float, float, float]]:
    """Return (median, least, greatest) of each contestant's speed over the faster bare loop's.

    The bare loops are those that train the dense network, on one thread and on all.
    """
    bares = [s.speeds for name, s in scores.items() if name.startswith("bare,")]
    return _over(scores, [max(values) for values in zip(*bares, strict=True)])


def _over(scores: dict[str, Score], base: list[float]) -> dict[str, tuple[float, float, float]]:
    found = {}
    for name, score in scores.items():
        shares = [v / b for v, b in zip(score.speeds, base, strict=True)]
        found[name] = median(shares), min(shares), max(shares)
    return found


def report(network: str, scores: dict[str, Score]) -> str:
    """Write one network's results as lines of a Markdown table."""
    one, best = _over(scores, scores["bare, 1 thread"].speeds), ratios(scores)
    lines = [
        f"| {network:<21} | member-steps/s | x bare, 1 thread | x the faster bare "
        "| fixed s/member |",
        f"|{'-' * 23}|---------------:|-----------------:|------------------:|---------------:|",
    ]
    for name, score in scores.items():
        (a, low, high), b = one[name], best[name][0]
        lines.append(
            f"| {name:<21} | {median(score.speeds):>14,.1f} | {a:.2f} ({low:.2f}-{high:.2f}) "
            f"| {b:>17.2f} | {median(score.fixed):>14.2f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the contests that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--share", type=float, default=1.0, help="of the steps, for a quick look")
    given = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found: dict[str, Any] = {
        "rounds": given.rounds, "device": device, "cores": count_cores(),
        "cpu": platform.processor() or platform.machine(), "torch": torch.__version__,
        "networks": {},
    }  # fmt: skip
    if device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
    print(", ".join(f"{k} {v}" for k, v in found.items() if k != "networks"), flush=True)
    for name in given.networks:
        network = NETWORKS[name]
        steps = max(2, round(given.share * network.steps))
        network = Network(name, network.shape, network.recipe, steps)
        scores = measure(network, given.rounds, device)
        found["networks"][name] = {
            "steps": steps, "scores": {n: asdict(s) for n, s in scores.items()},
        }  # fmt: skip
        print("\n" + report(f"{name} ({steps} steps)", scores), flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    return found


if __name__ == "__main__":
    main()
