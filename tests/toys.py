"""What tests share: models and factories that they name by ``_target_``, and the tiniest study."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lth import config
from lth.data import Dataset, tensors
from lth.errors import LthError
from lth.models.resnet import Block
from lth.moves import Move, rewriting
from lth.networks.net import Net
from lth.networks.ticket import Ticket, draw_state, layers_of
from lth.recipe.recipe import Recipe
from lth.spec.build import Spec
from lth.store.entry import StoredMember
from lth.store.store import Store
from lth.streams import stream
from lth.train.engine import SequentialEngine
from lth.train.job import Job, Streams
from lth.train.key import member_key
from lth.train.options import Listener, Options
from lth.train.stacked import run_stacked
from lth.train.work import one_thread, work
from lth.types import Augment

if TYPE_CHECKING:
    from lth import Study
    from lth.study.setup import Setup


def blobs(validation: int = 40, root: str | None = None) -> Dataset:
    """Four noisy 1x4x4 pictures: 200 to train on, 60 to test on."""
    generator = torch.Generator().manual_seed(7)
    centres = torch.randint(60, 190, (4, 1, 4, 4), generator=generator)

    def draw(count: int):
        targets = torch.arange(count) % 4
        noise = torch.randint(-60, 60, (count, 1, 4, 4), generator=generator)
        return (centres[targets] + noise).to(torch.uint8), targets

    return tensors("blobs", draw(200), draw(60), validation)


MLP = {"_target_": "tests.toys.mlp", "input_shape": [1, 4, 4], "classes": 4, "width": 12}
NORM = {"_target_": "tests.toys.norm_net", "input_shape": [1, 4, 4], "classes": 4}
DROPOUT = {"_target_": "tests.toys.dropout_net", "input_shape": [1, 4, 4], "classes": 4}
PLAIN = {"_target_": "tests.toys.Plain"}
DATA = {"_target_": "tests.toys.blobs"}
OPTIMIZERS = config.choices("recipe/optimizer")


def mlp(input_shape: Sequence[int], classes: int, width: int = 12) -> nn.Module:
    size = 1
    for length in input_shape:
        size *= length
    return nn.Sequential(nn.Flatten(), nn.Linear(size, width), nn.ReLU(), nn.Linear(width, classes))


def norm_net(input_shape: Sequence[int], classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, classes),
    )  # fmt: skip


def block_net(input_shape: Sequence[int], classes: int) -> nn.Module:
    """Two residual blocks."""
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        Block(4, 4, 1, "pad"), Block(4, 4, 1, "pad"),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes),
    )  # fmt: skip


def dropout_net(input_shape: Sequence[int], classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, classes)
    )


def deep(depth: int, width: int, scale: float) -> nn.Module:
    layers = [nn.Linear(16 if i == 0 else width, width) for i in range(depth)]
    for layer in layers:
        nn.init.normal_(layer.weight, std=scale)
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, 4))


def upsampler() -> nn.Module:
    up = nn.ConvTranspose2d(2, 3, 2, stride=2)
    return nn.Sequential(up, nn.Flatten(), nn.Linear(300, 4))


def same(given: object) -> object:
    return given


def fewer(classes: int, validation: int = 20) -> Dataset:
    """Blobs of the first classes only."""
    whole = blobs()
    parts = []
    for name in ("train", "test"):
        inputs, targets = getattr(whole, f"{name}_inputs"), getattr(whole, f"{name}_targets")
        parts.append((inputs[targets < classes], targets[targets < classes]))
    return tensors("fewer", *parts, validation)


def pictures(
    channels: int, size: int, validation: int = 4, augment: Augment | None = None
) -> Dataset:
    """A dozen noise pictures of ten classes, as large as those of a paper."""
    generator = torch.Generator().manual_seed(0)
    shape = (12, channels, size, size)
    made = torch.randint(256, shape, generator=generator).to(torch.uint8), torch.arange(12) % 10
    return tensors("pictures", made, made, validation, augment)


@dataclass
class ToyTurn:
    """What a search looks at (``lth.pruning.turn.Turn``), without a study around it."""

    level: int
    score: Any
    rule: Any
    layers: Any
    dense: Any
    trained: Any = None
    start: Any = None
    steps: int = 40

    def prune(self, scores, mask, counts=None):
        if counts is None:
            return self.rule(scores, mask, self.layers)
        return self.rule.to(scores, mask, self.layers, counts)


class Plain(nn.Module):
    """A plain module with a tied weight and one that is used twice."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.again = nn.Linear(16, 16)
        self.again.weight = self.first.weight
        self.output = nn.Linear(16, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs.flatten(1)).relu()
        return self.output(self.again(hidden).relu())


def small_net(
    input_shape: Sequence[int], classes: int, widths: Sequence[int] = (9, 6)
) -> nn.Module:
    """A few hundred weights, with norm, dropout and widths: every part of a study has its say."""
    size = 1
    for length in input_shape:
        size *= length
    first, second = widths
    return nn.Sequential(
        nn.Flatten(), nn.Linear(size, first), nn.BatchNorm1d(first), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(first, second), nn.ReLU(), nn.Linear(second, classes),
    )  # fmt: skip


class Brittle(nn.Module):
    """A network that gives up in training, after so many updates; ``how`` says in which way."""

    def __init__(self, classes: int = 4, after: int = 10**9, how: str = "error") -> None:
        super().__init__()
        self.layer, self.output = nn.Linear(16, 8), nn.Linear(8, classes)
        self.after, self.how, self.seen = after, how, 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen += self.training
        if self.seen > self.after:
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise FileNotFoundError("the weights of mine\nare gone")
        return self.output(self.layer(inputs.flatten(1)).relu())


def brittle_arm(how: str = "error") -> Callable[..., Ticket]:
    """The ticket of a network that gives up in its third update."""

    def arm(winner: Ticket, generator: torch.Generator) -> Ticket:
        return replace(winner, model={**winner.model, "after": 2, "how": how})

    return arm


def brittle_loss(after: int) -> Callable[[Tensor, Tensor], Tensor]:
    seen: list[int] = []

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        seen.append(1)
        if len(seen) > after:
            raise ZeroDivisionError
        return nn.functional.cross_entropy(logits, targets)

    return loss


def brittle_score() -> Callable[..., Tensor]:
    def score(final: object, **_: object) -> Tensor:
        raise KeyError("1.weight")

    return score


def brittle_data() -> Dataset:
    raise RuntimeError("no picture is there")


SETTINGS: dict[str, Any] = {
    "data": partial(blobs, validation=40), "model": partial(mlp, width=10), "name": "toy",
    "recipe": {"steps": 20, "batch": 20, "lr": 0.02, "eval_every": 5}, "trials": 2, "levels": 2,
    "logger": "none", "trainer": {"workers": 0, "device": "cpu"},
}  # fmt: skip
"""A study of a few hundred weights, trained in a blink; tests write only what they change."""


def setup_of(out: Any, **changes: Any) -> Setup:
    """Build and check the toy study, with these changes."""
    from lth.config import compose
    from lth.study.setup import prepare

    return prepare(compose(**SETTINGS | {"out": out} | changes))


def run_study(out: Any, **changes: Any) -> Study:
    """Run the toy study with these changes, as ``lth.run`` does but for figures and words."""
    from rich.console import Console

    from lth.study.progress import Display
    from lth.study.run import execute, study_of  # which import what workers need not wait for

    setup = setup_of(out, **changes)
    execute(setup, Display(Console(), enabled=False))
    return study_of(setup)


def counts(study: Study) -> tuple[int, int]:
    """How many members a run trained, and how many it found stored."""
    return study.provenance["trained"], study.provenance["reused"]


def commanded(monkeypatch: Any, capsys: Any, *arguments: str) -> tuple[int, str, str]:
    """Run the command in this process; return its exit code, and what it wrote."""
    from lth import cli

    monkeypatch.setattr(sys, "argv", ["lth", *arguments])
    code = 0
    try:
        cli.main()
    except SystemExit as ended:
        code = ended.code
    return code, *capsys.readouterr()


def by_hydra(*overrides: str) -> dict[str, Any]:
    """What the command's configuration is for these overrides, but for the study's name."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from lth.config import conf_folder

    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        found: Any = OmegaConf.to_container(compose("config", list(overrides)), resolve=True)
    found.pop("experiment", None)
    found["arms"] = {n: a for n, a in found["arms"].items() if "_target_" in a}
    return found


class Unchanged:
    """A view that shows weights as they are, and owns nothing."""

    def own(self, name: str, weight: Tensor, mask: Tensor) -> dict[str, Tensor]:
        return {}

    def __call__(
        self, name: str, weight: Tensor, mask: Tensor, own: dict, training: bool
    ) -> Tensor:
        return weight


def unchanged() -> Unchanged:
    return Unchanged()


class Deaf(Listener):
    """A listener that hears nothing but the last note."""

    def level(self, *_: Any) -> None:
        pass

    def step(self, *_: Any) -> None:
        pass

    def measured(self, *_: Any) -> None:
        pass

    def note(self, text: str) -> None:
        self.said = text


def recipe(**changes: Any) -> Recipe:
    """Thirty steps of Adam, measured every ten."""
    usual = {"steps": 30, "batch": 16, "lr": 0.01, "eval_every": 10}
    return Recipe(**usual | {"optimizer": config.load("recipe/optimizer", "adam")} | changes)


def ticket(model: dict = MLP, trial: int = 0, density: float = 0.5, **fields: Any) -> Ticket:
    """A ticket of random weights under a random mask; ``density`` above 1 keeps all."""
    layers, generator = layers_of(model), stream("mask", trial)  # not the weights' own
    mask = {n: torch.rand(s, generator=generator) < density for n, s in layers.shapes.items()}
    params, buffers = draw_state(model, trial)
    return Ticket(**{"model": model, "mask": mask, "params": params, "buffers": buffers} | fields)


def job_of(start: Ticket, trial: int = 0, **fields: Any) -> Job:
    """Describe the training of a ticket, under its key: the one place where tests make a job."""
    usual = {"data": DATA, "recipe": recipe(), "lr": 0.01, "streams": Streams(0, trial, 0)}
    about = {"model": start.model}  # as the front of training has it
    return keyed(Job(**{"ticket": start, "about": about} | usual | fields))


def job(model: dict = MLP, trial: int = 0, density: float = 0.5, **fields: Any) -> Job:
    """Describe the training of ``ticket(model, trial, density)``."""
    return job_of(ticket(model, trial, density), trial, **fields)


def changed(made: Job, **fields: Any) -> Job:
    """Return a job with other fields of its ticket."""
    return keyed(replace(made, ticket=replace(made.ticket, **fields)))


def keyed(made: Job, data: Dataset | None = None) -> Job:
    """Return a job under the key that it has now."""
    return replace(made, key=member_key(made, data or blobs()))


def in_turn(jobs: Sequence[Job], dataset: Dataset) -> SequentialEngine:
    return SequentialEngine(jobs[0], dataset)


def train(
    jobs: Sequence[Job],
    root: Path,
    make: Callable[..., Any] = in_turn,
    data: Dataset | None = None,
    **options: Any,
) -> list[StoredMember]:
    """Train members in this process, one after the other, and read them back."""
    store = Store(root)
    with one_thread():
        work([[j] for j in jobs], data or blobs(), store, make, lambda *_: None, **options)
    return [store.get(j.key) for j in jobs]  # type: ignore[misc]


def train_member(
    start: Ticket | Job, root: Path, *, make: Callable[..., Any] = in_turn, **fields: Any
) -> StoredMember:
    """Train one member in this process; the front of the core for all tests.

    ``fields`` are those of its job (``recipe``, ``lr``, ``snapshots``, ...), and ``stop``.
    """
    options = {n: fields.pop(n) for n in ("stop", "data") if n in fields}
    made = keyed(replace(start, **fields)) if isinstance(start, Job) else job_of(start, **fields)
    return train([made], root, make, precision=made.precision, **options)[0]


def train_stacked(jobs: Sequence[Job], root: Path) -> list[StoredMember]:
    """Train members as a GPU does, stacked, on the CPU."""
    store = Store(root)
    with one_thread():
        run_stacked(jobs, blobs(), store, Options(device="cpu"), Deaf(), device="cpu")
    return [store.get(j.key) for j in jobs]  # type: ignore[misc]


def same_entries(a: StoredMember, b: StoredMember) -> bool:
    """Whether two entries hold the same bits."""
    assert a.measured == b.measured
    assert a.curve == b.curve
    for mine, other in zip((*a.final, *a.start), (*b.final, *b.start), strict=True):
        assert list(mine) == list(other)
        for name in mine:
            assert torch.equal(mine[name], other[name]), name
    return True


def turned(model: nn.Module, order: Sequence[int]) -> nn.Module:
    """A rewrite: the hidden units of ``mlp`` in another order; it computes the same."""
    if sorted(order) != list(range(len(model[1].bias))):
        raise LthError(f"turned: order={list(order)}: all hidden units, each once")
    return model


def _turn(net: Net, model: Spec) -> Net:
    order = torch.tensor(model["order"])
    params, mask = dict(net.params), dict(net.mask)
    for part in (params, mask):
        part["1.weight"] = part["1.weight"][order]
        part["3.weight"] = part["3.weight"][:, order]
    params["1.bias"] = params["1.bias"][order]
    return replace(net, model=model, params=params, mask=mask)


vars(turned).update(carry=_turn, masked=True)


def turn_units(weights: str = "trained", order: Sequence[int] = tuple(range(12))[::-1]) -> Move:
    return rewriting(
        lambda trained, context: {
            "_target_": "tests.toys.turned", "model": trained.net.model, "order": list(order)
        },
        weights,
    )  # fmt: skip


def see_scaled() -> Move:
    """See the weights through trained scales from here on."""
    views: dict[str, Spec] = {"scale": {"_target_": "lth.networks.views.scaled"}}
    return lambda trained, context: replace(trained.now(), views=views)
