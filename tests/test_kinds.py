"""Kinds: what a plain value may stand for, and that nothing legitimate is refused."""

import enum
import functools
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Protocol, TypeVar

import numpy as np
import pytest
import torch
from torch import nn

from lth import LthError
from lth.spec.argument_types import check_kinds, number, one_of, whole
from lth.spec.build import build
from lth.types import Score

T = TypeVar("T")
Width = NewType("Width", int)


class Colour(enum.Enum):
    RED = "red"


class Sized(Protocol):
    size: int


def takes(annotation, default=...):
    """A factory of one argument ``x``."""

    def factory(**given):
        return given

    from inspect import Parameter, Signature

    parameter = Parameter("x", Parameter.KEYWORD_ONLY, annotation=annotation,
                          default=Parameter.empty if default is ... else default)  # fmt: skip
    factory.__signature__ = Signature([parameter])
    return factory


REFUSED = [
    (bool, "no", "true or false"), (bool, 1, "true or false"), (bool, None, "true or false"),
    (int, 1.0, "a whole number"), (int, True, "a whole number"), (int, "3", "a whole number"),
    (float, "high", "a number"), (float, True, "a number"), (float | None, "two", "a number or nu"),
    (str, None, "text"), (str, 2024, "text; put it in quotes"), (str | None, 1.5, "text or null; "),
    (Sequence[str], None, "a Sequence"), (list[int], 3, "a list"), (tuple, "x", "a tuple"),
    (Mapping[str, float] | None, 0.2, "a Mapping or null"), (dict, "x", "a dict"),
    (Callable[..., Any], "rubbish", "a Callable"), (Score, "rubbish", "a Score"),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value", "words"), REFUSED, ids=str)
def test_what_an_annotation_rules_out_is_refused_by_name(annotation, value, words):
    with pytest.raises(LthError, match=rf"mine\.f: x={value!r}: it must be {words}") as caught:
        check_kinds("mine.f", takes(annotation), {"x": value})
    assert "\n" not in str(caught.value)


PASS = [
    (bool, False), (int, 3), (int, 10**30), (float, 3), (float, 0.5), (float, float("nan")),
    (complex, 1), (str, "no"), (str, ""), (int | str, "auto"), (float | None, None),
    (int | None, None), (None, None), (Any, "x"), (object, None), (T, 3), ("nowhere.Kind", 3),
    (Literal["a", "b"], "a"), (Literal[1] | None, 1), (Annotated[int, "from 1"], 3), (Width, 3),
    (Path, "data"), (str | PathLike, "data"), (Real, 3), (Hashable, "x"), (Sequence[str], "abc"),
    (Colour, "red"), (torch.dtype, "float32"), (torch.device | None, "cpu"), (Sized, "x"),
    (int, [1]), (bool, {"a": 1}), (nn.Module, "relu"),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value"), PASS, ids=str)
def test_what_may_be_right_passes(annotation, value):
    check_kinds("mine.f", takes(annotation), {"x": value})


@pytest.mark.parametrize("default", [None, 0.5, 0, "32"], ids=repr)
def test_a_default_says_what_else_may_be(default):
    check_kinds("mine.f", takes(bool, default), {"x": default})
    with pytest.raises(LthError, match="true or false"):
        check_kinds("mine.f", takes(bool, default), {"x": [1.5, "no"][isinstance(default, float)]})


def broken(of: Path, to: Colour, by: "nn.Module") -> None:
    raise AttributeError("no such thing\nin detail")


def test_after_an_error_whatever_is_not_of_its_kind_is_named_with_the_error():
    words = r"test_kinds\.broken: to='red': it must be a Colour \(no such thing\)$"
    with pytest.raises(LthError, match=words) as caught:
        build({"_target_": "tests.test_kinds.broken", "of": "data", "to": "red", "by": "relu"})
    assert isinstance(caught.value.__cause__, AttributeError)


def plain(of: int) -> None:
    raise AttributeError("no such thing")


def test_an_error_with_nothing_amiss_is_told_with_its_file_and_line():
    words = r"^tests\.test_kinds\.plain: AttributeError: no such thing \(\S*test_kinds\.py:\d+, in"
    with pytest.raises(LthError, match=words) as caught:
        build({"_target_": "tests.test_kinds.plain", "of": 3})
    assert isinstance(caught.value.__cause__, AttributeError)


def epochs(length: int, per_epoch: int = 1) -> int:
    return length * per_epoch


def test_only_what_the_spec_says_is_looked_at():
    assert build({"_target_": "tests.test_kinds.epochs", "length": 2}, per_epoch=1.5) == 3.0


class Deaf:
    __hash__ = None

    def __call__(self, x: int):
        return x


@pytest.mark.parametrize(
    "factory", [len, dict, functools.partial(epochs, per_epoch=2), Deaf(), torch.optim.Adam],
    ids=lambda f: type(f).__name__,
)  # fmt: skip
def test_any_factory_can_be_asked(factory):
    check_kinds("mine.f", factory, {"x": "y", "length": 3})


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("(0, 1)", [0.5, np.float32(0.5), 1e-9], [0, 1, 1.0, -0.1]),
        ("[0, 1)", [0, 0.0, 0.5], [1, -1e-9]),
        ("(0, 1]", [1, 1.0, np.float64(0.5)], [0, 1.0001]),
        ("(0, inf]", [float("inf"), 1e300, 3], [0, float("-inf")]),
        ("(-inf, inf)", [0, -3, 1e300], [float("inf"), float("-inf")]),
    ],
)
def test_a_number_lies_in_its_interval(interval, inside, outside):
    for value in inside:
        assert number("x", value, interval) is value
    for value in (*outside, float("nan"), True, False, None, "0.5", [0.5], 0.5j):
        with pytest.raises(LthError, match=rf"^x=.*: a share, in {re.escape(interval)}$"):
            number("x", value, interval, "a share")


def test_whole_numbers_and_choices_are_refused_by_name():
    assert whole("x", 3, 3) == 3 and one_of("x", "a", ("a", "b")) == "a"
    for value in (2, -1, 3.0, True, None, "3", float("nan")):
        with pytest.raises(LthError, match=r"^x=.*: a number of steps from 3$"):
            whole("x", value, 3, "a number of steps")
    for value in ("c", None, 1, ["a"]):
        with pytest.raises(LthError, match=r"^x=.*: it is one of a, b$"):
            one_of("x", value, ("a", "b"))
