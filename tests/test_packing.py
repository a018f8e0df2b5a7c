"""Packed networks: bit for bit what they were, in as few bytes as it goes."""

import functools
import hashlib
import lzma
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import lth
from lth import LthError, Ticket
from lth.networks.net import Net
from lth.networks.ticket import draw_state
from lth.packing import adaptive, file
from lth.packing.coder import Reader, Recorder
from lth.packing.kinds import kind_of, patterns_of, tensor_of
from lth.packing.tensors import tensor
from lth.types import Symbols

TOY = {"_target_": "lth.models.lenet", "input_shape": [1, 4, 4], "classes": 3, "widths": [8, 6]}
CONV = {"_target_": "lth.models.resnet", "input_shape": [3, 8, 8], "classes": 3, "depth": 8,
        "width": 4}  # fmt: skip


def net_of(model=TOY, density=0.3, seed=0, **more):
    state = draw_state(model, seed)
    g = torch.Generator().manual_seed(1)
    mask = {n: torch.rand(p.shape, generator=g) < density for n, p in state.params.items()
            if p.ndim > 1}  # fmt: skip
    return Net(model=model, mask=mask, params=state.params, buffers=state.buffers, **more)


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and patterns_of(a).tobytes() == patterns_of(
        b
    ).tobytes()  # fmt: skip


def holds(net, content):
    """Whether a file is the network: every tensor to the bit, and what it computes."""
    found, state = lth.unpack(content), net.baked()
    for have, want in ((found.net.params, state.params), (found.net.buffers, state.buffers)):
        assert list(have) == list(want)
        assert all(same_bits(have[n], want[n]) for n in want)
    assert found.size == len(content)
    assert sum(p.bytes for p in found.report()) == pytest.approx(len(content))
    x = torch.randn(5, *net.model["input_shape"], generator=torch.Generator().manual_seed(2))
    module = found.module()
    assert not module.training
    assert torch.equal(net.module().eval()(x), module(x))
    assert torch.equal(found.net.module().eval()(x), module(x))
    return found


@pytest.mark.parametrize("model", [TOY, CONV], ids=["lenet", "resnet"])
@pytest.mark.parametrize("density", [0.0, 0.02, 0.3, 1.0])
@pytest.mark.parametrize("coding", ["cheapest", "huffman", "arithmetic"])
def test_a_packed_network_computes_the_same(model, density, coding):
    net = net_of(model, density)
    found = holds(net, lth.pack(net, coding=coding))
    assert found.net.mask.keys() == net.mask.keys()
    assert all(torch.equal(found.net.mask[n], net.mask[n]) for n in net.mask)


def test_a_file(tmp_path):
    ticket = Ticket(**vars(net_of()), step=3)
    content = lth.pack(ticket, tmp_path / "small.lth")
    assert (tmp_path / "small.lth").read_bytes() == content == lth.pack(ticket.net)
    assert lth.unpack(tmp_path / "small.lth").net.model == TOY
    assert lth.pack(lth.unpack(content).net) == content


@pytest.mark.parametrize(
    "more",
    [
        {"views": {"grid": {"_target_": "lth.networks.views.rounded", "bits": 3}}},
        {"views": {"scale": {"_target_": "lth.networks.views.scaled", "start": 0.7},
                   "grid": {"_target_": "lth.networks.views.rounded", "step": "trained"}}},
        {"gate": {"_target_": "lth.networks.gates.bernoulli", "keep": 0.5}},
    ],
    ids=["rounded", "two", "gate"],
)  # fmt: skip
def test_views_are_baked_in(more):
    net = net_of(**more)
    found = holds(net, lth.pack(net))
    assert not found.net.views and found.net.gate is None


def test_what_rounds_to_zero_is_one_zero():
    """A -0.0 beside 0.0 would be a symbol more: a bit for every weight that is rounded to 0."""
    net = net_of(density=1.0, views={"grid": {"_target_": "lth.networks.views.rounded", "bits": 2}})
    seen = net.baked().params["fc1.weight"]
    assert (seen == 0).any() and not seen[seen == 0].signbit().any()
    assert torch.equal(net.module().eval().fc1.weight.signbit(), seen.signbit())


def test_frozen_values_of_pruned_weights_are_kept():
    net = net_of()
    frozen = {n: torch.full(m.shape, 0.25) for n, m in net.mask.items()}
    holds(replace(net, frozen=frozen), lth.pack(replace(net, frozen=frozen)))


def test_odd_values_come_back_to_the_bit():
    net = net_of()
    odd = torch.tensor([-0.0, 0.0, 1e-45, -3e38, float("inf"), -float("inf"), float("nan"), 1.0])
    net.params["fc1.bias"] = odd
    net.params["fc1.weight"][net.mask["fc1.weight"]] = -0.0
    content = lth.pack(net)
    found = lth.unpack(content)
    assert all(same_bits(found.net.params[n], t) for n, t in net.baked().params.items())
    assert torch.equal(found.net.mask["fc1.weight"], net.mask["fc1.weight"])
    assert all(same_bits(found.net.start.params[n], t) for n, t in net.baked().params.items())


DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.int16,
          torch.int32, torch.int64, torch.uint8, torch.bool, torch.complex64, torch.complex128,
          torch.float8_e4m3fn, torch.uint16]  # fmt: skip
SHAPES = [(), (0,), (1,), (3, 0, 2), (7,), (5, 9), (4, 3, 3, 3), (1, 40), (40, 1), (40, 100)]


def made(seed):
    """A tensor of any dtype, shape and kind of values."""
    g = torch.Generator().manual_seed(seed)
    draw = np.random.default_rng(seed)
    dtype, shape = DTYPES[seed % len(DTYPES)], SHAPES[draw.integers(len(SHAPES))]
    real = torch.randn(shape, generator=g)
    real = {0: real, 1: real.half().float(), 2: (real * 3).round() / 4, 3: torch.zeros(shape),
            4: real.sign() * 0.1, 5: real.sign(), 6: real * 1e30, 7: real * 1e-40,
            8: torch.full(shape, -0.0)}[int(draw.integers(9))]  # fmt: skip
    real = torch.where(torch.rand(shape, generator=g) < draw.random(), real, torch.zeros(()))
    if not dtype.is_floating_point and not dtype.is_complex:
        real = (real.nan_to_num() * 50).clamp(-1e9, 1e9)
        real = real.abs() if dtype in (torch.uint8, torch.uint16, torch.bool) else real
        real = real.clamp(-100, 100) if dtype.itemsize < 4 else real
    return real.to(dtype)


def through(value, coding="cheapest", symbols=None, earlier=()):
    """Code a tensor and read it again; return the recorder."""
    kind, recorder = kind_of("t", value), Recorder(coding)
    tensor(recorder, kind, earlier, patterns_of(value), symbols)
    reader = Reader(recorder.coded(), bytes(recorder.plain))
    assert same_bits(tensor_of(kind, tensor(reader, kind, earlier)), value)
    reader.check_end()
    return recorder


@pytest.mark.parametrize("coding", ["cheapest", "huffman", "arithmetic"])
def test_tensors_of_every_kind_come_back_to_the_bit(coding):
    for seed in range(84):
        through(made(seed), coding)


@pytest.mark.parametrize("shape", [(), (7,), (40, 30)])
@pytest.mark.parametrize("least", [-(2**63), 2**62, -(2**45)])
def test_whole_numbers_of_any_size_come_back(shape, least):
    values = torch.full(shape, least, dtype=torch.int64)
    values.reshape(-1)[1:] += torch.arange(values.numel() - 1) % 5 * 2**58
    net = Net(model=TOY, mask={}, params={}, buffers={"seen": values})
    assert torch.equal(file.read(file.write(net)).buffers["seen"], values)


def test_every_way_is_taken_by_a_tensor_that_is_made_for_it(monkeypatch):
    """And whatever way is forced on a tensor that it fits, the tensor comes back."""
    from lth.packing import cheapest as module
    from lth.packing import neighbours, positions, signs, symbols, tensors, values

    taken, forced = set(), None

    def forcing(coder, ways):
        """Take the way that is next in turn among those that fit."""
        if coder.reading:
            return ways[module.choice(coder, len(ways))](coder)
        order = list(range(len(ways)))
        turn = forced % len(ways)
        for number in order[turn:] + order[:turn]:
            trial = Recorder(coder.coding)
            try:
                found = ways[number](trial)
            except module.Unfit:
                continue
            taken.add((len(ways), number))
            module.choice(coder, len(ways), number)
            coder.add(trial)
            return found
        raise module.Unfit

    for part in (positions, symbols, tensors, values):
        monkeypatch.setattr(part, "cheapest", forcing)
    for turn in range(7):
        forced = turn
        for seed in range(0, 90, 5):
            through(made(seed), earlier=[(kind_of("t", made(seed)), patterns_of(made(seed)))])
        value = picture(20, 6, 30)
        through(value, symbols=stepped(value)[1])
    assert {n for k, n in taken if k == 6} == {0, 1, 2, 3}  # tensors.py; steps are below
    assert {n for k, n in taken if k == 5} == set(range(5))  # values.py, with a codebook
    assert neighbours and signs


def picture(side, units, seed, density=0.3):
    """Weights of units that each look at one place of a picture with one sign."""
    g = torch.Generator().manual_seed(seed)
    at = torch.rand(units, 2, generator=g) * side
    grid = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"))
    far = (grid[None] - at[:, :, None, None]).pow(2).sum(1).sqrt().reshape(units, -1)
    sign = torch.where(torch.rand(units, 1, generator=g) < 0.5, -1.0, 1.0)
    near = torch.rand(units, side * side, generator=g) < density * (-far / 4).exp() * 3
    size = 1 + torch.randint(0, 3, near.shape, generator=g)
    return torch.where(near, sign * size, torch.zeros(()))


def stepped(value, per_channel=True):
    """A tensor on a grid per row, and the symbols that say so."""
    g = torch.Generator().manual_seed(0)
    shape = (len(value), *[1] * (value.ndim - 1)) if per_channel else [1] * value.ndim
    steps = torch.rand(shape, generator=g) + 0.01
    return steps * value, Symbols(value.long(), None, steps)


@pytest.mark.parametrize("rest", [0, 3])
@pytest.mark.parametrize("number", [adaptive.FEW, 300])
def test_rows_that_are_written_at_once_are_what_is_written_one_by_one(number, rest, monkeypatch):
    generator, depths = np.random.default_rng(number), [9, 0, 2, 1]
    given = generator.geometric(0.3, (number, 5)) % np.array([1 << d for d in [*depths, rest]])
    written = []
    for few in (adaptive.FEW, number + 1):
        monkeypatch.setattr(adaptive, "FEW", few)
        written.append(Recorder())
        adaptive.rows(written[-1], number, depths, given, rest)
    at_once, singly = written
    assert (at_once.lows, at_once.widths) == (singly.lows, singly.widths)
    found = adaptive.rows(Reader(at_once.coded()), number, depths, None, rest)
    assert (found == given).all()


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("density", [0.1, 5.0])
def test_steps_of_a_view_save_bytes_and_are_held_to_what_is_seen(per_channel, density):
    value, symbols = stepped(picture(8, 30, 0, density), per_channel)
    alone, told = through(value).cost, through(value, symbols=symbols).cost
    assert told < alone
    wrong = symbols._replace(ids=symbols.ids + 1)
    assert through(value, symbols=wrong).cost == alone
    assert through(value, symbols=Symbols(symbols.ids)).cost == alone
    assert through(value, symbols=symbols._replace(steps=torch.ones(2, 3))).cost == alone


class Stepped:
    """A view on a grid that says so."""

    def own(self, name, weight, mask):
        return {"step": torch.full((len(weight), 1), 0.037)}

    def __call__(self, name, weight, mask, own, training):
        return own["step"] * (weight / own["step"]).round()

    def symbols(self, name, weight, mask, own):
        return Symbols((weight / own["step"]).round().long(), None, own["step"])


def test_a_views_symbols_reach_the_file(monkeypatch):
    from lth.packing import file

    net = net_of(views={"grid": {"_target_": "tests.test_packing.Stepped"}})
    content = lth.pack(net)
    holds(net, content)
    monkeypatch.setattr(file, "symbols_of", lambda net: {})
    assert len(content) < len(lth.pack(net))


def test_an_equal_tensor_costs_next_to_nothing():
    value = torch.randn(50)
    first = (kind_of("a", value), patterns_of(value))
    assert through(value, earlier=[first]).cost < 12 < through(value).cost


def test_neighbours_in_pictures_save_bytes():
    """Beyond what the entropy of counts alone, and lzma, could do."""
    value = picture(28, 100, 0)
    kept = value != 0
    p = float(kept.float().mean())
    bound = -kept.numel() * (p * np.log2(p) + (1 - p) * np.log2(1 - p))
    bound += float(kept.sum()) * np.log2(6)
    assert through(value).cost < 0.85 * bound
    assert through(value, "huffman").cost > 0.9 * bound


def ticket_like(k, density=0.086, shape=(100, 784), seed=0):
    """Weights drawn at random places, at one of k values each."""
    g = torch.Generator().manual_seed(seed)
    book = torch.randn(k, generator=g)
    value = book[torch.randint(0, k, shape, generator=g)]
    return torch.where(torch.rand(shape, generator=g) < density, value, torch.zeros(()))


@pytest.mark.parametrize("coding", ["cheapest", "huffman", "arithmetic"])
def test_random_tickets_come_within_two_per_cent_of_their_entropy_and_beat_lzma(coding):
    value = ticket_like(16)
    p = float((value != 0).float().mean())
    bound = -(p * np.log2(p) + (1 - p) * np.log2(1 - p)) * value.numel()
    bound += 4 * int((value != 0).sum())
    cost = through(value, coding).cost
    assert bound * 0.99 < cost < bound * (1.02 if coding != "huffman" else 1.04) + 16 * 32
    raw = value.numpy().tobytes()
    best = min(len(lzma.compress(raw, preset=p)) for p in (6, 9 | lzma.PRESET_EXTREME))
    assert cost / 8 < 0.95 * best


def test_the_same_bytes_in_every_process():
    script = (
        "import hashlib, lth; from tests.test_packing import *;"
        "print(hashlib.sha256(lth.pack(net_of(CONV))).hexdigest())"
    )
    ours = hashlib.sha256(lth.pack(net_of(CONV))).hexdigest()
    theirs = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert theirs.stdout.strip() == ours, theirs.stderr


def test_a_small_network_has_a_small_header():
    report = lth.unpack(lth.pack(net_of())).report()
    assert report[0].part == "header" and report[0].bytes < 60
    lenet = {"_target_": "lth.models.lenet", "input_shape": [1, 28, 28], "classes": 10,
             "widths": [300, 100], "init": "glorot_normal"}  # fmt: skip
    assert lth.unpack(lth.pack(net_of(lenet, 0.01))).report()[0].bytes < 24


# modules


class Own(nn.Module):
    """A network of a user's own: tied weights, and a buffer that no state dict holds."""

    def __init__(self, width=5):
        super().__init__()
        self.a, self.b = nn.Linear(width, width), nn.Linear(width, width)
        self.b.weight = self.a.weight
        self.norm = nn.BatchNorm1d(width)
        self.register_buffer("scale", torch.full((1,), 2.0), persistent=False)

    def forward(self, x):
        return self.norm(self.b(self.a(x))) * self.scale


def test_a_module_is_packed_with_its_factory(tmp_path):
    network = Own(4)
    network(torch.randn(8, 4))
    network.eval()
    path = tmp_path / "own"
    lth.pack(network, path, model=functools.partial(Own, width=4))
    x = torch.randn(3, 4)
    for found in (lth.unpack(path, model=Own), lth.unpack(path, trust="tests.test_packing"),
                  lth.unpack(path, trust=[Own])):  # fmt: skip
        module = found.module()
        assert torch.equal(module(x), network(x))
        assert module.a.weight is module.b.weight
        assert found.net.mask.keys() == {"a.weight"}
    with pytest.raises(LthError, match=r"which is not lth's own code; name its factory"):
        lth.unpack(path).module()
    assert torch.equal(lth.unpack(path).module(Own(4))(x), network(x))
    assert torch.equal(lth.unpack(path).module(model=Own)(x), network(x))


def test_parametrized_and_pruned_modules_are_packed_as_they_compute():
    make = functools.partial(nn.Sequential)
    network = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    prune.l1_unstructured(network[0], "weight", 0.5)
    parametrizations.weight_norm(network[1])
    network.eval()
    spec = {"_target_": "tests.test_packing.two"}
    x = torch.randn(3, 4)
    found = lth.unpack(lth.pack(network, model=spec), model=two)
    assert torch.equal(found.module()(x), network(x))
    assert int(found.net.mask["0.weight"].sum()) == 12
    assert make
    net = net_of(views={"grid": {"_target_": "lth.networks.views.rounded", "bits": 3}})
    content = lth.pack(net.module(), model=TOY)
    holds(net, content)


def two():
    return nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))


def test_what_is_no_network_is_refused_in_one_line(tmp_path):
    for wrong, said in (
        (3, "a int is no network"),
        (nn.Linear(2, 2), "give its factory too"),
    ):
        with pytest.raises(LthError, match=said):
            lth.pack(wrong)
    with pytest.raises(LthError, match="a ticket says it itself"):
        lth.pack(net_of(), model=TOY)
    with pytest.raises(LthError, match="it is one of cheapest, huffman, arithmetic"):
        lth.pack(net_of(), coding="lzma")
    with pytest.raises(LthError, match="has shape"):
        lth.pack(Own(4), model=Own)
    with pytest.raises(LthError, match="no such packed network"):
        lth.unpack(tmp_path / "nothing")
    net = net_of()
    net.params["fc1.bias"] = torch.zeros(8).to_sparse()
    with pytest.raises(LthError, match=r"fc1\.bias is no plain tensor"):
        lth.pack(net)
