"""Which weights a model has."""

import pytest
import torch
from torch import nn

from lth import LthError
from lth.moves import layers as moves_layers
from lth.networks.layers import Layers, describe
from lth.networks.views import rounded
from lth.networks.views.chosen import number_for
from lth.spec.build import complete
from lth.spec.patterns import names_in_text
from lth.spec.plain import plain


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.up = nn.ConvTranspose1d(2, 4, 5)
        self.norm = nn.BatchNorm2d(3)
        self.embedding = nn.Embedding(10, 4)
        self.free = nn.Parameter(torch.zeros(7))
        self.head = nn.Linear(4, 10)


def test_weights_are_those_of_linear_and_conv_and_nothing_else():
    layers = describe(Branches())
    assert layers.shapes == {
        "conv.weight": (3, 2, 3, 3), "up.weight": (2, 4, 5), "head.weight": (10, 4),
    }  # fmt: skip
    assert layers.convs == {"conv.weight", "up.weight"}
    assert layers.output == "head.weight"
    assert layers.sizes == {"conv.weight": 54, "up.weight": 40, "head.weight": 40}
    assert layers.total == 134


def test_a_tied_weight_counts_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    model[1].weight = model[0].weight
    assert describe(model).sizes == {"0.weight": 9, "2.weight": 6}


def test_a_weight_tied_to_an_embedding_is_found_by_its_own_name():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5, bias=False))
    model[1].weight = model[0].weight
    assert describe(model).shapes == {"0.weight": (5, 3)}


def test_a_model_without_weights_is_refused():
    with pytest.raises(LthError, match="ReLU has no Linear or Conv weights"):
        describe(nn.ReLU())


LAYERS = Layers({"conv1.weight": (4,), "conv2.weight": (4,), "fc.weight": (4,)},
                frozenset({"conv1.weight", "conv2.weight"}), "fc.weight")  # fmt: skip


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["conv*"], {"conv1.weight", "conv2.weight"}),
        (["output"], {"fc.weight"}),
        (["output", "*1*"], {"fc.weight", "conv1.weight"}),
        ([], set()),
    ],
)
def test_patterns_name_weights(patterns, names):
    assert LAYERS.match(patterns) == names


def test_a_pattern_that_names_nothing_is_refused_with_what_there_is():
    with pytest.raises(LthError, match=r"no weight is named 'convv\*'; there are conv1.weight, "):
        LAYERS.match(["convv*"])


def test_one_way_to_name_a_layer_everywhere():
    layers = describe(nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)))
    for pattern in ("2", 2, "2.weight", "[2]*", "output"):
        assert layers.match([pattern]) == {"2.weight"}
        assert moves_layers.names_in("x", layers, names_in_text([pattern]), ["linear"]) == [
            "2.weight"
        ]
    assert number_for("2.weight", {"*": 4, "2": 3}) == 3 == number_for("2.weight", {"2.weight": 3})
    made = rounded(bits={"2": 3, "0": 2}, layers=[0])
    weight = torch.ones(2, 3)
    assert made.own("2.weight", weight, weight) is None
    assert made.own("0.weight", weight, weight) == {}
    with pytest.raises(LthError, match=r"no weight is named '1'; there are 0\.weight, 2\.weight"):
        layers.match(["1"])


def test_a_number_that_names_a_layer_is_text_among_arguments_of_this_package():
    spec = plain({"_target_": "lth.moves.low_rank", "rank": {2: 5}})
    assert spec["rank"] == {"2": 5} == complete({**spec, "rank": {2: 5}})["rank"]
    with pytest.raises(LthError, match="the key 2 must be text"):
        plain({"_target_": "tests.toys.blobs", "x": {2: 5}})
    with pytest.raises(LthError, match="the key True must be text"):
        plain({"_target_": "lth.moves.low_rank", "rank": {True: 5}})
