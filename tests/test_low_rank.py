"""Low-rank layers: exact at full rank, best below it, smaller or not at all, in any module."""

import copy
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from lth import LthError, Ticket, models, moves
from lth.networks.cost import uses
from lth.networks.net import Net
from lth.networks.rewrites import low_rank
from lth.networks.rewrites.carry import carried, full_mask
from lth.networks.rewrites.low_rank import Factors, factorisable
from lth.networks.rewrites.pairs import factors
from lth.networks.rewrites.ranks import at_energy, spectra_of
from lth.networks.ticket import draw_model, draw_state, layers_of, network_of
from tests import toys
from tests.toys import run_study, setup_of

TARGET = "lth.networks.rewrites.low_rank"
PART = partial


def drawn(make, *arguments, **named):
    torch.manual_seed(3)
    return make(*arguments, **named)


def biased(layer):
    """A layer whose bias is not 0."""
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
    return layer


# -- the factors


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (6, 6), (3, 4, 7), (1, 8)])
def test_factors_are_balanced_deterministic_and_best(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    full = min(shape[-2:])
    values = torch.linalg.svdvals(matrix.double())
    for rank in range(1, full + 1):
        left, right = factors(matrix, rank)
        assert all(
            torch.equal(a, b) for a, b in zip(factors(matrix, rank), (left, right), strict=True)
        )
        error = (matrix - left @ right).double().square().sum((-2, -1)).sqrt()
        tail = values[..., rank:].square().sum(-1).sqrt()
        torch.testing.assert_close(error, tail, atol=2e-6, rtol=1e-5)  # Eckart & Young
        sizes = left.square().sum(-2), right.square().sum(-1)
        for size in sizes:
            torch.testing.assert_close(size.double(), values[..., :rank], rtol=1e-5, atol=1e-6)
        assert (left.gather(-2, left.abs().argmax(-2, keepdim=True)) > 0).all()


def test_signs_do_not_hang_on_rounding():
    """Entries of equal size: the first of them is positive, whichever came out the larger."""
    for more in (-1e-12, 0.0, 1e-12):
        column = torch.tensor([-1.0, 1.0 + more, -1.0], dtype=torch.double)
        matrix = torch.outer(column, torch.tensor([1.0, 2.0], dtype=torch.double))
        left, right = factors(matrix, 1)
        assert left[0] > 0 > left[1] and torch.allclose(left @ right, matrix)


def test_a_layer_of_zeros_and_one_of_low_rank_are_taken_apart():
    left, right = factors(torch.zeros(3, 4), 2)
    assert not left.any() and not right.any()
    one = torch.outer(torch.arange(1.0, 4), torch.arange(1.0, 6))
    left, right = factors(one, 3)
    torch.testing.assert_close(left @ right, one)
    assert left.isfinite().all() and right.isfinite().all()


# -- the form of a layer


LAYERS = {
    "linear": (lambda: nn.Linear(7, 5), (4, 7)),
    "linear over a sequence": (lambda: nn.Linear(7, 5), (4, 3, 7)),
    "no bias": (lambda: nn.Linear(5, 8, bias=False), (4, 5)),
    "conv": (lambda: nn.Conv2d(3, 6, 3), (2, 3, 8, 7)),
    "strides": (lambda: nn.Conv2d(3, 6, (3, 2), stride=(2, 1), bias=False), (2, 3, 8, 7)),
    "padding": (lambda: nn.Conv2d(3, 6, 3, padding=1, padding_mode="reflect"), (2, 3, 8, 7)),
    "same": (lambda: nn.Conv2d(3, 6, 3, padding="same"), (2, 3, 8, 7)),
    "dilation": (lambda: nn.Conv2d(3, 6, 3, dilation=2, padding=2), (2, 3, 8, 7)),
    "1x1": (lambda: nn.Conv2d(5, 6, 1), (2, 5, 8, 7)),
    "conv1d": (lambda: nn.Conv1d(3, 6, 4, stride=2), (2, 3, 9)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_at_full_rank_a_layer_computes_the_same(name):
    """To float32's rounding: 1e-6 of values around 1."""
    make, shape = LAYERS[name]
    plain = biased(drawn(make))
    net, inputs = nn.Sequential(plain), torch.randn(shape)
    full = min(plain.weight.flatten(1).shape)
    form = low_rank(net, {"0": full}, smaller=False)
    assert isinstance(form[0], Factors) and type(net[0]) is type(plain)  # a copy
    torch.testing.assert_close(form(inputs), net(inputs), atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(form[0].weight, plain.weight, atol=1e-6, rtol=1e-5)
    assert form[0].bias is None or torch.equal(form[0].bias, plain.bias)
    narrow = low_rank(net, {"0": 1}, smaller=False)
    assert narrow(inputs).shape == net(inputs).shape
    assert [len(p.weight) for p in narrow[0]] == [1, len(plain.weight)]


@pytest.mark.parametrize(("m", "n"), [(4, 4), (4, 6), (10, 100), (300, 784)])
def test_only_where_it_saves(m, n):
    """r < m n / (m + n): for 300 x 784 up to 216."""
    net = nn.Sequential(nn.Linear(n, m, bias=False))
    edge = max(r for r in range(1, min(m, n) + 1) if r < m * n / (m + n))
    assert edge == 216 or m != 300
    smaller = low_rank(net, {"0": edge})
    assert sum(p.numel() for p in smaller.parameters()) == edge * (m + n) < m * n
    same = low_rank(net, {"0": edge + 1})
    assert type(same[0]) is nn.Linear and torch.equal(same[0].weight, net[0].weight)


class Mine(nn.Module):
    """A stranger's: layers in lists, called twice, tied, read; a norm, a transposed one."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 2, 2)
        self.hidden = nn.ModuleDict({"wide": nn.Linear(50, 30), "again": nn.Linear(30, 30)})
        self.twin = nn.Linear(30, 30)
        self.twin.weight = self.hidden["again"].weight
        self.alias = self.hidden["wide"]
        self.unregistered = [self.hidden["again"], self.twin]
        self.output = nn.Linear(30, 4)

    def forward(self, inputs):
        found = self.up(self.norm(self.encode(inputs)).relu()).flatten(1)
        found = self.alias(found[:, : self.hidden["wide"].in_features]).relu()
        for layer in self.unregistered:
            found = found + layer(found).tanh()
        scale = self.output.weight.norm()
        return nn.functional.linear(found, self.output.weight / scale, self.output.bias)


MINE = {"_target_": "tests.test_low_rank.Mine"}
RANKS = {"encode": 3, "hidden.wide": 6, "hidden.again": 5, "output": 2}


def test_a_strangers_module_with_a_forward_of_its_own():
    net, inputs = drawn(Mine).eval(), torch.randn(3, 1, 4, 4)
    known = factorisable(net)
    assert list(known) == ["encode", "hidden.wide", "hidden.again", "output"]  # up is none
    whole = low_rank(net, {n: p.full for n, p in known.items()}, smaller=False)
    torch.testing.assert_close(whole(inputs), net(inputs), atol=1e-5, rtol=1e-4)
    form = low_rank(net, RANKS)
    again, twin = form.hidden["again"], form.twin
    assert again.first.weight is twin.first.weight and again.second.weight is twin.second.weight
    assert torch.equal(twin.bias, net.twin.bias) and twin.bias is not again.bias
    assert form.alias is form.hidden["wide"] and isinstance(form.alias, Factors)
    assert form.unregistered[1] is twin and type(form.up) is nn.ConvTranspose2d
    form(inputs).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in form.parameters())
    assert low_rank(net, {"alias": 6}).alias.first.weight.shape == (6, 50)  # by another name
    assert low_rank(net, {"twin.weight": 5}).hidden["again"].first.weight.shape == (5, 30)


def test_a_transformers_layer_runs_as_ever():
    layer = drawn(nn.TransformerEncoderLayer, 8, 2, 16, batch_first=True, dropout=0.0)
    known = factorisable(layer)
    assert list(known) == ["linear1", "linear2"]  # the attention's own is called by its weight
    form, inputs = low_rank(layer, dict.fromkeys(known, 8), smaller=False), torch.randn(2, 3, 8)
    for network in (layer.train(), layer.eval()):
        form.train(network.training)
        with torch.no_grad():
            torch.testing.assert_close(form(inputs), network(inputs), atol=2e-6, rtol=1e-5)


def test_what_a_layer_has_beside_its_weight_stays():
    net = nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 2))
    net[0].weight.requires_grad_(False)
    seen = []
    net[0].register_forward_hook(lambda m, i, o: seen.append(m.out_features))
    net[0].eval()
    form = low_rank(net, {"0": 2})
    assert [p.requires_grad for p in form[0].parameters()] == [False, False, True]
    assert not form[0].training and not form[0].first.training and form[1].training
    form(torch.ones(1, 9))
    assert seen == [9]
    double = low_rank(net.double(), {"0": 2})
    assert double(torch.ones(1, 9, dtype=torch.double)).dtype == torch.double
    assert copy.deepcopy(form)[0].weight.shape == (9, 9)


def test_a_root_that_is_a_layer_has_an_empty_name():
    net = nn.Linear(9, 9)
    for name in ("", "weight"):
        assert isinstance(low_rank(net, {name: 2}), Factors)


def normed(layer):
    return nn.Sequential(parametrizations.weight_norm(layer))


class Embeds(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.output = nn.Embedding(9, 6), nn.Linear(6, 9)
        self.output.weight = self.words.weight


class Own(nn.Linear):
    pass


@pytest.mark.parametrize(
    ("net", "ranks", "words"),
    [
        (lambda: models.lenet(input_shape=(9,), classes=4, widths=(6,)), {"fc9": 2},
         r"low_rank\.ranks: no layer is named 'fc9'; did you mean fc1\?"),
        (lambda: nn.Sequential(nn.Linear(9, 4)), {"0": 5}, "0=5: it is 4 x 9, of rank 4 at"),
        (lambda: nn.Sequential(nn.Linear(9, 4)), {"0": 0}, "0=0: a rank is a whole number from 1"),
        (lambda: nn.Sequential(nn.Linear(9, 4)), {"0": True}, "0=True: a rank is a whole number"),
        (lambda: nn.Sequential(nn.Linear(9, 4)), {"0": 1.5}, r"0=1\.5: a rank is a whole number"),
        (lambda: nn.Sequential(nn.Linear(9, 4)), [3], r"ranks=\[3\]: a mapping from layers"),
        (lambda: nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), {"0": 1}, "are in 2 groups"),
        (lambda: nn.Sequential(nn.ConvTranspose2d(4, 4, 3)), {"0": 1}, "is a ConvTranspose2d, and"),
        (lambda: nn.Sequential(Own(4, 4)), {"0": 1}, "0 cannot be taken apart: it is a Own"),
        (lambda: normed(nn.Linear(4, 4)), {"0": 1}, "its weight is parametrized: take that off"),
        (lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 4))), {"0": 1},
         "its weight is made of others before each forward pass"),
        (Embeds, {"output": 2}, "output cannot be taken apart: another kind of layer has its w"),
        (Mine, {"twin": 2, "hidden.again": 3}, "hidden.again has the weight of hidden.again|both"),
        (lambda: low_rank(Mine(), {"output": 2}), {"output.first": 1}, "is a part of output: name"),
        (lambda: low_rank(Mine(), {"output": 2}), {"output": 3}, "4 x 30, of rank 2 at most"),
    ],
)  # fmt: skip
def test_what_has_no_low_rank_form_is_refused_in_one_line(net, ranks, words):
    with pytest.raises(LthError, match=words) as caught:
        low_rank(net(), ranks)
    assert "\n" not in str(caught.value)


# -- nets


def net_of(model, seed=0):
    state = draw_state(model, seed)
    return Net(model=model, mask=full_mask(model), params=state.params, buffers=state.buffers)


SMALL = {"_target_": "tests.toys.small_net", "input_shape": [1, 4, 4], "classes": 4}
INPUTS = torch.linspace(-1, 1, 5 * 16).reshape(5, 1, 4, 4)


def outputs(net):
    return network_of(net.model, net.start).eval()(INPUTS)


def test_a_net_is_carried_into_the_form_with_its_norms_and_biases():
    net = net_of(SMALL)
    params = {n: p + 0.5 if n.endswith("bias") else p for n, p in net.params.items()}
    net = replace(net, params=params, buffers={**net.buffers, "2.running_mean": torch.arange(9.0)})
    ranks = {"1": 9, "5": 6, "7": 4}
    form = {"_target_": TARGET, "model": SMALL, "ranks": ranks, "smaller": False}
    found = carried(net, form)
    torch.testing.assert_close(outputs(found), outputs(net), atol=2e-6, rtol=1e-5)
    assert torch.equal(found.params["1.second.bias"], net.params["1.bias"])
    assert torch.equal(found.buffers["2.running_mean"], torch.arange(9.0))
    assert all(torch.equal(found.params[n], net.params[n]) for n in ("2.weight", "2.bias"))
    assert set(found.mask) == {f"{n}.{part}.weight" for n in ranks for part in ("first", "second")}
    assert found.mask.keys() == layers_of(form).shapes.keys()
    low = carried(net, form | {"ranks": {"1": 2}})
    tail = torch.linalg.svdvals(net.params["1.weight"].double())[2:].square().sum()
    product = low.params["1.second.weight"] @ low.params["1.first.weight"]
    error = (product - net.params["1.weight"]).double().square().sum()
    torch.testing.assert_close(error, tail, rtol=1e-5, atol=1e-6)


def test_no_rank_is_the_network_itself():
    net = net_of(SMALL)
    same = carried(net, {"_target_": TARGET, "model": SMALL, "ranks": {}})
    assert all(torch.equal(same.params[n], p) for n, p in net.params.items())
    assert torch.equal(outputs(same), outputs(net))


def test_a_draw_of_the_form_is_the_form_of_a_draw():
    form = {"_target_": TARGET, "model": SMALL, "ranks": {"1": 3}}
    for seed in (0, 1):
        state, dense = draw_state(form, seed), carried(net_of(SMALL, seed), form)
        assert all(torch.equal(p, dense.params[n]) for n, p in state.params.items())
    assert not torch.equal(draw_state(form, 0).params["1.first.weight"],
                           draw_state(form, 1).params["1.first.weight"])  # fmt: skip


def test_a_form_of_a_form_is_one_form():
    net, first = net_of(SMALL), {"_target_": TARGET, "model": SMALL, "ranks": {"1": 5, "5": 3}}
    second = {"_target_": TARGET, "model": first, "ranks": {"1": 2}}
    found = carried(net, second)
    assert found.model == {"_target_": TARGET, "model": SMALL, "ranks": {"1": 2, "5": 3}}
    assert draw_state(found.model, 0).params.keys() == found.params.keys()
    at_once = carried(net, found.model)
    torch.testing.assert_close(outputs(found), outputs(at_once), atol=2e-6, rtol=1e-5)
    other = {"_target_": "lth.networks.rewrites.separable", "model": first, "layers": []}
    assert carried(net, other).model == other


def test_a_mask_and_views_are_refused_before_they_would_be_lost():
    net, form = net_of(SMALL), {"_target_": TARGET, "model": SMALL, "ranks": {"1": 3}}
    mask = dict(net.mask)
    mask["1.weight"] = mask["1.weight"].clone()
    mask["1.weight"][0, 0] = False
    with pytest.raises(LthError, match="low_rank: it would break the network's mask: rewrite fir"):
        carried(replace(net, mask=mask), form)
    views = {"bits": {"_target_": "lth.networks.views.rounded", "bits": 4}}
    with pytest.raises(LthError, match=r"low_rank: .* views \(bits\): rewrite before them"):
        carried(replace(net, views=views), form)


def test_a_ticket_in_low_rank_form_is_saved_and_loaded(tmp_path):
    lenet = {"_target_": "lth.models.lenet", "input_shape": [1, 4, 4], "classes": 4,
             "widths": [9, 6]}  # fmt: skip
    form = {"_target_": TARGET, "model": lenet, "ranks": {"fc1": 2}}
    net = carried(net_of(lenet), form)
    ticket = Ticket(**vars(net), step=3)
    ticket.save(tmp_path / "a.ticket")
    loaded = Ticket.load(tmp_path / "a.ticket")
    assert loaded == ticket and loaded.density == 1.0
    expected = network_of(net.model, net.start)(INPUTS)
    assert torch.equal(loaded.module()(INPUTS), expected)
    huge = {"_target_": TARGET, "model": lenet | {"widths": [10**7]}, "ranks": {"fc1": 2}}
    replace(loaded, model=huge).save(tmp_path / "b.ticket")
    with pytest.raises(LthError, match="its model asks for 10,000,000"):
        Ticket.load(tmp_path / "b.ticket").module()


# -- ranks


def places_of(net):
    return factorisable(net)


def test_the_rank_of_an_energy_is_the_least_that_keeps_it():
    net = nn.Sequential(nn.Linear(40, 30, bias=False))
    u, _ = torch.linalg.qr(torch.randn(30, 30))
    v, _ = torch.linalg.qr(torch.randn(40, 30))
    values = torch.tensor([4.0, 2.0, 2.0, 1.0] + [0.0] * 26)
    net[0].weight.data = u @ torch.diag(values) @ v.T
    (spectrum,) = spectra_of(places_of(net), None)
    assert torch.allclose(spectrum.shares[:4], torch.tensor([16, 20, 24, 25]).double() / 25)
    ranks = {e: at_energy([spectrum], e)["0"] for e in (0.1, 0.63, 0.65, 0.9, 0.97, 1.0)}
    assert ranks == {0.1: 1, 0.63: 1, 0.65: 2, 0.9: 3, 0.97: 4, 1.0: 4}
    noise = nn.Sequential(nn.Linear(6, 6))
    assert at_energy(spectra_of(places_of(noise), None), 1.0) == {}  # it saves nothing


def dense_spec(ranks, model=SMALL):
    return {"_target_": TARGET, "model": model, "ranks": ranks}


def numbers(model):
    network = draw_model(model, 0)
    return sum(t.numel() for t in network.state_dict().values())


def macs(model):
    sizes = layers_of(model).parameters
    return sum(sizes[n] * t for n, t in uses(model, (1, 4, 4)).items())


def ranks_by(out, model=SMALL, **settings):
    study = run_study(out, model=model, trials=1, levels=1, method={"m": {"at": "dense",
        "repeat": 1, "moves": [PART(moves.low_rank, **settings), moves.measure]}})  # fmt: skip
    return study.ticket(arm="m", level=1).model["ranks"], study


CONV = {"_target_": "tests.toys.norm_net", "input_shape": [1, 4, 4], "classes": 4}


@pytest.mark.parametrize("counted", ["params", "macs"])
def test_a_budget_is_kept_with_the_highest_energy_of_all(counted, tmp_path):
    count, model = (numbers, SMALL) if counted == "params" else (macs, CONV)
    least = {"params": numbers(dense_spec({"1": 1, "5": 1, "7": 1})),
             "macs": macs(dense_spec({"0": 1, "5": 1}, CONV))}[counted]  # fmt: skip
    used = []
    for budget in (least, round((least + count(model)) / 2), count(model)):
        ranks, study = ranks_by(tmp_path, model, **{counted: budget})
        found = count(dense_spec(ranks, model))
        assert found <= budget
        used.append(found)
        network = network_of(study.entry().about["model"], study.entry().final)
        known = places_of(network)
        spectra = spectra_of(known, None if counted == "params" else uses(model, (1, 4, 4)))
        steps = sorted({float(e) for s in spectra for e in s.shares})
        fits = [e for e in steps if count(dense_spec(at_energy(spectra, e), model)) <= budget]
        assert ranks == at_energy(spectra, max(fits, default=0.0))
    assert used[0] == least < used[1] < used[2] == count(model)
    share, _ = ranks_by(tmp_path, model, share=0.75, share_of=counted)
    assert share == ranks_by(tmp_path, model, **{counted: int(0.75 * count(model))})[0]


def test_ranks_that_are_named_and_layers_that_are_meant(tmp_path):
    assert ranks_by(tmp_path, rank={"1": 2, "5.weight": 1})[0] == {"1": 2, "5": 1}
    assert ranks_by(tmp_path, rank=2)[0] == {"1": 2, "5": 2, "7": 2}
    assert ranks_by(tmp_path, rank=2, layers=["[15]"])[0] == {"1": 2, "5": 2}
    assert ranks_by(tmp_path, rank=5)[0] == {"1": 5}  # 9 x 16: below 5.76; the others are kept
    with pytest.warns(
        UserWarning, match=r"5 is left as it is: it is smaller from ranks below 3\.6"
    ):
        assert ranks_by(tmp_path, rank={"1": 2, "5": 4})[0] == {"1": 2}
    assert ranks_by(tmp_path, energy=1.0)[0] == {}  # its identity: nothing is smaller
    with pytest.warns(UserWarning, match=r"energy=0\.9999 makes no layer smaller"):
        ranks_by(tmp_path, energy=0.9999)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rank": 1000}, "1=1000: it is 9 x 16, of rank 9 at most"),
        ({"rank": 9, "layers": ["5"]}, "5=9: it is 6 x 9, of rank 6 at most"),
        ({"rank": {"1": 99}}, "1=99: it is 9 x 16"),
        ({"rank": {"first": 2}}, "no layer is named 'first'; there are 1, 5, 7"),
        ({"rank": {"1": "two"}}, r"moves\.low_rank\.rank\.1='two': a rank is a whole number from"),
        ({"rank": {"1": 2}, "layers": ["1"]}, "it names its layers|names its layers: leave out"),
        ({"rank": 0}, r"moves\.low_rank\.rank=0: a whole number from 1"),
        ({"energy": 1.5}, r"moves\.low_rank\.energy=1\.5: a number, in \(0, 1\]"),
        ({"energy": True}, r"moves\.low_rank\.energy=True: a number, in"),
        ({"energy": 0.5, "rank": 2}, "give one of rank, energy, params, macs, share, not 2"),
        ({"params": 10}, r"a budget of 10 numbers is too small: rank 1 everywhere leaves \d+"),
        ({"macs": 10}, "a budget of 10 macs is too small"),
        ({"share": 0.01}, "is too small: rank 1 everywhere leaves"),
        ({"share": 0.5, "share_of": "bytes"}, "share_of=bytes: it is one of params, macs"),
        ({"layers": ["0"]}, "0 cannot be taken apart: it is a Flatten"),
        ({"layers": "1"}, r"moves\.low_rank\.layers: '1': a list of layers"),
        ({"weights": "old"}, "weights=old: it is one of trained, rewound, drawn"),
    ],
)
def test_ranks_that_cannot_be_are_refused_before_work(settings, words, tmp_path):
    with pytest.raises(LthError, match=words) as caught:
        ranks_by(tmp_path, **settings)
    assert "\n" not in str(caught.value) and not (tmp_path / "store").exists()


class Beside(nn.Module):
    """A layer that is never called, and one whose weight the forward pass holds by itself."""

    def __init__(self):
        super().__init__()
        self.hidden, self.output = nn.Linear(16, 16), nn.Linear(16, 4)
        self.spare = nn.Linear(16, 16)
        self.held = [self.hidden.weight]

    def forward(self, inputs):
        return self.output(nn.functional.linear(inputs.flatten(1), self.held[0]).relu())


class Functional(nn.Module):
    """A layer whose weight the forward pass reads, so that a pair would be multiplied out."""

    def __init__(self):
        super().__init__()
        self.hidden, self.output = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, inputs):
        hidden = nn.functional.linear(inputs.flatten(1), self.hidden.weight)
        return self.output(hidden.relu())


@pytest.mark.parametrize("model", [Beside, Functional])
def test_factors_that_would_not_be_used_are_refused(tmp_path, model):
    words = "hidden: the forward pass holds its weight by another way"
    for settings in ({"rank": {"hidden": 2}}, {"layers": ["hid*"]}, {"rank": 2, "layers": ["*"]}):
        with pytest.raises(LthError, match=words):
            ranks_by(tmp_path, model, **settings)
    with pytest.warns(UserWarning, match="low_rank: hidden is left as it is: the forward pass"):
        assert ranks_by(tmp_path, model, rank=2)[0].keys() <= {"spare", "output"}
    assert ranks_by(tmp_path, model, rank={"output": 2})[0] == {"output": 2}


def test_layers_beside_those_are_factorised(tmp_path):
    for settings in ({"rank": 2}, {"macs": 300}):
        ranks, _ = ranks_by(tmp_path, Beside, layers=["spare", "output"], **settings)
        assert ranks["output"] == 2


# -- methods


def test_a_move_on_a_ticket_that_is_pruned_is_refused_before_work(tmp_path):
    with pytest.raises(LthError, match=r"method\.m: low_rank: it would break the network's mask"):
        setup_of(tmp_path, model=SMALL, method={"m": {"at": "dense", "moves": [
            moves.prune, PART(moves.low_rank, rank=2), moves.train]}})  # fmt: skip
    with pytest.raises(LthError, match=r"method\.m: low_rank: it would break the network's mask"):
        setup_of(tmp_path, model=SMALL, levels=[3], method={"m": {"moves": [
            PART(moves.low_rank, rank=2), moves.train]}})  # fmt: skip
    assert not (tmp_path / "store").exists()


def entries_of(study, arm, **where):
    return study.entry(arm=arm, level=1, **where)


def test_rank_tickets_have_the_ranks_of_the_trained_and_the_factors_of_the_rewound(tmp_path):
    move = {w: PART(moves.low_rank, energy=0.7, weights=w) for w in ("trained", "rewound", "drawn")}
    methods = {w: {"at": "dense", "repeat": 1, "moves": [m, moves.fine_tune] if w == "trained"
                   else [m]} for w, m in move.items()}  # fmt: skip
    study = run_study(tmp_path, model=SMALL, trials=1, levels=1, rewind={"step": 4}, method=methods)
    dense, model = study.entry(), study.ticket(arm="trained", level=1).model
    whole = dense.about["model"]
    assert model["ranks"]
    for weights, state in (("trained", dense.final), ("rewound", dense.at(4)), ("drawn", None)):
        ticket, entry = study.ticket(arm=weights, level=1), entries_of(study, weights)
        assert ticket.model == model
        net = Net(model=whole, mask=full_mask(whole), **(state or dense.start)._asdict())
        form = carried(net, model).params
        same = [torch.equal(form[n], p) for n, p in entry.start.params.items()]
        assert (
            all(same)
            if state is not None
            else not any(s for n, s in zip(form, same, strict=True) if "first" in n)
        )
    steps = {
        w: (study.ticket(arm=w, level=1).step, entries_of(study, w).about["steps"]) for w in move
    }
    assert steps == {"trained": (20, 20), "rewound": (4, 16), "drawn": (0, 20)}


def test_low_rank_and_sparse_the_mask_is_on_the_factors(tmp_path):
    method = {"m": {"at": "dense", "repeat": 1, "moves": [
        PART(moves.low_rank, rank={"1": 4, "5": 2}, weights="rewound"),
        PART(moves.prune, rate=0.5), moves.rewind, moves.prune, PART(moves.fine_tune, steps=5),
        PART(moves.prune_and_rewind, to=8)]}}  # fmt: skip
    study = run_study(tmp_path, model=SMALL, trials=1, levels=1, rewind={"step": 4}, method=method)
    entries = [study.entry(arm="m", level=1, phase=n) for n in (1, 2, 3, 4)]
    assert [(e.about["step"], e.about["steps"]) for e in entries] == [
        (4, 16), (4, 16), (20, 5), (8, 12)]  # fmt: skip
    name = "1.first.weight"
    kept = [int(e.mask[name].sum()) for e in entries]
    assert kept[0] == 4 * 16 and kept[1] == 32 > kept[2] > kept[3]
    assert {n for n in entries[0].mask} >= {name, "1.second.weight", "5.first.weight", "7.weight"}
    one = entries[0].final.params[name].abs()
    assert one[entries[1].mask[name]].min() >= one[~entries[1].mask[name]].max()
    for entry in entries:
        assert not entry.final.params[name][~entry.mask[name]].any()
    whole = study.entry().about["model"]
    dense = Net(model=whole, mask=full_mask(whole), **study.entry().at(8)._asdict())
    start = carried(dense, entries[3].about["model"])
    assert torch.equal(entries[3].start.params[name], start.params[name] * entries[3].mask[name])


def test_learning_rate_rewinding_keeps_the_trained_factors(tmp_path):
    method = {"m": {"at": "dense", "repeat": 1, "moves": [
        PART(moves.low_rank, rank=2), PART(moves.fine_tune, steps=5), moves.prune,
        moves.rewind]}}  # fmt: skip
    study = run_study(tmp_path, model=SMALL, trials=1, levels=1, rewind="learning_rate",
                      method=method)  # fmt: skip
    one, two = (study.entry(arm="m", level=1, phase=n) for n in (1, 2))
    assert two.about["step"] == 0 and two.about["steps"] == 20
    for n, p in two.start.params.items():
        assert torch.equal(p, one.final.params[n] * two.mask.get(n, 1))


def test_lower_and_lower_ranks_level_after_level(tmp_path):
    method = {"m": {"at": "dense", "moves": [PART(moves.low_rank, share=0.8), moves.fine_tune]}}
    study = run_study(tmp_path, model=SMALL, trials=1, levels=3, method=method)
    found = [study.ticket(arm="m", level=n) for n in (1, 2, 3)]
    assert [t.model["model"] == study.entry().about["model"] for t in found] == [True] * 3
    assert found[0].density > found[1].density > found[2].density
    ranks = [t.model["ranks"] for t in found]
    assert all(a[n] >= b[n] for a, b in pairwise(ranks) for n in a)


@pytest.mark.filterwarnings("ignore:low_rank. output is left as it is")
def test_a_strangers_module_goes_through_a_study(tmp_path):
    method = {"m": {"at": "dense", "repeat": 1, "moves": [
        PART(moves.low_rank, share=0.6), moves.prune, PART(moves.fine_tune, steps=4)]}}  # fmt: skip
    study = run_study(tmp_path, model=Mine, trials=1, levels=1, method=method)
    ticket = study.ticket(arm="m", level=1)
    assert set(ticket.model["ranks"]) <= {"encode", "hidden.wide", "hidden.again"}
    assert numbers(ticket.model) <= 0.6 * numbers(MINE)
    network = study.network(arm="m", level=1)
    assert torch.isfinite(network(toys.blobs().prepare(toys.blobs().test_inputs[:3]))).all()
    again = run_study(tmp_path, model=Mine, trials=1, levels=1, method=method)
    assert again.provenance["trained"] == 0


def test_members_in_low_rank_form_train_stacked_as_alone(tmp_path):
    form = {"_target_": TARGET, "model": CONV, "ranks": {"0": 2, "5": 2}}
    jobs = [toys.job(form, trial, density=2.0) for trial in (0, 1)]
    alone = toys.train(jobs, tmp_path / "a")
    stacked = toys.train_stacked(jobs, tmp_path / "b")
    for one, other in zip(alone, stacked, strict=True):
        for name, value in one.final.params.items():
            torch.testing.assert_close(value, other.final.params[name], atol=1e-4, rtol=1e-3)
