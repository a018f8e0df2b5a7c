"""Tickets made elsewhere: taken in by name, shape, dtype and value, or refused in one line."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.utils.prune as prune
from torch import nn

from lth import LthError, Ticket
from lth.networks.ticket import network_of
from tests.toys import Plain, mlp, norm_net

NET = partial(mlp, input_shape=[1, 4, 4], classes=4)
NORM = partial(norm_net, input_shape=[1, 4, 4], classes=4)


class Fixed(nn.Module):
    """A module with a buffer that no state dict holds."""

    def __init__(self, classes=4, drawn=False):
        super().__init__()
        self.register_buffer("scale", torch.full((16,), 0.5), persistent=False)
        if drawn:
            self.scale.uniform_()
        self.output = nn.Linear(16, classes)

    def forward(self, inputs):
        return self.output(inputs.flatten(1) * self.scale)


def made(factory=NET, share=0.3):
    torch.manual_seed(5)
    net = factory()
    weights = {n: p for n, p in net.named_parameters() if p.ndim > 1}
    mask = {n: torch.rand_like(p) < share for n, p in weights.items()}
    return net, net.state_dict(), mask


def given(ticket, net, mask):
    """Whether a ticket holds just what was given, and its module nothing else."""
    module = ticket.module()
    state = net.state_dict()
    for name, value in module.state_dict().items():
        expected = torch.where(mask[name], state[name], 0.0) if name in mask else state[name]
        assert torch.equal(value, expected), name
    assert all(torch.equal(ticket.mask[n], m) for n, m in mask.items())
    assert all(torch.equal(ticket.params[n], state[n]) for n in ticket.params)
    return True


@pytest.mark.parametrize("factory", [NET, NORM], ids=["mlp", "norms"])
@pytest.mark.parametrize("kind", [torch.bool, torch.int32, torch.uint8, torch.float32])
def test_a_state_and_a_mask_of_any_kind(factory, kind):
    net, state, mask = made(factory)
    ticket = Ticket.from_state(factory, state, {n: m.to(kind) for n, m in mask.items()}, step=3)
    assert given(ticket, net, mask) and ticket.step == 3
    assert ticket.density == sum(int(m.sum()) for m in mask.values()) / ticket.total


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_a_wrappers_prefix_comes_off(prefix):
    net, state, mask = made()
    wrapped = {prefix + n: t for n, t in state.items()}
    assert given(Ticket.from_state(NET, wrapped, mask), net, mask)
    assert given(
        Ticket.from_state(NET, wrapped, {prefix + n: m for n, m in mask.items()}), net, mask
    )


def test_torch_prunes_own_names():
    net, _, mask = made()
    pruned = copy.deepcopy(net)
    for name, part in mask.items():
        prune.custom_from_mask(pruned.get_submodule(name.rpartition(".")[0]), "weight", part)
    for state in (pruned.state_dict(), {f"module.{n}": t for n, t in pruned.state_dict().items()}):
        assert given(Ticket.from_state(NET, state), net, mask)
    assert given(Ticket.from_state(NET, pruned, mask), net, mask)  # a module itself, and its masks
    other = {n: ~m for n, m in mask.items()}
    with pytest.raises(LthError, match=r"mask: 1\.weight is not the state's own"):
        Ticket.from_state(NET, pruned.state_dict(), other)


def test_files_of_torch_save_as_openlth_writes_them(tmp_path):
    net, state, mask = made()
    torch.save({n: m.int() for n, m in mask.items()}, tmp_path / "mask.pth")
    torch.save(state, tmp_path / "weights.pth")
    torch.save({"state_dict": {f"model.{n}": t for n, t in state.items()}}, tmp_path / "lit.ckpt")
    mask_file = tmp_path / "mask.pth"
    assert given(Ticket.from_state(NET, tmp_path / "weights.pth", str(mask_file)), net, mask)
    assert given(Ticket.from_state(NET, tmp_path / "lit.ckpt", mask_file), net, mask)
    with pytest.raises(LthError, match=r"mask\.pth: damaged ticket .*torch\.save.*from_state"):
        Ticket.load(mask_file)
    torch.save({"net": Fixed()}, tmp_path / "pickled.pth")
    with pytest.raises(LthError, match=r"pickled\.pth: .*more than tensors"):
        Ticket.from_state(NET, tmp_path / "pickled.pth", mask)
    with pytest.raises(LthError, match=r"none\.pth: no such file"):
        Ticket.from_state(NET, tmp_path / "none.pth", mask)


def test_a_tied_weight_may_have_both_its_names():
    net, state, mask = made(Plain)
    assert {"first.weight", "again.weight"} <= state.keys() and "again.weight" not in mask
    ticket = Ticket.from_state(Plain, state, mask)
    assert ticket.params.keys() == dict(net.named_parameters()).keys()
    differs = state | {"again.weight": state["again.weight"] + 1}
    with pytest.raises(LthError, match=r"again\.weight and first\.weight are one weight"):
        Ticket.from_state(Plain, differs, mask)


def test_buffers_that_no_state_dict_holds_are_the_models_unless_it_draws_them():
    net, state, mask = made(Fixed)
    assert "scale" not in state
    ticket = Ticket.from_state(Fixed, state, mask)
    assert torch.equal(ticket.buffers["scale"], net.scale)
    drawn = partial(Fixed, drawn=True)
    with pytest.raises(LthError, match="lacks scale, which would be drawn at random"):
        Ticket.from_state(drawn, state, mask)


CHANGES = {
    "a layer is missing": (lambda s, m: (without(s, "3.weight"), m), r"state: it lacks 3\.weight"),
    "a layer too much": (lambda s, m: (s | {"9.weight": torch.ones(2)}, m), r"no 9\.weight"),
    "a prefix on some": (
        lambda s, m: ({("module." if "1" in n else "") + n: t for n, t in s.items()}, m),
        r"state: the model has no module\.1\.weight",
    ),
    "another shape": (
        lambda s, m: (s | {"1.weight": torch.ones(12, 15)}, m),
        r"1\.weight has shape \(12, 15\), in the model \(12, 16\)",
    ),
    "another dtype": (lambda s, m: ({n: t.double() for n, t in s.items()}, m), "torch.float64, in"),
    "not a number": (lambda s, m: (s | {"1.bias": torch.full((12,), torch.nan)}, m), "no finite"),
    "text": (lambda s, m: (s | {"1.bias": "x"}, m), r"state: 1\.bias is a str"),
    "no dict": (lambda s, m: ([1], m), "tensors by name are needed"),
    "a mask of halves": (lambda s, m: (s, {n: t * 0.5 for n, t in m.items()}), "other values than"),
    "a mask of NaN": (lambda s, m: (s, {n: t * torch.nan for n, t in m.items()}), "other values"),
    "a mask of another shape": (
        lambda s, m: (s, {"1.weight": torch.ones(3)}), r"mask: 1\.weight has shape \(3,\)",
    ),
    "a mask of no layer": (lambda s, m: (s, {"7.weight": torch.ones(3)}), r"has no 7\.weight"),
    "a mask of a bias": (lambda s, m: (s, m | {"1.bias": torch.zeros(12)}), "1.bias cannot be"),
    "no mask": (lambda s, m: (s, None), "mask: there is none"),
    "an empty mask": (lambda s, m: (s, {}), "names no weight that can be pruned"),
    "a huge stride-0 mask": (
        lambda s, m: (s, {"1.weight": torch.zeros(1).expand(10**6, 10**6)}), "has shape",
    ),
}  # fmt: skip


def without(state, name):
    return {n: t for n, t in state.items() if n != name}


@pytest.mark.parametrize("change", CHANGES)
def test_what_does_not_fit_is_refused_by_name(change):
    _, state, mask = made()
    damage, words = CHANGES[change]
    with pytest.raises(LthError, match=words) as caught:
        Ticket.from_state(NET, *damage(state, mask))
    assert "\n" not in str(caught.value)


def test_a_network_in_the_place_of_its_factory_is_told_so():
    net, state, mask = made()
    with pytest.raises(LthError, match="give its factory"):
        Ticket.from_state(net, state, mask)


HAND = {
    "an int mask": ({"mask": {"1.weight": torch.ones(12, 16).int()}}, "not booleans"),
    "prune's names": ({"params": {"1.weight_orig": torch.ones(12, 16)}}, "there is 1.weight_orig"),
    "a prefix": ({"params": {"module.1.weight": torch.ones(12, 16)}}, "there is module.1.weight"),
    "another shape": ({"params": {"1.weight": torch.ones(12, 15)}}, r"shape \(12, 16\), the weig"),
    "no tensors": ({"params": {"1.weight": [1]}}, "params must be a dict of tensors"),
    "no spec": ({"model": NET}, "is no spec"),
    "a step": ({"step": -1}, "step=-1"),
    "a half step": ({"step": 0.5}, "step=0.5"),
    "frozen of no mask": ({"frozen": {"x": torch.ones(2)}}, "frozen x"),
    "dynamics": ({"dynamics": {"every": 3}}, "dynamics="),
    "a stretch": ({"stretch": float("nan")}, "stretch=nan"),
}


@pytest.mark.parametrize("what", HAND)
def test_a_ticket_by_hand_is_checked_too(what):
    fields = {
        "model": {"_target_": "tests.toys.mlp", "input_shape": [1, 4, 4], "classes": 4},
        "mask": {"1.weight": torch.ones(12, 16) > 0}, "params": {"1.weight": torch.ones(12, 16)},
        "buffers": {},
    }  # fmt: skip
    change, words = HAND[what]
    Ticket(**fields)
    with pytest.raises(LthError, match=words):
        Ticket(**fields | change)


def test_never_a_silent_fresh_draw():
    """A layer that the state lacks is named; it was drawn at random once."""
    _, state, mask = made()
    ticket = Ticket.from_state(NET, state, mask)
    first = {n: p for n, p in ticket.params.items() if n.startswith("1")}
    lacking = Ticket(
        model=ticket.model, mask={"1.weight": mask["1.weight"]}, params=first, buffers={}
    )
    for make in (lacking.module, lacking.pruned, lambda: network_of(lacking.model, lacking.start)):
        with pytest.raises(LthError, match=r"3\.bias is only in the model|3\.weight"):
            make()
