"""Networks that people bring: what is pruned of them, what is said, what is refused before work."""

import importlib
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from lth import LthError, config
from lth.networks import masks
from lth.networks.cost import forward_flops, uses
from lth.networks.layers import describe
from lth.networks.ticket import (
    State,
    Ticket,
    draw_model,
    draw_state,
    drawable,
    layers_of,
    load_state,
    memory_key,
    network_of,
    state_of,
)
from lth.pruning.probe import Probe
from lth.pruning.rules import globally
from lth.pruning.score import gradient_magnitude, grasp, snip, synflow
from lth.study.plan import plan
from lth.study.setup import prepare
from lth.train.engine import SequentialEngine, habits_of
from lth.train.job import Job, Streams
from lth.train.optimizer import update
from lth.train.stacked import VmapEngine, make_engine, trains_alone
from tests import toys
from tests.toys import blobs, run_study
from tests.zoo import ZOO

SHAPE = (1, 4, 4)
SETTINGS = toys.SETTINGS | {
    "data": {"_target_": "tests.toys.blobs"}, "trials": 1, "levels": 1, "name": "nets",
    "rewind": "to_init", "arms": ["winning_ticket"],
    "recipe": {"steps": 6, "batch": 20, "eval_every": 3, "lr": 0.02},
}  # fmt: skip


def spec(name, **arguments):
    return {"_target_": f"tests.test_networks.{name}", **arguments}


def made(model, out="out", **more):
    return prepare(config.compose(**SETTINGS | {"model": model, "out": str(out)} | more))


def refused(model, match, out, **more):
    """Refused before any work, in one line."""
    with pytest.raises(LthError, match=match) as caught:
        made(model, out, **more)
    assert "\n" not in str(caught.value) and not out.exists()


class Mlp(nn.Module):
    """The plain network that the others here differ from in one thing."""

    def __init__(self, classes=4, width=8):
        super().__init__()
        self.body, self.head = nn.Linear(16, width), nn.Linear(width, classes)

    def forward(self, x):
        return self.head(self.body(x.flatten(1)).relu())


# Factories that seed themselves, or load weights


def seeded(classes=4):
    torch.manual_seed(0)
    return Mlp(classes)


def loaded(classes=4):
    net = Mlp(classes)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net.body.load_state_dict(nn.Linear(16, 8).state_dict())
    return net


def constant(classes=4):
    net = Mlp(classes)
    for p in net.parameters():
        nn.init.constant_(p, 0.1)
    return net


def frozen_and_loaded(classes=4):
    net = loaded(classes)
    net.body.requires_grad_(False)
    return net


def zero_ending(classes=4):
    net = Mlp(classes)
    nn.init.zeros_(net.head.weight)
    return net


_OWN = torch.Generator().manual_seed(0)


def restless(classes=4):
    net = Mlp(classes)
    with torch.no_grad():
        net.body.weight.normal_(generator=_OWN)
    return net


@pytest.mark.parametrize(
    ("model", "which"),
    [("seeded", "are equal: "), ("loaded", "equal in body.weight: "), ("constant", "are equal: ")],
)
def test_equal_draws_are_reported_once_before_work(model, which, tmp_path):
    with pytest.warns(UserWarning, match=f"{model}: two draws of it .*{which}") as found:
        setup = made(spec(model), tmp_path)
    assert len(found) == 1 and "\n" not in str(found[0].message)
    assert plan(setup).to_train.total() == 2  # the plan warns too: it is prepared alike


@pytest.mark.parametrize("model", ["Mlp", "frozen_and_loaded", "zero_ending"])
def test_draws_that_differ_are_not(model, tmp_path):
    made(spec(model), tmp_path)  # a warning is an error here


def test_a_draw_that_no_seed_reaches_is_refused(tmp_path):
    refused(spec("restless"), "two draws from one seed differ.*body.weight", tmp_path / "out")


def test_draws_by_numpy_are_a_function_of_the_seed_and_leave_its_generator_alone():
    import random

    import numpy as np

    before = random.getstate(), np.random.get_state()[1].tolist()
    a, b, c = (
        draw_state(ZOO["numpy's draws"]["model"], s).params["body.weight"] for s in (1, 1, 2)
    )
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert before == (random.getstate(), np.random.get_state()[1].tolist())


def test_a_forward_pass_that_draws_by_numpy_is_seeded_step_by_step():
    model = ZOO["stochastic depth, numpy's"]["model"]
    assert habits_of(model, blobs()).draws and not habits_of(spec("Mlp"), blobs()).draws
    one, two = (trained(model) for _ in range(2))
    assert same(one.params, two.params)


# Weights behind others


class Behind(nn.Module):
    def __init__(self, classes=4, how="weight_norm"):
        super().__init__()
        self.body, self.head = nn.Linear(16, 8), nn.Linear(8, classes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            WAYS[how](self.body)

    def forward(self, x):
        return self.head(self.body(x.flatten(1)).relu())


class Symmetric(nn.Module):
    def forward(self, w):
        return w + w.flip(1)


WAYS = {
    "weight_norm": parametrizations.weight_norm,
    "old weight_norm": nn.utils.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "old spectral_norm": nn.utils.spectral_norm,
    "orthogonal": lambda m: parametrizations.orthogonal(m),
    "prune": lambda m: nn.utils.prune.l1_unstructured(m, "weight", 0.5),
    "own": lambda m: nn.utils.parametrize.register_parametrization(m, "weight", Symmetric()),
}
THROUGH = {
    "weight_norm": "body.parametrizations.weight.original1",
    "old weight_norm": "body.weight_v",
    "spectral_norm": "body.parametrizations.weight.original",
    "old spectral_norm": "body.weight_orig",
}


@pytest.mark.parametrize("how", THROUGH)
def test_a_weight_is_pruned_through_the_parameter_whose_zeros_are_its_own(how):
    model, name = spec("Behind", how=how), THROUGH[how]
    layers = layers_of(model, SHAPE)
    assert layers.sizes == {name: 128, "head.weight": 32}
    assert forward_flops(model, SHAPE, None) == 2 * 160
    assert forward_flops(model, SHAPE, {name: torch.zeros(8, 16, dtype=torch.bool)}) == 2 * 32


@pytest.mark.parametrize("how", THROUGH)
@pytest.mark.parametrize("dead", ["a row", "the layer"])
def test_what_is_pruned_whole_is_0_and_not_nan(how, dead):
    mask = {THROUGH[how]: torch.rand(8, 16) < 0.6}
    mask[THROUGH[how]][: 1 if dead == "a row" else 8] = False
    model = spec("Behind", how=how)
    engine = engine_of(model, mask)
    engine.advance(0, 5, torch.Tensor.backward)
    network = network_of(model, engine.state(0)).eval()
    inputs = blobs().prepare(blobs().test_inputs)
    with torch.no_grad():
        assert bool(network(inputs).isfinite().all())
    assert not bool(network.body.weight[~mask[THROUGH[how]]].any())
    alive = dead == "a row"
    assert bool(network.body.weight[mask[THROUGH[how]]].any()) == alive


def test_the_norms_of_weights_compute_what_torchs_do():
    for how in THROUGH:
        tame = draw_model(spec("Behind", how=how), 1)
        torch.manual_seed(1)
        plain = Behind(how=how)
        x = torch.randn(3, *SHAPE)
        assert torch.equal(tame.train()(x), plain.train()(x))
        tame(x).sum().backward()
        plain(x).sum().backward()
        for ours, theirs in zip(tame.parameters(), plain.parameters(), strict=True):
            assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("orthogonal", "made by Orthogonal, which does not keep zeros; take it off"),
        ("own", "made by Symmetric, which does not keep zeros; take it off"),
        ("prune", "torch.nn.utils.prune has pruned it already; make that permanent"),
    ],
)
def test_a_weight_without_zeros_of_its_own_is_refused_and_may_be_spared(how, why, tmp_path):
    model = spec("Behind", how=how)
    refused(model, rf"body.weight cannot be pruned: .*{why}.*prune.spare=\[body.weight\]",
            tmp_path / "out")  # fmt: skip
    spared = {"_target_": "lth.pruning.rules.globally", "spare": ["body.weight"]}
    setup = made(model, tmp_path / "out", prune=spared)
    assert setup.parts.layers.total == 160 and setup.notes[0].startswith("prunes 32 of ")
    rates = made(model, tmp_path / "out", prune={"rates": {"body.*": 0}})
    study = run_study(**SETTINGS | {"model": model, "prune": spared}, out=tmp_path / "out")
    assert study.ticket(level=1).density == (128 + 32 - round(0.2 * 32)) / 160
    assert rates.parts.prune.prunable(rates.parts.layers) == ["head.weight"]


# What is pruned, what is left out


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("attention", {"stem": 4, "attend.in_proj": 4, "attend.out_proj": 4, "head": 1}),
        ("attention, wide keys", {"attend.q_proj": 4, "attend.k_proj": 4, "attend.out_proj": 4}),
        ("own attention", {"q": 4, "k": 4, "v": 4, "head": 1}),
        ("encoder", {"encoder.layers.1.self_attn.in_proj": 4, "encoder.layers.1.linear2": 4}),
        ("vit", {"patch": 4, "qkv": 5, "proj": 5, "mlp.3": 5, "head": 1}),
        # three queries look at four rows: a third of the packed weight thrice, the rest four times
        ("queries", {"stem": 4, "look.in_proj": (3 + 2 * 4) / 3, "look.out_proj": 3, "head": 1}),
    ],
)
def test_how_often_an_attentions_weights_are_used(name, times):
    found = uses(ZOO[name]["model"], SHAPE)
    for layer, expected in times.items():
        key = f"{layer}_weight" if layer.endswith("proj") and "." in layer else f"{layer}.weight"
        key = key if key in found else f"{layer}.weight"
        assert found[key] == pytest.approx(expected), layer


@pytest.mark.parametrize(
    ("name", "pruned"),
    [
        ("lstm", {"rnn.weight_ih_l0": 96, "rnn.weight_hh_l0": 144, "head.weight": 24}),
        ("projected lstm", {"rnn.weight_ih_l0": 96, "rnn.weight_hh_l0": 72, "rnn.weight_hr_l0": 18,
                            "head.weight": 12}),
        ("cells", {"first.weight_ih": 80, "first.weight_hh": 100, "second.weight_ih": 75,
                   "second.weight_hh": 75, "head.weight": 20}),
        ("attention", {"stem.weight": 32, "attend.in_proj_weight": 192,
                       "attend.out_proj.weight": 64, "head.weight": 32}),
        ("attention, wide keys", {"stem.weight": 32, "attend.q_proj_weight": 64,
                                  "attend.k_proj_weight": 32, "attend.v_proj_weight": 32,
                                  "attend.out_proj.weight": 64, "head.weight": 32}),
        ("bilinear", {"left.weight": 32, "right.weight": 32, "join.weight": 64}),
        ("text", {"conv.weight": 90, "head.weight": 24}),
        ("tied", {"embedding.weight": 48, "mix.weight": 36}),
        ("frozen", {"head.weight": 32}),
        ("lora", {"head.weight": 32, "down.weight": 32, "up.weight": 16}),
    ],
)  # fmt: skip
def test_these_are_pruned(name, pruned):
    assert dict(layers_of(ZOO[name]["model"]).sizes) == pruned
    assert sorted(uses(ZOO[name]["model"], SHAPE).keys() & pruned.keys()) == sorted(pruned)


def test_both_directions_and_every_layer_of_a_recurrent_module_are():
    model = nn.GRU(3, 4, num_layers=2, bidirectional=True)
    names = {f"weight_{k}_l{i}{way}" for k in ("ih", "hh") for i in (0, 1)
             for way in ("", "_reverse")}  # fmt: skip
    assert set(describe(model).shapes) == names


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("residual", "prunes 340 of 368 parameters (92.4 %); left out: biases, norms and other "
                     "vectors 28 (7.6 %)"),
        ("text", "prunes 114 of 164 parameters (69.5 %); left out: embeddings: embedding.weight "
                 "40 (24.4 %); biases, norms and other vectors 10 (6.1 %); "
                 "prune.include=[embedding.weight] prunes one too"),
        ("frozen", "prunes 32 of 172 parameters (18.6 %); left out: frozen: backbone.1.weight, "
                   "backbone.1.bias 136 (79.1 %); biases, norms and other vectors 4 (2.3 %)"),
        ("parameters", "prunes 64 of 304 parameters (21.1 %); left out: last, many.0, named.w 224 "
                       "(73.7 %); biases, norms and other vectors 16 (5.3 %); "
                       "prune.include=[last] prunes one too"),
        ("tied", "prunes 84 of 90 parameters (93.3 %); left out: biases, norms and other vectors "
                 "6 (6.7 %); embedding.weight is an embedding's too, and pruned with it"),
    ],
)  # fmt: skip
def test_what_is_left_out_is_said_with_its_share(name, line, tmp_path):
    assert made(ZOO[name]["model"], tmp_path).notes[0] == line


def test_it_is_said_once_at_the_start_and_in_the_plan(tmp_path, capsys):
    from rich.console import Console

    from lth.study.actions import plan_study, run_study
    from lth.study.progress import Display

    setup = made(ZOO["lstm"]["model"], tmp_path)
    for action in (run_study, plan_study):
        action(setup, Display(Console()))
        assert capsys.readouterr().out.count("prunes 264 of ") == 1


def test_a_named_parameter_is_pruned_and_counted_everywhere(tmp_path):
    model, names = ZOO["parameters"]["model"], ["many.*", "named.w", "last"]
    changes = {"arms": ["winning_ticket", "random_mask_erk", "dense_child"], "model": model}
    study = run_study(tmp_path, **SETTINGS | changes, prune={"rate": 0.5, "include": names})
    ticket = study.ticket(level=1)
    kept = {n: int(m.sum()) for n, m in ticket.mask.items()}
    # the raw head is the output layer, pruned at half the rate
    assert kept == {"middle.weight": 32, "many.0": 64, "named.w": 32, "last": 24}
    assert ticket.density == 152 / 288 == {r.density for r in study.records if r.level == 1}.pop()
    flops = {r.level: r.value for r in study.records
             if r.metric == "training_flops" and r.arm == "winning_ticket"}  # fmt: skip
    assert flops == {0: 3 * 2 * 288 * 20 * 6, 1: 3 * 2 * 152 * 20 * 6}
    for name, m in ticket.mask.items():
        assert not bool(study.trained(level=1).params[name][~m].any())
    assert study.ticket(level=1, arm="dense_child").density == 1.0


def test_an_include_that_names_nothing_is_refused_with_what_is_left_out(tmp_path):
    refused(ZOO["parameters"]["model"], r"prune.include: .*'woops'; left out are last, many.0",
            tmp_path / "out", prune={"include": ["woops"]})  # fmt: skip
    with pytest.raises(
        LthError, match=r"prune.include=a: name a list, such as prune.include=\[a\]"
    ):
        globally(include="a")


def test_a_named_vector_goes_through_analysis_too(tmp_path):
    from lth.results.analysis.table import Analysis

    changes = {"arms": ["winning_ticket", "random_mask_erk", "edge_popup"],
               "model": ZOO["parameters"]["model"]}  # fmt: skip
    study = run_study(tmp_path, **SETTINGS | changes, prune={"include": ["named.b"], "rate": 0.5})
    assert int(study.ticket(level=1).mask["named.b"].sum()) == 4
    assert all(found.rows for found in Analysis(study))


def test_embeddings_are_pruned_when_asked(tmp_path):
    setup = made(ZOO["text"]["model"], tmp_path, prune={"include": ["embedding.*"]})
    assert setup.parts.layers.sizes == {
        "conv.weight": 90,
        "head.weight": 24,
        "embedding.weight": 40,
    }
    assert setup.notes[0].startswith("prunes 154 of 164")


class AllFrozen(Mlp):
    def __init__(self, classes=4):
        super().__init__(classes)
        self.requires_grad_(False)


class Complex(Mlp):
    def __init__(self, classes=4):
        super().__init__(classes)
        self.phase = nn.Parameter(torch.zeros(8, dtype=torch.complex64))


ONE = Mlp()
TABLE = torch.randn(8, 16)


def one_object(classes=4):
    return ONE


def one_table(classes=4):
    net = Mlp(classes)
    net.body.weight = nn.Parameter(TABLE)
    return net


def scripted(classes=4):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that scripting is old
        return torch.jit.script(Mlp(classes))


@pytest.mark.parametrize(
    ("model", "match"),
    [
        ("one_object", "it gives the same module every time: let it build a new one at each call"),
        ("one_table", "two of its draws share the memory of body.weight: .*clone it"),
        ("scripted", "a RecursiveScriptModule cannot be looked into: give the plain module"),
    ],
)
def test_what_is_not_drawn_anew_or_not_plain_is_refused(model, match, tmp_path):
    refused(spec(model), match, tmp_path / "out")


def test_nothing_that_trains_and_complex_weights_are_refused(tmp_path):
    refused(spec("AllFrozen"), "nothing in it trains", tmp_path / "out")
    refused(spec("Complex"), "phase is complex: weights are real numbers", tmp_path / "out")


# The output layer


class HeadFirst(Mlp):
    def __init__(self, classes=4):
        nn.Module.__init__(self)
        self.head, self.body = nn.Linear(8, classes), nn.Linear(16, 8)


class Logarithm(HeadFirst):
    """What follows the head, its own scale and a norm too, is no layer."""

    def __init__(self, classes=4):
        super().__init__(classes)
        self.scale, self.norm = nn.Parameter(torch.ones(classes)), nn.BatchNorm1d(classes)
        self.aux = nn.Linear(8, 2)

    def forward(self, x):
        return (self.norm(super().forward(x)) * self.scale).log_softmax(1)


@pytest.mark.parametrize("model", ["HeadFirst", "Logarithm"])
def test_the_output_layer_is_the_one_that_gives_the_logits(model, tmp_path):
    setup = made(spec(model), tmp_path)
    assert setup.parts.layers.output == "head.weight" and len(setup.notes) == 1
    assert setup.parts.prune.by_layer(setup.parts.layers)["head.weight"] == 0.1
    assert layers_of(spec(model)).shapes.keys() == setup.parts.layers.shapes.keys()


class Pairs(Mlp):
    def forward(self, x):
        a, b = super().forward(x).unflatten(0, (2, -1))
        return torch.cat([a + b, a - b])


def test_a_model_that_takes_no_single_example_is_refused(tmp_path):
    refused(spec("Pairs"), r"Pairs: its FLOPs .*one example of zeros, shape \[1, 1, 4, 4\]",
            tmp_path / "out")  # fmt: skip


def test_where_it_is_not_one_a_line_says_which_was_taken(tmp_path):
    notes = made(ZOO["two heads"]["model"], tmp_path).notes
    assert notes[1] == (
        "the logits come from one.weight, two.weight: two.weight is taken for the output layer"
    )
    assert not made(ZOO["tied"]["model"], tmp_path).notes[1:]


# Training: outputs, gradients, buffers


class Aux(Mlp):
    def forward(self, x):
        found = super().forward(x)
        return (found, found) if self.training else found


class Wider(Mlp):
    def forward(self, x):
        found = super().forward(x)
        return found.unsqueeze(1) if self.training else found


class Spoiled(Mlp):
    def forward(self, x):
        x = self.body(x.flatten(1)).relu()
        y = x.exp()
        y.add_(1)
        return self.head(y)


class Refuses(Mlp):
    def forward(self, x):
        if self.training:
            raise ValueError("targets are missing")
        return super().forward(x)


class Growing(Mlp):
    def __init__(self, classes=4):
        super().__init__(classes)
        self.register_buffer("cache", None)

    def forward(self, x):
        self.cache = x.mean(0).detach()
        return super().forward(x)


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (
            "Aux",
            r"Aux: two examples give a tuple in training, not \(2, 4\): let it return the logits",
        ),
        ("Wider", r"Wider: two examples give \(2, 1, 4\) in training, not \(2, 4\)"),
        ("Spoiled", "Spoiled: it has no gradient: one of the variables"),
        ("Refuses", "Refuses: it does not take .* in training: targets are missing"),
        ("Growing", "Growing: cache appears, goes or changes its shape in a forward pass"),
    ],
)
def test_what_goes_wrong_in_training_only_is_refused_before_work(model, match, tmp_path):
    refused(spec(model), match, tmp_path / "out")


def engine_of(model, mask=None, **recipe):
    setup = made(model, recipe=SETTINGS["recipe"] | recipe, levels=0)
    names = setup.parts.prune.prunable(setup.parts.layers)
    mask, state = mask or masks.full(setup.parts.layers, names), draw_state(setup.parts.model, 5)
    ticket = Ticket(model=setup.parts.model, mask=mask, **state._asdict())
    job = Job(
        ticket=ticket, data=setup.data, recipe=setup.recipe, lr=0.02, streams=Streams(0, 0, 0)
    )
    return SequentialEngine(job, blobs())


def trained(model, **recipe):
    engine = engine_of(model, **recipe)
    engine.advance(0, 6, torch.Tensor.backward)
    return engine.state(0)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


MOMENTUM = {"_target_": "torch.optim.SGD", "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}


class Late(Mlp):
    """A layer that comes in at the third step, and leaves at the fifth."""

    def __init__(self, classes=4):
        super().__init__(classes)
        self.late, self.steps = nn.Linear(8, 8), 0

    def forward(self, x):
        x = self.body(x.flatten(1)).relu()
        self.steps += self.training
        return self.head(x + self.late(x) if self.steps in (3, 4, 6) else x)


@pytest.mark.parametrize("name", ["experts", "stochastic depth", "unused", "late"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_trains_parameters_without_gradients_as_torch_does(name, nesterov):
    more = {"nesterov": True, "dampening": 0} if nesterov else {}
    model = spec("Late") if name == "late" else ZOO[name]["model"]
    engine = engine_of(model, optimizer=MOMENTUM | more)
    engine.advance(0, 6, torch.Tensor.backward)
    found = engine.state(0).params
    plain = draw_model(engine.job.ticket.model, 5).train()
    settings = {k: v for k, v in (MOMENTUM | more).items() if k != "_target_"}
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.02, fused=False, **settings)
    for step in range(6):
        inputs, targets = engine.batch(0, step)[:2]
        torch.manual_seed(engine.job.streams.of("model", step))
        nn.functional.cross_entropy(plain(inputs), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    for n, p in plain.named_parameters():
        torch.testing.assert_close(found[n], p.detach(), rtol=1e-5, atol=1e-6)


def test_a_step_is_fused_wherever_all_momenta_are_there():
    a, b = (nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer = torch.optim.SGD([a, b], lr=0.1, momentum=0.9, fused=True)
    seen = []
    optimizer.register_step_pre_hook(lambda o, *_: seen.append(o.param_groups[0]["fused"]))
    for with_b in (False, False, True, True, False):
        a.grad, b.grad = torch.ones(3), torch.ones(3) if with_b else None
        update(optimizer)
    assert seen == [True, True, False, True, True]


def test_a_trained_mask_over_branches_trains_too(tmp_path):
    optimizer = {"_target_": "torch.optim.SGD", "momentum": 0.9}
    study = run_study(
        **SETTINGS | {"arms": {"winning_ticket": "winning_ticket", "edge_popup": "edge_popup",
                               "supermask": "supermask", "rigl": {"every": 2}},
                      "recipe": SETTINGS["recipe"] | {"optimizer": optimizer},
                      "model": ZOO["experts"]["model"]},
        out=tmp_path,
    )  # fmt: skip
    assert {p.arm for p in study.members} == {"winning_ticket", "edge_popup", "supermask", "rigl"}


def test_buffers_of_all_kinds_are_exported_as_they_were_trained(tmp_path):
    study = run_study(tmp_path, **SETTINGS | {"model": ZOO["buffers"]["model"]})
    final, start = study.trained(level=1), study.ticket(level=1)
    assert final.buffers["count"] == 6 and bool(final.buffers["average"].any())
    assert torch.equal(state_of(start.module()).buffers["features"], start.buffers["features"])
    own = draw_state(start.model, 0).buffers["features"]
    assert not torch.equal(start.buffers["features"], own)
    network = network_of(start.model, final)
    assert same(dict(network.named_buffers()), final.buffers)


def test_a_model_that_replaces_buffers_trains_alone_on_a_gpu_and_is_not_compiled():
    engine = engine_of(ZOO["buffers"]["model"])
    assert habits_of(engine.job.ticket.model, blobs()).replaces == ("average",)
    assert isinstance(make_engine([engine.job], blobs()), SequentialEngine)
    from dataclasses import replace

    with pytest.raises(LthError, match=r"trainer.compile=eager: .*average"):
        SequentialEngine(replace(engine.job, compile="eager"), blobs())


def test_a_state_that_does_not_fit_is_refused_by_name():
    network, state = draw_model(spec("Mlp"), 0), draw_state(spec("Mlp"), 1)
    cases = {
        "body.weight is only in the model": {"body.bias": state.params["body.bias"]},
        "odd is only in the state": state.params | {"odd": torch.zeros(1)},
        r"head.bias is \(4,\) in the model, \(1,\) in the state":
            state.params | {"head.bias": torch.zeros(1)},
    }  # fmt: skip
    for match, params in cases.items():
        with pytest.raises(LthError, match=match):
            load_state(network, State(params, state.buffers))
    with pytest.raises(
        LthError, match="other buffers than the model has: odd is only in the state"
    ):
        network_of(spec("Mlp"), State(state.params, {"odd": torch.zeros(1)}))


@pytest.mark.parametrize(("name", "part"), [("frozen", "backbone"), ("lora", "base")])
def test_a_frozen_weight_stays_on_both_engines_and_is_not_pruned(name, part):
    engine = engine_of(ZOO[name]["model"], optimizer=MOMENTUM)
    stacked = VmapEngine([engine.job, engine.job], blobs())
    for one in (engine, stacked):
        one.advance(0, 5, torch.Tensor.backward)
        state = one.state(0)
        for n, p in engine.job.ticket.params.items():
            assert torch.equal(state.params[n], p) == n.startswith(part), n
    assert not any(n.startswith(part) for n in engine.job.ticket.mask)


def test_a_model_that_vmap_cannot_run_trains_alone_on_a_gpu():
    assert trains_alone(engine_of(ZOO["experts"]["model"]).job, blobs())
    for name in ("shared", "tied", "unused", "float64"):
        assert not trains_alone(engine_of(ZOO[name]["model"]).job, blobs()), name
    padded = engine_of(ZOO["text"]["model"])  # torch's vmap moves the padding of all but the first
    assert trains_alone(padded.job, blobs())


# Scores


def scored(score, model, buffers=True, examples=8):
    state, layers = draw_state(model, 1), layers_of(model)
    data, generator = blobs(), torch.Generator().manual_seed(0)

    def draw(number, generator):
        return data.prepare(data.train_inputs[:number]), data.train_targets[:number]

    probe = Probe(model, SHAPE, 4, nn.functional.cross_entropy, draw)
    return score(state.params, mask=masks.full(layers, layers.shapes), buffers=state.buffers,
                 probe=probe, generator=generator)  # fmt: skip


@pytest.mark.parametrize("score", [snip, grasp, gradient_magnitude, synflow])
def test_a_weight_that_is_not_used_scores_0(score):
    found = scored(score(), ZOO["unused"]["model"])
    assert not bool(found["unused.weight"].any()) and bool(found["body.weight"].any())
    cut = spec("Mlp")  # the others' scores are those of the network without it
    assert found.keys() - {"unused.weight"} == scored(score(), cut).keys()


@pytest.mark.parametrize("arm", ["rigl", "set", "gradual"])
def test_a_mask_that_changes_over_a_weight_that_is_not_used(arm, tmp_path):
    arms = {"winning_ticket": "winning_ticket", arm: {"every": 2}}
    study = run_study(tmp_path, **SETTINGS | {"arms": arms, "model": ZOO["unused"]["model"]})
    assert study.entry(level=1, arm=arm).diverged is None


class Sdpa(nn.Module):
    def __init__(self, classes=4, fused=True):
        super().__init__()
        self.qkv, self.head, self.fused = nn.Linear(4, 24), nn.Linear(8, classes), fused

    def forward(self, x):
        q, k, v = self.qkv(x.squeeze(1)).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        if self.fused:
            x = nn.functional.scaled_dot_product_attention(q, k, v)
        else:
            x = (q @ k.transpose(2, 3) / 2).softmax(3) @ v
        return self.head(x.transpose(1, 2).flatten(2).mean(1))


def test_grasp_takes_the_attention_that_has_a_second_derivative():
    ours, by_hand = (scored(grasp(), spec("Sdpa", fused=f)) for f in (True, False))
    for name, value in by_hand.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-7)
    assert bool(scored(grasp(), ZOO["lstm"]["model"])["rnn.weight_hh_l0"].any())


class Distances(Mlp):
    """Of which torch knows the first derivative only."""

    def forward(self, x):
        return self.head(torch.cdist(self.body(x.flatten(1)), self.body.weight[:, :8], p=3))


def test_a_model_without_a_second_derivative_is_refused_for_grasp_before_work(tmp_path):
    for search in ("at_init", "one_shot"):
        refused(spec("Distances"), "score.grasp: the model has no second derivative.*snip",
                tmp_path / "out", score="grasp", search=search)  # fmt: skip


class Normed(nn.Sequential):
    def __init__(self, classes=4, norm="batch"):
        norms = {
            "batch": nn.BatchNorm2d(4), "group": nn.GroupNorm(2, 4), "tanh": nn.Tanh(),
            "layer": nn.LayerNorm([4, 4, 4]), "instance": nn.InstanceNorm2d(4),
            "none": nn.Identity(),
        }  # fmt: skip
        super().__init__(
            nn.Conv2d(1, 4, 3, padding=1, bias=False), norms[norm], nn.ReLU(),
            nn.Conv2d(4, 4, 3, bias=False), nn.ReLU(), nn.Flatten(),
            nn.Linear(16, classes, bias=False),
        )  # fmt: skip


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_synflow_is_positive_and_conserved(norm):
    found = scored(synflow(), spec("Normed", norm=norm))
    sums = [float(s.sum()) for s in found.values()]
    assert all(bool((s >= 0).all()) for s in found.values())
    assert sums == pytest.approx([sums[0]] * 3)


@pytest.mark.parametrize(
    ("norm", "kind"),
    [("group", "GroupNorm"), ("layer", "LayerNorm"), ("instance", "InstanceNorm2d")],
)
def test_synflow_refuses_a_norm_that_recentres_by_name_before_work(norm, kind, tmp_path):
    for search in ("at_init", "iterative"):
        refused(spec("Normed", norm=norm), rf"score.synflow: some scores are below 0.*1 \({kind}\)",
                tmp_path / "out", score="synflow", search=search)  # fmt: skip


def test_synflow_says_so_where_what_flows_is_not_kept():
    with pytest.warns(UserWarning, match="score.synflow: the outputs are not linear"):
        scored(synflow(), spec("Normed", norm="tanh"))
    with pytest.warns(
        UserWarning, match=r"score.synflow: nothing flows through q.weight, k.weight"
    ):
        scored(synflow(), ZOO["own attention"]["model"])


@pytest.mark.parametrize("name", ["float64", "bfloat16"])
def test_scores_of_networks_that_mix_types(name):
    for score in (snip, grasp, synflow):
        found = scored(score(), ZOO[name]["model"])
        assert all(bool(s.isfinite().all()) and bool(s.any()) for s in found.values())


class Tokens(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.embedding, self.head = nn.Embedding(8, 4), nn.Linear(64, classes)

    def forward(self, x):
        return self.head(self.embedding(x.flatten(1)).flatten(1))


def test_scores_of_whole_numbers():
    model, x = spec("Tokens"), torch.randint(8, (8, *SHAPE))
    state, layers = draw_state(model, 1), layers_of(model, SHAPE)
    assert uses(model, SHAPE) == {"head.weight": 1} and layers.output == "head.weight"
    probe = Probe(
        model, SHAPE, 4, nn.functional.cross_entropy, lambda n, _: (x, torch.arange(8) % 4)
    )
    given = {"mask": masks.full(layers, layers.shapes), "buffers": {}, "probe": probe,
             "generator": torch.Generator()}  # fmt: skip
    assert bool(snip()(state.params, **given)["head.weight"].any())
    with pytest.raises(LthError, match=r"score.synflow: .* takes whole numbers .*snip"):
        synflow()(state.params, **given)


# Memories inside the process


def test_a_model_defined_anew_in_one_process_is_another(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    code = ("from torch import nn\ndef net(classes=4):\n"
            "    return nn.Sequential(nn.Flatten(), nn.Linear(16, {w}), nn.ReLU(), "
            "nn.Linear({w}, classes))\n")  # fmt: skip
    path, sizes, flops, keys = tmp_path / "redefined.py", [], [], []
    for width in (5, 8):
        path.write_text(code.format(w=width))
        module = importlib.import_module("redefined")
        importlib.reload(module)
        model = {"_target_": "redefined.net", "classes": 4}
        sizes.append(layers_of(model).total)
        flops.append(forward_flops(model, SHAPE, None))
        keys.append(memory_key(model))
        study = run_study(tmp_path / "out", **SETTINGS | {"model": model})
        assert study.ticket(level=1).params["1.weight"].shape == (width, 16)
    assert sizes == [100, 160] and flops == [200, 320] and keys[0] != keys[1]


def test_lazy_modules_are_whole_from_the_first_draw_on(tmp_path):
    model = ZOO["lazy"]["model"]
    whole = drawable(model, SHAPE)
    assert whole["of"] == model and drawable(spec("Mlp"), SHAPE) == spec("Mlp")
    a, b, c = (draw_state(whole, s).params["0.weight"] for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c) and a.shape == (4, 1, 3, 3)
