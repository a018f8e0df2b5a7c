"""Clustering: k-means in one dimension, the view of shared values, and the move."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch import nn

from lth import LthError, moves
from lth.networks.net import Net
from lth.networks.views import clustered
from lth.networks.views.sharing import shared
from lth.store.restore import net_of
from tests.toys import counts, norm_net, run_study, setup_of, ticket

FEW = partial(moves.cluster, bits=2, steps=6, lr=0.01)


def numbers(count=400, seed=0):
    made = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    return made + made.sign()  # two heaps, as what magnitude pruning leaves


@pytest.mark.parametrize("k", [2, 3, 4, 8])
def test_shared_values_are_those_of_k_means_from_a_linear_start(k):
    x = numbers() if k < 8 else numbers().sin()  # no value is left without numbers on the way
    start = np.linspace(float(x.min()), float(x.max()), k)[:, None]
    oracle = KMeans(k, init=start, n_init=1, max_iter=1000, tol=0).fit(x.double().numpy()[:, None])
    values, ids = shared(x, k)
    expected = torch.tensor(np.sort(oracle.cluster_centers_.ravel()))
    torch.testing.assert_close(values.double(), expected, rtol=1e-5, atol=1e-6)
    order = oracle.cluster_centers_.ravel().argsort().argsort()
    assert ids.tolist() == order[oracle.labels_].tolist()


def test_every_value_is_used_and_is_the_mean_of_its_numbers_which_are_nearest():
    x = torch.cat([numbers(300), torch.tensor([40.0, -70.0])])  # a linear start leaves most unused
    values, ids = shared(x, 16)
    assert ids.bincount(minlength=16).min() > 0
    for j in range(16):
        assert values[j] == pytest.approx(float(x[ids == j].double().mean()), rel=1e-5)
    assert torch.equal(ids, (x[:, None] - values).abs().argmin(1))
    assert torch.equal(values, values.sort().values)


@pytest.mark.parametrize(
    ("x", "k", "values", "ids"),
    [
        ([3.0, 3.0, 1.0, 2.0], 3, [1.0, 2.0, 3.0], [2, 2, 0, 1]),
        ([3.0, 3.0, 1.0, 2.0], 5, [1.0, 2.0, 3.0, 0.0, 0.0], [2, 2, 0, 1]),
        ([5.0, 5.0, 1.0, 2.0], 2, [1.5, 5.0], [1, 1, 0, 0]),
        ([1.0, 2.0, 6.0], 1, [3.0], [0, 0, 0]),
        ([0.1], 4, [0.1, 0.0, 0.0, 0.0], [0]),
        ([], 2, [0.0, 0.0], []),
    ],
)
def test_shared_values_by_hand(x, k, values, ids):
    found = shared(torch.tensor(x), k)
    assert torch.equal(found[0], torch.tensor(values)) and found[1].tolist() == ids


def entropy(ids):
    p = ids.bincount().double() / len(ids)
    return float(-(p[p > 0] * p[p > 0].log2()).sum())


def test_ids_that_are_cheaper_to_code_cost_some_error_and_gain_more():
    x = numbers(4000)
    found = [shared(x, 8, coding) for coding in (0.0, 0.01, 0.05)]
    error = [float(((x - v[i]) ** 2).mean() / x.var()) for v, i in found]
    bits = [entropy(i) for _, i in found]
    assert error == sorted(error) and bits == sorted(bits, reverse=True)
    for weight, (e, b) in zip((0.01, 0.05), zip(error[1:], bits[1:], strict=True), strict=True):
        assert e + weight * b < error[0] + weight * bits[0]
    few = shared(x, 4)
    coded = found[2]  # at no more bits than half as many values need, it errs less
    assert entropy(coded[1]) < entropy(few[1]) + 0.35


def see(view, w, mask=None):
    mask = torch.ones_like(w) if mask is None else mask
    own = view.own("fc.weight", w * mask, mask)
    return view("fc.weight", w, mask, own, True), own


def test_survivors_share_values_and_a_pruned_zero_is_none_of_them():
    w = torch.tensor([[1.0, 0.0, 2.0], [0.0, 4.0, 5.0]])
    mask = (w != 0).float()
    seen, own = see(clustered(k=2), w, mask)
    assert (seen * mask).tolist() == [[1.5, 0.0, 1.5], [0.0, 4.5, 4.5]]
    assert torch.equal(own["values"], torch.tensor([1.5, 4.5]))
    exact, _ = see(clustered(k=4), w, mask)
    assert torch.equal(exact * mask, w)
    few, _ = see(clustered(bits=1), torch.randn(40, 30))
    assert len(few.unique()) == 2
    assert see(clustered(k=300), torch.randn(40, 30))[1]["ids"].dtype == torch.int16


def test_the_gradient_of_a_value_is_the_sum_of_its_members():
    w, mask = torch.tensor([[1.0, 1.5, 7.0, 9.0]]), torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    t = ticket(views={"s": {"_target_": "lth.networks.views.clustered", "k": 2}})
    views = replace(t, params={**t.params}).built_views()
    view = clustered(k=2)
    own = view.own("w", w * mask, mask)
    seen = torch.where(mask.bool(), view("w", w, mask, own, True), 0.0)
    (seen * torch.tensor([[1.0, 10.0, 100.0, 1000.0]])).sum().backward()
    assert own["values"].grad.tolist() == [11.0, 100.0]  # of the pruned one nothing
    weight = t.params["1.weight"].clone().requires_grad_()
    tensors = {n.rpartition("/")[2]: v for n, v in views.own.items() if n.startswith("1.")}
    views.see("1.weight", weight, t.mask["1.weight"].float(), tensors, True).sum().backward()
    assert weight.grad is None  # held


def test_symbols_are_what_is_seen():
    t = ticket(views={"s": {"_target_": "lth.networks.views.clustered", "bits": 2}})
    views, baked = t.built_views(), t.baked().params
    for name, mask in t.mask.items():
        own = {n.rpartition("/")[2]: v for n, v in views.own.items() if n.startswith(name)}
        found = views.views[0].symbols(name, t.params[name], mask.float(), own)
        assert found.ids.dtype == torch.int64 and found.steps is None
        assert torch.equal(torch.where(mask, found.values[found.ids], 0.0), baked[name])


def test_layers_are_chosen_by_name_pattern_and_kind():
    w, conv = torch.randn(4, 9), torch.randn(4, 3, 2, 2)
    ones = torch.ones_like
    for view, names in (
        (clustered(bits=2, layers=["fc*"]), ["fc.weight"]),
        (clustered(bits=2, layers="conv.weight"), ["conv.weight"]),
        (clustered(bits=2, kinds=["conv"]), ["conv.weight"]),
        (clustered(bits={"fc*": 1}), ["fc.weight"]),
    ):
        found = [n for n, t in (("fc.weight", w), ("conv.weight", conv))
                 if view.own(n, t, ones(t)) is not None]  # fmt: skip
        assert found == names
    mixed = clustered(bits={"*": 3, "fc.weight": 1})
    assert len(mixed.own("fc.weight", w, ones(w))["values"]) == 2
    assert len(mixed.own("conv.weight", conv, ones(conv))["values"]) == 8


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: clustered(), "give bits or k, one of the two"),
        (lambda: clustered(bits=2, k=4), "give bits or k, one of the two"),
        (lambda: clustered(bits=0), "bits=0: a whole number in 1..16"),
        (lambda: clustered(bits=17), "bits=17"),
        (lambda: clustered(bits=True), "bits=True"),
        (lambda: clustered(bits={"fc": 2.5}), r"bits\.fc=2\.5"),
        (lambda: clustered(bits={}), "numbers by names or patterns"),
        (lambda: clustered(k=0), "k=0: a whole number of shared values"),
        (lambda: clustered(k=2, coding=-1), "coding=-1: what a bit is worth"),
        (lambda: clustered(k=2, layers=[]), r"layers=\[\]: a list of names"),
        (lambda: clustered(k=2, kinds=["dense"]), "kinds=.*: a list of linear, conv"),
        (lambda: moves.cluster(bits=2, steps=-1), "cluster: steps=-1: a whole number from 0"),
        (lambda: moves.cluster(bits=2, lr=0), "lr=0: a number above 0"),
        (lambda: moves.cluster(), "give bits or k"),
        (lambda: moves.halve(bits=17), "halve: bits=17: a whole number in 1..16"),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(LthError, match=words):
        make()


# -- the move


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"layers": ["fc9"]}, r"method\.m: moves\.cluster: no weight is named 'fc9'"),
        ({"layers": ["1.weigth"]}, r"did you mean 1\.weight\?"),
        ({"bits": {"2.weight": 3}}, r"no weight is named '2\.weight'; did you mean"),
        ({"kinds": ["conv"]}, "no layer is both named and of the kinds conv"),
        ({"layers": ["1"], "bits": {"3": 2}}, "none of these is among the layers chosen"),
    ],
)
def test_a_layer_that_there_is_not_is_refused_before_work(settings, words, tmp_path):
    with pytest.raises(LthError, match=words) as caught:
        setup_of(tmp_path, method={"m": {"moves": [partial(FEW, **settings)]}})
    assert "\n" not in str(caught.value) and not (tmp_path / "store").exists()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Tickets clustered, trained on and halved; clustered after training; with values enough."""
    out = tmp_path_factory.mktemp("clusters")
    done, after = partial(moves.measure), partial(FEW, steps=0)
    return run_study(out, trials=1, levels=[2], method={
        "trained": {"moves": [FEW, partial(moves.halve), done]},
        "after": {"moves": [after, done]},
        "enough": {"moves": [partial(after, bits=None, k=999), done]},
        "some": {"moves": [partial(FEW, bits={"output": 1, "*": 3}), FEW]},
        "on": {"moves": [after, partial(moves.halve, bits=2), partial(moves.train, steps=4)]},
    })  # fmt: skip


def baked(study, arm, phase=None):
    entry = study.entry(arm=arm, level=2, phase=phase)
    return net_of(entry).baked().params, entry


def test_a_clustered_ticket_has_few_values_and_its_mask(study):
    winner, mask = study.entry(level=2).final.params, study.entry(level=2).mask
    for arm, k in (("trained", 4), ("after", 4), ("on", 4)):
        params, entry = baked(study, arm)
        for name, m in mask.items():
            assert torch.equal(entry.mask[name], m)
            assert bool((params[name][~m] == 0).all()) and len(params[name][m].unique()) <= k
            assert torch.equal(entry.final.params[name], winner[name])  # beneath, held to the bit
    params, _ = baked(study, "enough")
    assert all(torch.equal(p, winner[n]) for n, p in params.items())  # lossless


def test_values_and_biases_train_ids_do_not(study):
    first, entry = study.ticket(arm="trained", level=2, phase=1), baked(study, "trained", 1)[1]
    own = {n: t.detach() for n, t in first.built_views().own.items()}
    for name, start in own.items():
        kept = torch.equal((entry.final.params | entry.final.buffers)[name], start)
        assert kept == name.endswith("/ids")
    bias = "1.bias"
    assert not torch.equal(entry.final.params[bias], study.entry(level=2).final.params[bias])


def test_halving_leaves_what_float16_holds_and_changes_little(study):
    one, two = baked(study, "trained", 1)[0], baked(study, "trained", 2)[0]
    assert any(not torch.equal(p, p.half().float()) for p in one.values())
    for name, p in two.items():
        assert torch.equal(p, p.half().float())
        torch.testing.assert_close(p, one[name], rtol=1e-3, atol=1e-6)
    final = study.ticket(arm="on", level=2)
    assert all(len(p.unique()) <= 4 for n, p in final.params.items() if n.endswith("bias"))


def test_clustering_again_is_of_what_was_seen(study):
    first, second = (study.ticket(arm="some", level=2, phase=p) for p in (1, 2))
    (name,) = first.views
    assert first.views[name]["k"] == {"1.weight": 8, "3.weight": 2} and list(second.views) == [name]
    seen, _ = baked(study, "some", 1)
    for weight, mask in first.mask.items():
        assert torch.equal(second.params[weight][mask], seen[weight][mask])
    assert set(second.views[name]["k"].values()) == {4}


def test_it_trains_on_from_what_was_halved(study):
    ticket = study.ticket(arm="on", level=2)
    start, final = study.entry(arm="on", level=2).start, baked(study, "on")[1].final
    for name, t in ticket.owned.items():
        assert torch.equal((start.params | start.buffers)[name], t)
    assert any(not torch.equal(final.params[n], start.params[n]) for n in ticket.owned
               if n in start.params)  # fmt: skip


def test_a_study_of_methods_is_found_again_and_a_module_of_it_is_what_was_measured(study, tmp_path):
    network = study.network(arm="trained", level=2)
    from tests.toys import blobs

    data = blobs(40)
    right = (network(data.prepare(data.test_inputs)).argmax(1) == data.test_targets).double()
    rows = [r for r in study.records if r.arm == "trained" and r.phase == 2]
    (value,) = {r.value for r in rows if (r.split, r.metric) == ("test", "accuracy")}
    assert value == pytest.approx(float(right.mean()))


def conv_study(out, **settings):
    return run_study(out, trials=1, levels=[1], model=norm_net, **settings)


def test_a_layer_that_the_rule_spares_is_clustered_too(tmp_path):
    study = conv_study(
        tmp_path, prune={"output_rate": 0.0},
        method={"m": {"moves": [partial(FEW, kinds=["linear"])]}},
    )  # fmt: skip
    winner, entry = study.entry(level=1), study.entry(arm="m", level=1)
    assert set(winner.mask) == {"0.weight"} and set(entry.mask) == {"0.weight", "5.weight"}
    assert bool(entry.mask["5.weight"].all())
    ticket = study.ticket(arm="m", level=1)
    assert ticket.density == study.ticket(level=1).density
    params = net_of(entry).baked().params
    assert len(params["5.weight"].unique()) <= 4 < len(params["0.weight"].unique())
    assert counts(conv_study(tmp_path, prune={"output_rate": 0.0}, method={
        "m": {"moves": [partial(FEW, kinds=["linear"])]}})) == (0, 4)  # fmt: skip


def test_a_view_of_ones_own_stays_and_what_it_shows_is_clustered():
    base = ticket(views={"scale": {"_target_": "lth.networks.views.scaled", "start": 0.5}})
    from lth.moves.seen import seen

    class Now:
        def now(self):
            return base

    made = seen(Now(), "cluster", "lth.networks.views.clustered", {"1.weight": 999}, coding=0.0)
    assert list(made.views) == ["scale", "cluster"]
    assert torch.equal(made.baked().params["1.weight"], base.baked().params["1.weight"])
    assert torch.equal(made.baked().params["3.weight"], base.baked().params["3.weight"])


def test_a_net_seen_so_is_an_ordinary_module():
    made = ticket(views={"s": {"_target_": "lth.networks.views.clustered", "bits": 1}})
    network = made.module()
    assert isinstance(made.net, Net) and isinstance(network, nn.Module)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.5)
    before = {n: p.clone() for n, p in network.named_parameters()}
    network(torch.randn(8, 1, 4, 4)).square().mean().backward()
    optimizer.step()
    for name, p in network.named_parameters():
        assert torch.equal(p, before[name]) == name.endswith("original")
