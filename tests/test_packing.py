"""Packed networks: bit for bit what they were, in as few bytes as it goes."""

import torch

import lth
from lth.networks.net import Net
from lth.networks.ticket import draw_state

TOY = {"_target_": "lth.models.lenet", "input_shape": [1, 4, 4], "classes": 3, "widths": [8, 6]}


def net_of(model=TOY, density=0.3):
    state = draw_state(model, 0)
    g = torch.Generator().manual_seed(1)
    mask = {n: torch.rand(p.shape, generator=g) < density for n, p in state.params.items()
            if p.ndim > 1}  # fmt: skip
    return Net(model=model, mask=mask, params=state.params, buffers=state.buffers)


def same_outputs(net, module):
    x = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    return torch.equal(net.module().eval()(x), module(x))


def test_a_packed_network_computes_the_same(tmp_path):
    net = net_of()
    content = lth.pack(net, tmp_path / "small.lth")
    assert (tmp_path / "small.lth").read_bytes() == content
    found = lth.unpack(tmp_path / "small.lth")
    assert found.size == len(content)
    assert same_outputs(net, found.module())
