"""Tickets: what they start from, and the file they travel in."""

import pytest
import torch
from torch import nn

from lth import LthError, Ticket
from lth.networks import masks
from lth.networks.ticket import draw_model, draw_state, layers_of, state_of, tensors_digest

MODEL = {"_target_": "tests.toys.norm_net", "input_shape": [1, 4, 4], "classes": 4}


def ticket():
    layers, generator = layers_of(MODEL), torch.Generator().manual_seed(0)
    mask = {n: torch.rand(s, generator=generator) < 0.3 for n, s in layers.shapes.items()}
    return Ticket(
        model=MODEL, mask=mask, **draw_state(MODEL, 1)._asdict(), step=7, origin={"trial": 2}
    )


def test_it_unpacks_as_mask_params_step():
    made = ticket()
    mask, params, step = made
    assert mask is made.mask and step == 7
    expected = masks.apply(made.params, made.mask)
    assert all(torch.equal(params[n], p) for n, p in expected.items())
    kept = sum(int(m.sum()) for m in mask.values())
    assert made.density == kept / (6 * 9 + 24 * 4)


def test_it_comes_back_from_its_file_in_the_models_order(tmp_path):
    made = ticket()
    made.save(tmp_path / "t.safetensors")
    back = Ticket.load(tmp_path / "t.safetensors")
    assert (back.model, back.step, back.origin) == (MODEL, 7, {"trial": 2})
    for now, then in ((back.mask, made.mask), (back.params, made.params),
                      (back.buffers, made.buffers)):  # fmt: skip
        assert list(now) == list(then)
        assert all(torch.equal(now[n], t) and now[n].dtype == t.dtype for n, t in then.items())


def test_its_file_can_be_read_without_lth(tmp_path):
    from safetensors.torch import load_file

    made = ticket()
    made.save(tmp_path / "t.safetensors")
    tensors = load_file(tmp_path / "t.safetensors")
    assert torch.equal(tensors["params/5.weight"], made.params["5.weight"])  # unmasked
    assert tensors["mask/5.weight"].numel() == 12  # 96 bits


def test_its_module_holds_the_masked_weights():
    module = ticket().module()
    assert isinstance(module, nn.Module)
    state = state_of(module)
    assert all(torch.equal(state.params[n], p) for n, p in ticket().start.params.items())
    assert all(torch.equal(state.buffers[n], b) for n, b in ticket().buffers.items())


def test_a_file_that_is_missing_or_damaged_is_named(tmp_path):
    path = tmp_path / "t.safetensors"
    with pytest.raises(LthError, match="no such ticket file"):
        Ticket.load(path)
    ticket().save(path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    for content in (whole[:-1], bytes(flipped), b"rubbish", b""):
        path.write_bytes(content)
        with pytest.raises(LthError, match=r"t\.safetensors: damaged ticket"):
            Ticket.load(path)


def test_a_draw_is_a_function_of_its_seed_alone():
    before = torch.get_rng_state()
    a, b, other = draw_state(MODEL, 3), draw_state(MODEL, 3), draw_state(MODEL, 4)
    assert tensors_digest(a.params) == tensors_digest(b.params) != tensors_digest(other.params)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_digest_knows_names_types_shapes_and_signs():
    base = torch.tensor([0.0, 1.0])
    others = [
        {"x": base}, {"y": base}, {"x": base.double()}, {"x": base.reshape(2, 1)},
        {"x": torch.tensor([-0.0, 1.0])}, {"x": base, "y": base},
    ]  # fmt: skip
    assert len({tensors_digest(o) for o in others}) == len(others)
    assert tensors_digest({"x": base, "y": base}) == tensors_digest({"y": base, "x": base.clone()})


def test_a_factory_of_something_else_is_refused():
    with pytest.raises(LthError, match=r"tests\.toys\.same gave a int, not an nn\.Module"):
        draw_model({"_target_": "tests.toys.same", "given": 3}, 0)
