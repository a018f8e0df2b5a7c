"""Every construct of the zoo, through plan, two levels, arms, analysis, export and back."""

from dataclasses import replace
from itertools import cycle, islice

import pytest
import torch
from rich.console import Console
from safetensors.torch import save
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lth import LthError, config
from lth.imp import dense
from lth.networks import masks
from lth.networks.cost import forward_flops
from lth.networks.parametrized import weights_of
from lth.networks.ticket import Ticket, draw_model, drawable, layers_of, network_of
from lth.networks.trace import plainly
from lth.recipe.adapt import as_loss
from lth.recipe.evaluation import Measures
from lth.recipe.measures import accuracy
from lth.results.analysis.table import Analysis
from lth.results.analysis.tickets import tickets
from lth.spec.build import build
from lth.study.plan import plan
from lth.study.preflight import _scores
from lth.study.progress import Display
from lth.study.run import execute, study_of
from lth.study.setup import prepare
from lth.train.engine import SequentialEngine
from lth.train.evaluate import measure
from lth.train.job import Job, Streams
from lth.train.stacked import VmapEngine, make_engine, trains_alone
from lth.types import WINNER, MemberId
from tests import laws
from tests.toys import blobs
from tests.zoo import ZOO

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported")

DATA = {"_target_": "tests.toys.blobs"}
SHAPE = (1, 4, 4)
NETWORK = pytest.mark.parametrize("name", ZOO)

EVERY = {n: {"every": 2} for n in ("rigl", "set", "gradual")} | {
    "rigl_longer": {"times": 2, "of": {"_target_": "lth.arms.rigl", "every": 4}}
}
ARMS = [a for a in config.choices("arms") if a != WINNER and not a.startswith("small_dense")]
OPTIMIZERS = (
    {"_target_": "torch.optim.SGD", "momentum": 0.9, "weight_decay": 0.01},
    {"_target_": "torch.optim.Adam"},
)


def settings_of(name, out, arms, **more):
    made, at = ZOO[name], list(ZOO).index(name)
    prune = {"rate": 0.4} | ({"include": made["include"]} if "include" in made else {})
    return {
        "model": made["model"], "data": DATA, "trials": 1, "levels": 2, "name": "zoo",
        "rewind": {"step": at % 2 * 2}, "out": str(out), "logger": "none",
        "prune": {**prune, **more.pop("prune", {})}, "arms": arms,
        "recipe": {"steps": 6, "batch": 20, "eval_every": 3, "lr": 0.02,
                   "optimizer": OPTIMIZERS[at // 2 % 2]},
        "trainer": {"workers": 0, "device": "cpu"}, **more,
    }  # fmt: skip


def arms_of(name, count):
    """Arms by turns, so that the zoo goes through all of them many times."""
    first = list(ZOO).index(name) * count % len(ARMS)
    found = {a: EVERY.get(a, a) for a in islice(cycle(ARMS), first, first + count)}
    return {WINNER: WINNER} | found


def go_through(name, out, arms, **more):
    setup = prepare(config.compose(**settings_of(name, out, arms, **more)))
    expected = plan(setup).to_train.total()
    execute(setup, Display(Console(), enabled=False))
    study = study_of(setup)
    assert len(study.members) == expected >= 1 + 2 * len(arms)
    assert plan(setup).stored.total() == expected
    for place in study.members:
        check_member(study, place, out)
    analysis = Analysis(study, setup.dataset)
    assert all(found.rows for found in analysis) and tickets(analysis) is not None
    return study


def check_member(study, place, out):
    entry = study.entry(**place._asdict())
    assert entry.diverged is None
    assert zeros(entry.start, entry.mask, entry.frozen) and zeros(
        entry.final, entry.final_mask, entry.frozen
    )
    data = blobs()
    network = network_of(entry.about["model"], entry.final).eval()
    measures = Measures(as_loss(build(study.config["recipe"]["loss"])), {"accuracy": accuracy()})
    values = measure(network, measures, data, (data.test_inputs, data.test_targets))
    last = entry.about["step"] + entry.about["steps"]
    rows = {r.metric: r.value for r in study.records
            if same(r, place) and r.split == "test" and r.step == last}  # fmt: skip
    assert values == {name: rows[name] for name in ("loss", "accuracy")}
    for effective, mask in effective_weights(network, entry.final_mask):
        if not entry.frozen:
            assert not bool(effective[~mask].any())
    ticket = study.ticket(**place._asdict())
    ticket.save(out / "ticket.safetensors")
    back = Ticket.load(out / "ticket.safetensors", trust=["tests"])
    inputs = data.prepare(data.test_inputs[:8])
    with torch.no_grad():
        ours, theirs = (network_of(t.model, t.start).eval()(inputs) for t in (ticket, back))
    assert torch.equal(ours, theirs) and back.density == ticket.density
    assert ticket.density == pytest.approx(masks.density(ticket.mask, layers_of(ticket.model)))


def same(record, place):
    return MemberId(record.trial, record.lr, record.arm, record.level, record.copy) == place


def zeros(state, mask, frozen):
    return all(
        torch.equal(state.params[n][~m], frozen[n][~m] if n in frozen else state.params[n][~m] * 0)
        for n, m in mask.items()
    )


def effective_weights(network, mask):
    """Yield what the forward pass sees of every masked weight."""
    names = {id(p): n for n, p in network.named_parameters()}
    for module in network.modules():
        for weight in weights_of(module):
            where, _, own = (weight.through or "").rpartition(".")
            parameter = module.get_submodule(where)._parameters[own] if own else None
            if names.get(id(parameter)) in mask:
                yield getattr(module, weight.name), mask[names[id(parameter)]]


@NETWORK
def test_it_goes_all_the_way(name, tmp_path):
    study = go_through(name, tmp_path, arms_of(name, 4))
    if "output" in ZOO[name]:
        prune = ZOO[name].get("include", ())
        assert layers_of(study.entry().about["model"], SHAPE, prune).output == ZOO[name]["output"]


@pytest.mark.slow
@NETWORK
def test_it_goes_all_the_way_in_every_arm(name, tmp_path):
    go_through(name, tmp_path, arms_of(name, len(ARMS)))


@NETWORK
def test_its_dense_flops_are_torchs(name):
    if not ZOO[name].get("flops"):
        pytest.skip("torch's counter counts the attention's own products too")
    spec = drawable(ZOO[name]["model"], SHAPE)
    model = draw_model(spec, 0).eval()
    with plainly(), FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, *SHAPE))
    assert forward_flops(spec, SHAPE, None) == counter.get_total_flops() > 0


SCORES = ("snip", "grasp", "gradient_magnitude", "synflow")


@pytest.mark.filterwarnings("ignore:score.synflow")
@NETWORK
def test_gradient_scores_are_numbers_of_every_weight_or_refused_by_name(name, tmp_path):
    setup = prepare(config.compose(**settings_of(name, tmp_path, [WINNER], levels=0)))
    parts, line = setup.parts, setup.parts.lines[0]
    ticket = dense(parts, line)
    for score in SCORES:
        made = replace(parts, score=build(config.load("score", score)))
        try:
            found = _scores(made, line, ticket)
        except LthError as error:
            assert score == "synflow" and "below 0" in str(error)
            continue
        assert all(bool(found[n].isfinite().all()) for n in ticket.mask)
        assert {n: f.shape for n, f in found.items()} == {
            n: m.shape for n, m in ticket.mask.items()
        }


FAST = ("lstm", "attention", "unused", "frozen", "experts", "buffers", "weight norm", "encoder")


@pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in ZOO]
)
def test_stacked_members_train_as_those_alone_do(name, tmp_path):
    setup = prepare(config.compose(**settings_of(name, tmp_path, [WINNER], levels=0)))
    generator = torch.Generator().manual_seed(0)
    jobs = []
    # Adam would make a step of what is rounded: a bias before BatchNorm has no gradient
    recipe = replace(setup.recipe, optimizer=OPTIMIZERS[0])
    for trial in range(2):
        ticket = dense(setup.parts, setup.parts.lines[0]._replace(trial=trial))
        mask = {n: torch.rand(m.shape, generator=generator) < 0.6 for n, m in ticket.mask.items()}
        ticket = replace(ticket, mask=mask)
        jobs.append(Job(
            ticket=ticket, data=setup.data, recipe=recipe, lr=0.02, streams=Streams(0, trial, 0)
        ))  # fmt: skip
    if trains_alone(jobs[0], blobs()):
        assert isinstance(make_engine(jobs[:1], blobs()), SequentialEngine)
        return
    together = VmapEngine(jobs, blobs())
    together.advance(0, 5, torch.Tensor.backward)
    for member, job in enumerate(jobs):
        alone = SequentialEngine(job, blobs())
        alone.advance(0, 5, torch.Tensor.backward)
        for ours, theirs in zip(together.state(member), alone.state(0), strict=True):
            for n, t in theirs.items():
                fine = t.dtype != torch.bfloat16
                torch.testing.assert_close(
                    ours[n], t, rtol=2e-3 if fine else 0.1, atol=2e-5 if fine else 1e-2
                )


class Counting(nn.Module):
    """What it computes depends on how often it has trained, which no buffer holds."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.head, self.count = nn.Linear(16, classes), 0

    def forward(self, inputs):
        self.count += self.training
        return self.head(inputs.flatten(1)) * (1 + self.count / 10)


class Clipping(nn.Module):
    """It writes to its weights in the forward pass."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.head = nn.Linear(16, classes)

    def forward(self, inputs):
        self.head.weight.data.clamp_(min=0.01)
        return self.head(inputs.flatten(1))


class Logging(Clipping):
    """It keeps what it has seen, which changes nothing."""

    def forward(self, inputs):
        self.seen = inputs.mean()
        return self.head(inputs.flatten(1))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Counting, "changes attributes that its outputs depend on"),
        (Clipping, "its forward pass writes to head.weight, so that pruned weights come back"),
    ],
)
def test_a_network_that_would_not_be_what_it_says_is_refused_before_work(model, words, tmp_path):
    settings = laws.SETTINGS | {"model": model, "out": str(tmp_path), "arms": [WINNER]}
    with pytest.raises(LthError, match=words):
        prepare(config.compose(**settings))
    assert prepare(config.compose(**settings | {"model": Logging}))


@pytest.mark.parametrize("length", [640, 19280, 66176])
def test_a_file_of_ours_is_never_taken_for_another(length, tmp_path):
    from lth.files import Damaged, header

    empty = len(save({"x": torch.zeros(1)}, metadata={"m": ""})) - 4 - 8
    content = save({"x": torch.zeros(1)}, metadata={"m": "y" * (length - empty)})
    assert int.from_bytes(content[:8], "little") == length
    assert header(content)[1]["m"][0] == "y"
    torch.save({"x": torch.zeros(1)}, tmp_path / "x.pt")
    with pytest.raises(Damaged, match=r"torch\.save's"):
        header((tmp_path / "x.pt").read_bytes())
