"""Specs: named factories with plain arguments, and the digests that keys are made of."""

import functools
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lth import LthError
from lth.pruning.rules import Layerwise, layerwise
from lth.spec.build import build, complete, digest, fill, plain, spec_of
from lth.spec.names import locate
from tests.toys import mlp

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


def test_locate_finds_functions_classes_and_methods():
    assert locate("lth.pruning.rules.layerwise") is layerwise
    assert locate("torch.optim.Adam") is torch.optim.Adam
    assert locate("lth.pruning.rules.Layerwise.by_layer") is Layerwise.by_layer


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (
            "lth.pruning.rules.layerwize",
            r"_target_ lth\.prune\.layerwize: lth\.prune has no 'layerwize'",
        ),
        ("nowhere.at.all", "no module of that name on the path"),
        ("layerwise", "no module of that name on the path"),
    ],
)
def test_a_target_that_is_not_there_is_named(target, words):
    with pytest.raises(LthError, match=words):
        locate(target)


def test_a_module_that_lacks_another_says_which(tmp_path, monkeypatch):
    (tmp_path / "broken_one.py").write_text("import surely_not_installed\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(LthError, match="importing broken_one needs the missing surely_not"):
        locate("broken_one.thing")


def test_build_builds_what_is_nested_first_and_fills_only_what_lacks():
    spec = {
        "_target_": "tests.toys.same",
        "given": [{"_target_": "fractions.Fraction", "numerator": 2}],
    }
    assert build(spec) == [2]
    target = {"_target_": "tests.toys.mlp"}
    assert build(target, input_shape=(1, 4, 4), classes=3, nothing=1)[-1].out_features == 3
    assert build({**target, "classes": 5}, input_shape=(1, 4, 4), classes=3)[-1].out_features == 5


def test_a_misspelt_or_missing_argument_is_named_with_what_there_is():
    with pytest.raises(LthError, match=r"takes no 'ratee'; it takes rate, conv_rate"):
        build({"_target_": "lth.pruning.rules.layerwise", "ratee": 0.1})
    with pytest.raises(LthError, match=r"tests\.toys\.mlp needs 'input_shape'"):
        build({"_target_": "tests.toys.mlp", "classes": 2})
    with pytest.raises(LthError, match="needs a _target_"):
        build({"rate": 0.1})


def test_fill_gives_what_a_factory_takes_and_does_not_have():
    spec = {"_target_": "tests.toys.mlp", "classes": None}
    found = fill(spec, classes=4, input_shape=[1], other=1)
    assert found == {"_target_": "tests.toys.mlp", "classes": 4, "input_shape": [1]}
    assert spec["classes"] is None


def test_complete_writes_defaults_out_but_not_torchs():
    found = complete({"_target_": "lth.pruning.rules.globally", "rate": 0.3})
    assert found == {
        "_target_": "lth.pruning.rules.globally",
        "rate": 0.3,
        "spare": [],
        "include": [],
    }
    adam = {"_target_": "torch.optim.Adam"}
    assert complete({"deep": [adam]}) == {"deep": [adam]}
    assert complete(complete(found)) == found


def test_a_factory_and_its_partial_are_specs():
    assert spec_of(mlp) == {"_target_": "tests.toys.mlp"}
    nested = functools.partial(functools.partial(mlp, width=3), classes=4)
    assert spec_of(nested) == {"_target_": "tests.toys.mlp", "width": 3, "classes": 4}
    from lth.models import lenet  # known by its package's name, as in the YAMLs

    assert spec_of(lenet)["_target_"] == "lth.models.lenet"
    assert spec_of({"_target_": "lth.b", "n": (1, 2)}) == {"_target_": "lth.b", "n": [1, 2]}


def test_what_cannot_be_named_is_refused():
    with pytest.raises(LthError, match="define it at the top level"):
        spec_of(lambda: None)
    with pytest.raises(LthError, match="give the partial's arguments by name"):
        spec_of(functools.partial(mlp, 3))
    with pytest.raises(LthError, match="neither a spec"):
        spec_of(3)
    with pytest.raises(LthError, match="cannot stand in a configuration"):
        plain({"x": torch.zeros(2)})


@given(PLAIN)
def test_plain_data_is_jsons_and_equal_data_has_equal_digests(value):
    found = plain(value)
    assert plain(found) == found
    assert json.loads(json.dumps(found)) == found
    assert digest(found) == digest(json.loads(json.dumps(found)))


@given(st.dictionaries(st.text(), PLAIN, min_size=2))
def test_a_digest_does_not_know_the_order_of_keys(value):
    assert digest(plain(value)) == digest(plain(dict(reversed(value.items()))))


def test_a_digest_tells_values_apart():
    values = [1, 1.5, "1", True, None, [1], {"1": 1}, {"1": 2}, [], {}]
    assert len({digest(v) for v in values}) == len(values)
    with pytest.raises(ValueError):
        digest(float("nan"))
