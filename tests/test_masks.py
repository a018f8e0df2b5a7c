"""Mask arithmetic: its algebra, by property tests, and its files."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lth import LthError
from lth.networks import masks
from lth.networks.layers import Layers

SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)


@st.composite
def several_masks(draw, count):
    """Masks over the same weights, of any shapes, also empty ones."""
    shapes = draw(st.lists(SHAPES, min_size=1, max_size=3))
    found = []
    for _ in range(count):
        mask = {}
        for number, shape in enumerate(shapes):
            size = math.prod(shape)
            bits = draw(st.lists(st.booleans(), min_size=size, max_size=size))
            mask[f"w{number}"] = torch.tensor(bits, dtype=torch.bool).reshape(shape)
        found.append(mask)
    return found


def layers_of(mask, extra=0):
    shapes = {n: tuple(m.shape) for n, m in mask.items()}
    if extra:
        shapes["spared"] = (extra,)
    return Layers(shapes, frozenset(), list(shapes)[-1])


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


@given(several_masks(1))
def test_apply_is_zero_where_pruned_and_untouched_elsewhere(found):
    (mask,) = found
    params = {n: torch.randn(m.shape) for n, m in mask.items()} | {"bias": torch.randn(3)}
    masked = masks.apply(params, mask)
    assert list(masked) == list(params)
    for name, m in mask.items():
        assert torch.equal(masked[name][m], params[name][m])
        gone = masked[name][~m]
        assert torch.equal(gone, torch.zeros_like(gone)) and not gone.signbit().any()
    assert torch.equal(masked["bias"], params["bias"])
    assert equal(masks.apply(masked, mask), masked)


def test_apply_does_not_let_a_pruned_infinity_through():
    mask = {"w": torch.tensor([True, False, False])}
    params = {"w": torch.tensor([1.0, math.inf, math.nan])}
    assert masks.apply(params, mask)["w"].tolist() == [1.0, 0.0, 0.0]


@given(several_masks(1), st.integers(0, 9))
def test_density_counts_the_unprunable_as_kept(found, extra):
    (mask,) = found
    layers = layers_of(mask, extra)
    if layers.total == 0:
        return
    kept = sum(int(m.sum()) for m in mask.values())
    assert masks.kept(mask) == {n: int(m.sum()) for n, m in mask.items()}
    assert masks.density(mask, layers) == (kept + extra) / (layers.total)


def test_a_full_mask_keeps_all_of_what_it_names():
    layers = Layers({"a": (2, 3), "b": (4,)}, frozenset(), "b")
    mask = masks.full(layers, ["a"])
    assert list(mask) == ["a"] and mask["a"].all() and mask["a"].shape == (2, 3)
    assert masks.density(mask, layers) == 1.0


@given(several_masks(3))
def test_intersection_and_overlap_are_those_of_sets(found):
    a, b, c = found
    both = masks.intersect(a, b)
    assert equal(both, masks.intersect(b, a))
    assert equal(masks.intersect(both, c), masks.intersect(a, masks.intersect(b, c)))
    assert equal(masks.intersect(a, a), a)
    assert masks.is_nested(both, a) and masks.is_nested(both, b)
    sets = [{(n, i) for n, m in x.items() for i in m.reshape(-1).nonzero()[:, 0].tolist()}
            for x in (a, b)]  # fmt: skip
    union = sets[0] | sets[1]
    expected = len(sets[0] & sets[1]) / len(union) if union else 1.0
    assert masks.overlap(a, b) == masks.overlap(b, a) == expected
    assert masks.is_nested(a, b) == (sets[0] <= sets[1])
    either = masks.unite(a, b)
    assert sum(masks.kept(either).values()) == len(union)
    assert masks.is_nested(a, either) and masks.is_nested(b, either)


@given(several_masks(1))
def test_packing_gives_the_mask_back_in_an_eighth_of_the_bytes(found):
    (mask,) = found
    for m in mask.values():
        bits = masks.pack(m)
        assert bits.numel() == math.ceil(m.numel() / 8)
        assert torch.equal(masks.unpack(bits, m.shape), m)


@given(several_masks(1))
def test_a_mask_comes_back_from_its_file(tmp_path_factory, found):
    (mask,) = found
    path = tmp_path_factory.mktemp("mask") / "mask.safetensors"
    masks.save_mask(path, mask)
    assert equal(masks.load_mask(path), dict(sorted(mask.items())))


def test_masks_of_different_weights_are_not_compared():
    a, b = {"x": torch.ones(2) > 0}, {"y": torch.ones(2) > 0}
    for function in (masks.intersect, masks.unite, masks.overlap, masks.is_nested):
        with pytest.raises(LthError, match=r"different weights: \['x', 'y'\]"):
            function(a, b)


def test_a_file_that_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(LthError, match=r"nothing\.safetensors: no such file"):
        masks.load_mask(tmp_path / "nothing.safetensors")
    path = tmp_path / "mask.safetensors"
    masks.save_mask(path, {"w": torch.ones(100) > 0})
    whole = path.read_bytes()
    for content in (whole[:-3], b"rubbish", b"", whole[:20]):
        path.write_bytes(content)
        with pytest.raises(LthError, match=r"mask\.safetensors: damaged"):
            masks.load_mask(path)
