"""Seed streams: pinned, because every published number derives from them."""

import pytest
import torch

from lth import LthError
from lth.streams import check_trials, stream, stream_seed


@pytest.mark.parametrize(
    ("names", "seed"),
    [(("init", 0, 0), 8183523316739648951), (("order", 0, 1, 2, 0, 3), 3515211607322495352)],
)
def test_seeds_are_the_same_on_every_machine(names, seed):
    assert stream_seed(*names) == seed


def test_numbers_are_the_same_on_every_machine():
    assert torch.randperm(5, generator=stream("split", 0, 0)).tolist() == [4, 3, 2, 1, 0]
    drawn = torch.randn(3, generator=stream("arm", 0, 0, "random_reinit", 1, 0))
    torch.testing.assert_close(drawn, torch.tensor([0.1947, -0.6029, -1.2672]), atol=1e-4, rtol=0)


def test_other_names_give_other_numbers_and_types_count():
    names = [(a, b, c) for a in ("order", "augment") for b in range(20) for c in range(20)]
    names += [("a", 1), ("a1",), ("a", "1"), ("a", 1, 1), ("a", 11)]
    assert len({stream_seed(*n) for n in names}) == len(names)


def test_a_stream_is_fresh_each_time_and_apart_from_the_global_one():
    before = torch.get_rng_state()
    a, b = (torch.rand(4, generator=stream("x", 1)) for _ in range(2))
    assert torch.equal(a, b)
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_fit_torchs_generators():
    assert all(0 <= stream_seed("x", i) < 2**63 for i in range(1000))


def test_trials_whose_generators_would_be_one_are_refused():
    check_trials(0, 15_000)
    with pytest.raises(LthError, match="trials 15872 and 20352 would draw the same numbers"):
        check_trials(0, 20_353)
    drawn = [torch.Generator().manual_seed(stream_seed("init", 0, t)) for t in (15_872, 20_352)]
    assert torch.equal(*(torch.rand(3, generator=g) for g in drawn))  # as the line says
