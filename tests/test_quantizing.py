"""Quantization: grids by layer, fitted to it; the move, mixed precision, and rounded inputs."""

import warnings
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn

from lth import LthError, moves
from lth.moves.sensitivity import fewest
from lth.networks.net import Net
from lth.networks.rewrites import quantized_inputs
from lth.networks.rewrites.carry import carried
from lth.networks.ticket import draw_model, draw_state, layers_of
from lth.networks.views import rounded
from lth.networks.views.rounding import fitted
from lth.store.restore import net_of
from tests.toys import MLP, NORM, blobs, changed, job, norm_net, run_study, setup_of, ticket

ONES = torch.ones_like


def weights(shape=(6, 40), seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def own_of(view, w):
    return view.own("fc.weight", w, ONES(w))


def see(view, w):
    return view("fc.weight", w, ONES(w), own_of(view, w), True)


# -- the grid


@pytest.mark.parametrize("step", ["greatest", "trained", "fitted"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8, 16])
def test_at_most_two_to_the_bits_less_one_levels_per_channel_and_zero_stays(bits, step):
    w = torch.cat([weights(), torch.zeros(6, 3)], 1)
    seen = see(rounded(bits, step), w)
    assert bool((seen[:, -3:] == 0).all())
    assert all(len(row.unique()) <= 2**bits - 1 for row in seen)
    assert bool((see(rounded(bits, step), torch.zeros(2, 3)) == 0).all())


def test_eight_bits_are_within_half_a_step():
    w = weights()
    step = w.abs().amax(1, keepdim=True) / 127
    assert bool(((see(rounded(8), w) - w).abs() <= step / 2 * (1 + 1e-5)).all())


def test_the_gradient_is_one_on_the_grid_and_none_where_it_ends():
    w = torch.tensor([[0.2, -0.3, 0.25, 9.0, -9.0, 0.0]]).requires_grad_()
    view = rounded(3, "fitted", start="fitted")
    own = {"step": torch.full((1, 1), 0.1)}
    seen = view("fc.weight", w, ONES(w), own, True)
    torch.testing.assert_close(seen, torch.tensor([[0.2, -0.3, 0.2, 0.3, -0.3, 0.0]]))
    seen.sum().backward()
    assert w.grad.tolist() == [[1.0, 1.0, 1.0, 0.0, 0.0, 1.0]]


@pytest.mark.parametrize("per", ["channel", "layer"])
@pytest.mark.parametrize("bits", range(2, 9))
def test_a_grid_of_the_greatest_weight_clips_no_gradient_also_not_its_own(bits, per):
    w = torch.randn(64, 9, generator=torch.Generator().manual_seed(bits)).requires_grad_()
    rounded(bits, per=per)("fc.weight", w, ONES(w), {}, True).sum().backward()
    assert torch.equal(w.grad, ONES(w))  # w / (max / Q) exceeds Q by a rounding in some channels


@pytest.mark.parametrize("levels", [1, 3, 7])
def test_a_fitted_step_errs_less_than_any_of_a_fine_row_of_steps(levels):
    w = weights((3, 200))

    def error(step):
        return ((w - step * (w / step).clamp(-levels, levels).round()) ** 2).sum(1)

    greatest = w.abs().amax(1, keepdim=True) / levels
    every = torch.stack([error(f * greatest) for f in torch.linspace(0.05, 1, 800)])
    assert bool((error(fitted(w, levels)) <= every.min(0).values * 1.01).all())


def test_a_fitted_step_by_hand():
    w = torch.tensor([[1.0, 1.0, 1.0, -1.0, 3.0]])  # of -1, 0, 1: 4 and 3 are worth a step of 7/5
    assert fitted(w, 1).item() == pytest.approx(7 / 5)
    assert own_of(rounded(2, "fitted"), w)["step"].item() == pytest.approx(7 / 5)
    start = own_of(rounded(2, "trained", start="fitted"), w)["step"]
    assert start.item() == pytest.approx(7 / 5) and isinstance(start, nn.Parameter)
    assert own_of(rounded(2, "trained"), w)["step"].item() == 3


@pytest.mark.parametrize("step", ["greatest", "trained", "fitted"])
def test_one_grid_for_a_layer(step):
    w = torch.tensor([[0.1, 0.2, 0.3], [3.0, -3.0, 1.0]])
    seen = see(rounded(3, step, per="layer"), w)
    assert len(seen.unique()) <= 7
    if step == "greatest":
        assert seen.tolist() == [[0.0, 0.0, 0.0], [3.0, -3.0, 1.0]]
    else:
        assert own_of(rounded(3, step, per="layer"), w)["step"].shape == (1, 1)
    assert fitted(
        torch.tensor([[1.0, 1.0, 1.0], [-1.0, 3.0, 0.0]]), 1, "layer"
    ).item() == pytest.approx(1.4)


@pytest.mark.parametrize("per", ["channel", "layer"])
@pytest.mark.parametrize("step", ["greatest", "trained", "fitted"])
def test_symbols_are_what_is_seen(step, per):
    spec = {"_target_": "lth.networks.views.rounded", "bits": 3, "step": step, "start": "fitted",
            "per": per}  # fmt: skip
    t = ticket(views={"grid": spec})
    views, baked = t.built_views(), t.baked().params
    for name, mask in t.mask.items():
        own = {n.rpartition("/")[2]: v for n, v in views.own.items() if n.startswith(name)}
        found = views.views[0].symbols(name, t.params[name] * mask, mask.float(), own)
        assert found.values is None and found.ids.abs().max() <= 3
        assert torch.equal(found.steps * found.ids, baked[name])
        assert bool((found.ids[~mask] == 0).all())


def test_layers_have_bits_of_their_own_and_others_are_left_alone():
    w, conv = weights(), weights((4, 3, 2, 2))
    view = rounded({"fc.weight": 2, "conv*": 4, "out": 32})
    assert view.levels("fc.weight") == 1 and view.levels("conv.weight") == 7
    assert view.own("x", w, ONES(w)) is None and view.own("out", w, ONES(w)) is None
    assert rounded(2, kinds=["conv"]).own("a", w, ONES(w)) is None
    assert rounded(2, kinds="conv").own("a", conv, ONES(conv)) == {}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: rounded(bits={"fc": 1}), r"bits\.fc=1: a whole number in 2\.\.16"),
        (lambda: rounded(start="least"), "start=least: it is one of greatest, fitted"),
        (lambda: rounded(per="row"), "per=row: it is one of channel, layer"),
        (lambda: moves.quantize(bits=1), "rounded: bits=1"),
        (lambda: moves.quantize(step="x"), "step=x: it is one of"),
        (lambda: moves.quantize(bits=17), "bits=17"),
        (lambda: moves.quantize(inputs=1), "quantize_inputs: bits=1: a whole number in 2..16"),
        (lambda: moves.quantize(steps=1.5), "quantize: steps=1.5"),
        (lambda: moves.quantize_inputs(examples=0), "examples=0"),
        (lambda: moves.quantize(bits=moves.by_sensitivity([1, 4], 2)), "rounded: bits=1"),
        (lambda: moves.by_sensitivity([4]), "two numbers of bits or more"),
        (lambda: moves.by_sensitivity([2, 4], budget=1.5), "budget=1.5: .* from 2, the fewest"),
        (lambda: moves.by_sensitivity(number=0), "number=0: examples"),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(LthError, match=words):
        make()


@pytest.mark.parametrize(
    ("move", "words"),
    [
        (partial(moves.quantize, layers=["4.weight"]), r"no weight is named '4\.weight'; did you"),
        (partial(moves.quantize, bits={"one": 2}), "moves.quantize: no weight is named 'one'"),
        (partial(moves.quantize, kinds=["conv"]), "no layer is both named and of the kinds conv"),
        (partial(moves.quantize_inputs, layers=["x"]), "quantize_inputs: no weight is named 'x'"),
    ],
)
def test_a_layer_that_there_is_not_is_refused_before_work(move, words, tmp_path):
    with pytest.raises(LthError, match=words) as caught:
        setup_of(tmp_path, method={"m": {"moves": [move, moves.measure]}})
    assert "\n" not in str(caught.value) and not (tmp_path / "store").exists()


# -- mixed precision


TABLE = {
    "a": {2: 9.0, 4: 1.2, 8: 1.0},
    "b": {2: 1.3, 4: 1.1, 8: 1.0},
    "c": {2: 5.0, 4: 4.0, 8: 1.0},
}
SIZES = {"a": 100, "b": 100, "c": 10}


@pytest.mark.parametrize(
    ("budget", "bits"),
    [
        (8, {"a": 8, "b": 8, "c": 8}),
        (7, {"a": 8, "b": 4, "c": 8}),  # b: 0.1 for 400 bits, a: 0.2, c: 3.0 for 40
        (6, {"a": 4, "b": 4, "c": 8}),
        (4, {"a": 4, "b": 2, "c": 8}),
        (2, {"a": 2, "b": 2, "c": 2}),
    ],
)
def test_bits_are_given_up_where_the_loss_rises_least(budget, bits):
    assert fewest(TABLE, SIZES, budget) == bits


def test_a_smaller_budget_gives_no_layer_more_bits():
    found = [fewest(TABLE, SIZES, b) for b in (8, 7.5, 7, 6, 5, 4, 3, 2.5, 2)]
    for more, less in pairwise(found):
        assert all(less[n] <= more[n] for n in less)
    for budget, bits in zip((8, 7.5, 7, 6, 5, 4, 3, 2.5, 2), found, strict=True):
        assert sum(bits[n] * SIZES[n] for n in bits) <= budget * sum(SIZES.values())


# -- the move


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out, few = tmp_path_factory.mktemp("grids"), partial(moves.quantize, steps=6, lr=0.01)
    after = partial(moves.quantize, steps=0)
    mixed = partial(moves.by_sensitivity, candidates=[2, 4, 8], budget=4, number=20)
    return run_study(out, trials=1, levels=[2], method={
        "aware": {"moves": [partial(few, bits=3, step="trained", start="fitted")]},
        "after": {"moves": [partial(after, bits=2, step="fitted"), moves.measure]},
        "whole": {"moves": [partial(after, bits=32, inputs=32), moves.measure]},
        "mixed": {"moves": [partial(after, bits=mixed), moves.measure]},
        "both": {"moves": [partial(after, bits=4, layers=["1"]),
                           partial(moves.cluster, bits=2, layers=["output"], steps=4)]},
        "inputs": {"moves": [partial(after, bits=8, inputs=4), moves.measure]},
        "shared": {"moves": [partial(moves.cluster, bits=mixed, steps=0), moves.measure]},
    })  # fmt: skip


def baked(study, arm):
    entry = study.entry(arm=arm, level=2)
    return net_of(entry).baked().params, entry


@pytest.mark.parametrize(("arm", "bits"), [("aware", 3), ("after", 2)])
def test_the_mask_survives_and_levels_are_few(arm, bits, study):
    params, entry = baked(study, arm)
    mask = study.entry(level=2).mask
    for name, m in mask.items():
        assert torch.equal(entry.mask[name], m) and bool((params[name][~m] == 0).all())
        assert all(len(row.unique()) <= 2**bits - 1 for row in params[name])
    trained = not torch.equal(entry.final.params["1.bias"], entry.start.params["1.bias"])
    assert trained == (arm == "aware")
    assert entry.about["steps"] == (6 if trained else 0)


def test_thirty_two_bits_change_nothing(study):
    params, entry = baked(study, "whole")
    assert all(torch.equal(p, study.entry(level=2).final.params[n]) for n, p in params.items())
    rows = {(r.arm, r.split, r.metric): r.value for r in study.records
            if r.level == 2 and r.step == entry.about["step"]}  # fmt: skip
    for split in ("validation", "test"):
        assert rows["whole", split, "accuracy"] == rows["winning_ticket", split, "accuracy"]


@pytest.mark.parametrize(("arm", "view", "number"), [("mixed", "quantize", "bits"),
                                                     ("shared", "cluster", "k")])  # fmt: skip
def test_mixed_precision_keeps_its_budget_and_tells_what_it_saw(arm, view, number, study):
    ticket = study.ticket(arm=arm, level=2)
    told, kept = ticket.origin, {n: int(m.sum()) for n, m in ticket.mask.items()}
    bits = told["bits"]
    assert sum(bits[n] * kept[n] for n in kept) <= 4 * sum(kept.values())
    numbers = ticket.views[view][number]
    assert numbers == (bits if number == "bits" else {n: 2**b for n, b in bits.items()})
    table = told["sensitivity"]
    assert set(table) == {"whole", *kept} and set(table["1.weight"]) == {"2", "4", "8"}
    assert bits == fewest(
        {n: {int(b): v for b, v in table[n].items()} for n in kept}, kept, 4
    )  # fmt: skip
    assert study.ticket(level=2).origin.get("bits") is None


def test_some_layers_on_a_grid_and_others_clustered(study):
    first = study.ticket(arm="both", level=2)
    assert first.views["quantize"]["bits"] == {"1.weight": 4}
    assert first.views["cluster"]["k"] == {"3.weight": 4}
    params, entry = baked(study, "both")
    assert all(len(row.unique()) <= 15 for row in params["1.weight"])
    assert len(params["3.weight"][entry.mask["3.weight"]].unique()) <= 4


def test_the_inputs_of_layers_are_rounded(study):
    network, data = study.network(arm="inputs", level=2), blobs(40)
    seen = []
    for path in ("1", "3"):
        layer = network.get_submodule(path)
        plain = layer.forward
        layer.forward = lambda x, plain=plain: (seen.append(x), plain(x))[1]
    network(data.prepare(data.test_inputs))
    assert all(len(x.unique()) <= 16 for x in seen) and bool((seen[1] == 0).any())
    entry = study.entry(arm="inputs", level=2)
    assert entry.about["model"]["_target_"] == "lth.networks.rewrites.quantized_inputs"
    assert {"1.input_low", "1.input_high", "3.input_high"} <= set(entry.final.buffers)
    assert entry.final.buffers["3.input_low"] == 0  # behind a ReLU


def test_quantizing_twice_is_of_what_was_seen_and_views_are_one():
    from lth.moves.seen import seen

    class Now:
        def __init__(self, ticket):
            self.ticket = ticket

        def now(self):
            return self.ticket

    target, more = "lth.networks.views.rounded", {"step": "greatest"}
    base = ticket()
    once = seen(Now(base), "quantize", target, {"1.weight": 3, "3.weight": 3}, **more)
    again = seen(Now(once), "quantize", target, {"1.weight": 2}, **more)
    assert {n: s["bits"] for n, s in again.views.items()} == {
        "quantize": {"3.weight": 3}, "quantize2": {"1.weight": 2}}  # fmt: skip
    mask = base.mask["1.weight"]
    assert torch.equal(again.params["1.weight"][mask], once.baked().params["1.weight"][mask])
    assert torch.equal(again.baked().params["3.weight"], once.baked().params["3.weight"])
    odd = ticket(views={"scale": {"_target_": "lth.networks.views.scaled"}, **once.views})
    with pytest.raises(LthError, match="seen through scale, quantize already"):
        seen(Now(odd), "quantize", target, {"1.weight": 2}, **more)


def test_a_viewed_member_is_known_by_what_its_mask_names():
    """A layer that no mask names is seen by no view: the same views, another network."""
    spec = {"_target_": "lth.networks.views.rounded", "bits": 2}
    whole = changed(job(density=1.1), views={"grid": spec})
    mask = {n: m for n, m in whole.ticket.mask.items() if n != "3.weight"}
    assert changed(whole, mask=mask).key != whole.key
    assert changed(whole, mask=mask, views={}).key == changed(whole, views={}).key


def test_a_convolutional_network_on_a_grid_by_kind(tmp_path):
    few = partial(moves.quantize, bits=2, kinds=["conv"], steps=4, lr=0.01, step="trained")
    made = run_study(tmp_path, trials=1, levels=[1], model=norm_net, arms=["winning_ticket"],
                     method={"m": {"moves": [few]}})  # fmt: skip
    params, _ = baked_at(made, "m", 1)
    assert all(len(c.unique()) <= 3 for c in params["0.weight"])
    assert any(len(c.unique()) > 3 for c in params["5.weight"])


def baked_at(study, arm, level):
    entry = study.entry(arm=arm, level=level)
    return net_of(entry).baked().params, entry


# -- inputs


class Odd(nn.Module):
    """Weights that are tied, made of others, or taken by the forward pass itself."""

    def __init__(self, aside: bool = True):
        super().__init__()
        self.a = nn.utils.parametrizations.weight_norm(nn.Linear(16, 8))
        self.b, self.c, self.d = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)
        self.c.weight = self.b.weight
        self.aside, self.unused = nn.Linear(8, 8) if aside else None, nn.Linear(3, 3)

    def forward(self, x):
        x = self.b(input=self.a(x.flatten(1)).relu()).relu()
        x = x if self.aside is None else nn.functional.linear(x, self.aside.weight).relu()
        return self.d(self.c(x).relu())


class Whole(nn.Module):
    """No layer of it is called as one: attention, and a weight by itself."""

    def __init__(self):
        super().__init__()
        self.mix, self.fc = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 4)

    def forward(self, x):
        x = x.flatten(1, 2)
        return nn.functional.linear(self.mix(x, x, x)[0].mean(1), self.fc.weight)


ASIDE = "the forward pass holds its weight by another way than the layer"
ONE = {"trials": 1, "levels": 1, "arms": ["winning_ticket"]}


def rounding(*first, **said):
    few = {"bits": 4, "examples": 20} | said
    listed = [*first, partial(moves.quantize_inputs, **few), moves.measure]
    return {"m": {"at": "dense", "repeat": 1, "moves": listed}}


@pytest.mark.parametrize("aside", [True, False])
def test_inputs_of_tied_weights_and_of_made_ones_are_rounded_and_others_named(aside, tmp_path):
    model = {"_target_": "tests.test_quantizing.Odd", "aside": aside}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        made = run_study(tmp_path, **ONE, model=model, method=rounding())
    told = [str(w.message) for w in told if "quantize_inputs" in str(w.message)]
    assert told == [f"quantize_inputs: aside is left as it is: {ASIDE}"] * aside
    network, data = made.network(arm="m", level=1), blobs(40)
    seen = {}
    for path in "abcd":
        layer = network.get_submodule(path)
        layer.forward = lambda input, n=path, run=layer.forward: (
            seen.update({n: input}),
            run(input),
        )[1]
    network(data.prepare(data.test_inputs))
    assert seen.keys() == {*"abcd"} and all(len(x.unique()) <= 16 for x in seen.values())


@pytest.mark.parametrize(
    ("model", "layers", "words"),
    [
        ("Odd", ["b", "aside"], f"aside: {ASIDE}: call the layer, or leave it out of layers"),
        ("Whole", ["mix.*"], "mix: only what goes into Linear and Conv layers is rounded: leave"),
        ("Whole", None, f"no layer whose inputs can be rounded: .*fc: {ASIDE}"),
    ],
)
def test_a_layer_whose_inputs_cannot_be_rounded_is_refused(model, layers, words, tmp_path):
    spec = {"_target_": f"tests.test_quantizing.{model}"}
    with pytest.raises(LthError, match=words) as caught:
        setup_of(tmp_path, model=spec, method=rounding(layers=layers))
    assert "\n" not in str(caught.value)
    setup_of(tmp_path, model=spec, method=rounding(layers=layers, bits=32))  # rounds nothing


def test_inputs_of_classifiers_behind_exits_are_rounded(tmp_path):
    exits = [moves.attach_exits, partial(moves.train, steps=2)]
    made = run_study(tmp_path, **ONE, method=rounding(*exits))
    ranges = made.entry(arm="m", level=1, phase=2).about["model"]["ranges"]
    assert set(ranges) == {"heads.0.output", "model.1", "model.3"}


RANGES = {"1": [0.0, 3.0], "3": [-0.5, 1.0]}


def form(bits=4, model=MLP, ranges=RANGES):
    target = "lth.networks.rewrites.quantized_inputs"
    return {"_target_": target, "model": model, "ranges": ranges, "bits": bits}


def net_for(model):
    mask = {n: torch.ones(s).bool() for n, s in layers_of(model).shapes.items()}
    return Net(model=model, mask=mask, **draw_state(model, 0)._asdict())


@pytest.mark.parametrize("model", [MLP, NORM], ids=["mlp", "norm"])
def test_it_is_exact_at_thirty_two_bits_and_close_at_sixteen(model):
    ranges = {n.rpartition(".")[0]: [-9.0, 9.0] for n in layers_of(model).shapes}
    net, inputs = net_for(model), torch.randn(8, 1, 4, 4)
    plain = net.module().eval()(inputs)
    whole = carried(net, form(32, model, ranges))
    assert torch.equal(whole.module().eval()(inputs), plain)
    assert whole.buffers.keys() == net.buffers.keys()
    fine = carried(net, form(16, model, ranges)).module().eval()(inputs)
    torch.testing.assert_close(fine, plain, atol=2e-3, rtol=0)
    coarse = carried(net, form(2, model, ranges)).module().eval()(inputs)
    assert not torch.allclose(coarse, plain, atol=2e-3)


def test_inputs_on_a_grid_by_hand_and_their_gradient():
    layer = quantized_inputs(nn.Linear(5, 1, bias=False), {"": [-0.5, 1.0]}, bits=2)
    nn.init.ones_(layer.weight)
    seen = []
    layer.register_forward_pre_hook(lambda m, a: seen.append(a[0]))
    x = torch.tensor([[0.0, 0.3, 0.8, 7.0, -7.0]]).requires_grad_()
    layer(x).backward()
    assert seen[0].tolist() == [[0.0, 0.5, 1.0, 1.0, -0.5]]
    assert x.grad.tolist() == [[1.0, 1.0, 1.0, 0.0, 0.0]]


def test_an_input_given_by_name_is_rounded_too():
    by_place, by_name = (nn.Conv2d(1, 2, 3) for _ in range(2))
    by_name.load_state_dict(by_place.state_dict())
    for layer in (by_place, by_name):
        quantized_inputs(layer, {"": [-1.0, 1.0]}, bits=2)
    x = torch.randn(2, 1, 5, 5)
    assert torch.equal(by_name(input=x), by_place(x))


def test_a_layer_that_has_seen_nothing_is_left_alone_and_no_layer_is_rounded_twice():
    layer = quantized_inputs(nn.Linear(3, 2), {"": [0.0, 0.0]}, bits=2)
    x = torch.randn(4, 3)
    assert torch.equal(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
    with pytest.raises(LthError, match="the inputs of 1 are rounded already"):
        draw_model(form(model=form()), 0)
    with pytest.raises(LthError, match="no layer is named 'fc'"):
        draw_model(form(ranges={"fc": [0, 1]}), 0)


def test_rounded_inputs_stack():
    from torch.func import functional_call, stack_module_state, vmap

    nets = [draw_model(form(), seed).eval() for seed in range(3)]
    params, buffers = stack_module_state(nets)
    inputs = torch.randn(3, 5, 1, 4, 4)
    made = vmap(lambda p, b, x: functional_call(nets[0], (p, b), (x,)))(params, buffers, inputs)
    for net, x, y in zip(nets, inputs, made, strict=True):
        torch.testing.assert_close(net(x), y)
