"""A ticket's module stays a ticket, whoever trains it, and in every copy of it."""

import copy
import dataclasses
import pickle
from functools import partial

import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune as prune
from torch import nn

from lth import LthError, Ticket
from lth.networks import masks
from lth.networks.ticket import state_of
from tests.toys import Plain, mlp, norm_net

NORM = partial(norm_net, input_shape=[1, 4, 4], classes=4)
NET = partial(mlp, input_shape=[1, 4, 4], classes=4)

OPTIMIZERS = {
    "adam": partial(torch.optim.Adam, lr=0.05),
    "adamw": partial(torch.optim.AdamW, lr=0.05, weight_decay=0.1),
    "sgd": partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "rmsprop": partial(torch.optim.RMSprop, lr=0.01, momentum=0.5, centered=True),
    "rprop": partial(torch.optim.Rprop, lr=0.01),
    "maximizing": partial(torch.optim.Adam, lr=0.01, maximize=True, amsgrad=True),
}

COPIES = {
    "itself": lambda m: m,
    "deepcopy": copy.deepcopy,
    "pickle": lambda m: pickle.loads(pickle.dumps(m)),
    "double": lambda m: m.double(),
    "after a pass": lambda m: copy.deepcopy(trained(m, OPTIMIZERS["sgd"], 1)),
}


def ticket(factory=NORM, **changes):
    torch.manual_seed(3)
    net = factory()
    mask = {n: torch.rand_like(p) < 0.4 for n, p in net.named_parameters() if p.ndim > 1}
    return dataclasses.replace(Ticket.from_state(factory, net.state_dict(), mask), **changes)


def trained(module, optimizer, steps=5):
    found = optimizer(module.parameters())
    generator = torch.Generator().manual_seed(0)
    kind = next(module.parameters()).dtype
    for _ in range(steps):
        inputs = torch.randn(8, 1, 4, 4, generator=generator).to(kind)
        found.zero_grad()
        F.cross_entropy(module(inputs), torch.arange(8) % 4).backward()
        found.step()
    return module


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_pruned_weights_stay_exactly_zero(optimizer, kind):
    made = ticket()
    module = trained(COPIES[kind](made.module()), OPTIMIZERS[optimizer])
    state = dict(module.named_parameters())
    for name, mask in made.mask.items():
        assert not state[name][~mask].any()
        moved = state[name].detach().float() != made.params[name]
        assert moved[mask].float().mean() > 0.9


def test_names_and_state_dicts_are_those_of_the_plain_network():
    made = ticket()
    module = made.module()
    assert module.state_dict().keys() == NORM().state_dict().keys()
    plain = NORM()
    plain.load_state_dict(trained(module, OPTIMIZERS["adam"]).state_dict())
    inputs = torch.randn(3, 1, 4, 4)
    assert torch.equal(plain.eval()(inputs), module.eval()(inputs))
    assert state_of(made.module()).params.keys() == made.params.keys()


class Mixing(torch.optim.Optimizer):
    """As Muon's, its updates mix the weights of a layer: no gradient of 0 keeps one where it is."""

    def __init__(self, params):
        super().__init__(params, {})

    @torch.no_grad()
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            p.add_(p.grad.mean() + 0.1)


@pytest.mark.parametrize("kind", COPIES)
def test_its_states_are_a_tickets_whatever_was_loaded_and_however_it_was_trained(kind):
    made = ticket()
    module = trained(COPIES[kind](made.module()), Mixing, 2)
    state = nn.ModuleDict({"net": module}).state_dict()
    assert all(not state[f"net.{n}"][~m].any() for n, m in made.mask.items())
    module.load_state_dict(NORM().state_dict())
    assert all(not module.get_parameter(n)[~m].any() for n, m in made.mask.items())


def test_a_part_called_by_itself_a_tied_weight_and_a_functional_call():
    made = ticket(Plain)
    module = copy.deepcopy(made.module())
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    for _ in range(3):  # the parts alone: the whole module's own forward never runs
        optimizer.zero_grad()
        module.output(module.again(module.first(torch.randn(5, 16))).relu()).sum().backward()
        optimizer.step()
    assert module.again.weight is module.first.weight
    assert all(not module.get_parameter(n)[~m].any() for n, m in made.mask.items())
    weights = {n: p.detach() + 1 for n, p in module.named_parameters()}
    torch.func.functional_call(module, weights, (torch.randn(2, 16),))
    assert all((w == module.get_parameter(n) + 1).all() for n, w in weights.items())


def test_frozen_values_stay_under_decay():
    made = ticket()
    frozen = {n: torch.where(m, 0.0, 0.25) for n, m in made.mask.items()}
    made = dataclasses.replace(made, frozen=frozen)
    module = trained(made.module(), OPTIMIZERS["sgd"])
    module(torch.randn(2, 1, 4, 4))
    for name, mask in made.mask.items():
        assert (module.get_parameter(name)[~mask] == 0.25).all()
    with pytest.raises(LthError, match="frozen at values"):
        made.pruned()


@pytest.mark.parametrize("factory", [NORM, NET, Plain], ids=["norms", "mlp", "tied"])
def test_the_masks_of_torch_prune_are_in_place_and_round_trip(factory):
    made = ticket(factory)
    module = made.pruned()
    assert {n for n in module.state_dict() if n.endswith("weight_mask")} >= {
        f"{n}_mask" for n in made.mask
    }
    again = Ticket.from_state(factory, module.state_dict())
    assert again == made  # values beneath the mask too
    inputs = torch.randn(3, 1, 4, 4)
    assert torch.equal(module.eval()(inputs), made.module().eval()(inputs))
    trained(copy.deepcopy(pickle.loads(pickle.dumps(made.pruned()))), OPTIMIZERS["sgd"])
    trained(module, OPTIMIZERS["sgd"])
    for owner in module.modules():
        if prune.is_pruned(owner) and isinstance(owner, nn.Linear | nn.Conv2d):
            prune.remove(owner, "weight")
    assert all(not module.get_parameter(n)[~m].any() for n, m in made.mask.items())


def test_a_network_of_ones_own_can_be_filled():
    made = ticket()
    net = NORM()
    before = copy.deepcopy(net.state_dict())
    module = made.module(model=net)
    expected = masks.apply(made.params, made.mask)
    assert all(torch.equal(module.get_parameter(n), p) for n, p in expected.items())
    assert all(torch.equal(net.state_dict()[n], t) for n, t in before.items())  # a copy
    with pytest.raises(LthError, match=r"0\.weight is only in the state"):
        made.module(model=NET)


def replicated(module):
    """What ``nn.DataParallel`` makes of a module on each device: tensors where weights were."""
    copies = {m: m._replicate_for_data_parallel() for m in module.modules()}
    for own, replica in copies.items():
        for name, child in own._modules.items():
            replica._modules[name] = copies[child]
        for name, weight in own._parameters.items():
            setattr(replica, name, weight if weight is None else weight * 1)
    return copies[module]


def test_replicas_of_data_parallel_train_the_ticket_alone_also_of_a_copy():
    made = ticket()
    module = copy.deepcopy(made.module())  # whose weights have lost their hooks
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        outputs = replicated(module)(torch.randn(8, 1, 4, 4))
        F.cross_entropy(outputs, torch.arange(8) % 4).backward()
        optimizer.step()
    for name, mask in made.mask.items():
        weight = module.get_parameter(name)
        assert not weight[~mask].any() and not weight.grad[~mask].any()
        assert (weight.detach() != made.params[name])[mask].any()


def test_a_module_saved_whole_is_a_ticket_again(tmp_path):
    made = ticket()
    torch.save(made.module().to(torch.float64), tmp_path / "whole.pt")
    module = torch.load(tmp_path / "whole.pt", weights_only=False)
    assert module.state_dict().keys() == NORM().state_dict().keys()
    module = trained(module.to(torch.float32), OPTIMIZERS["adamw"])
    assert all(not module.get_parameter(n)[~m].any() for n, m in made.mask.items())
