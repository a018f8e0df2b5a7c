"""A spec: the plain, hashable description of an object, ``{_target_: factory, **arguments}``.

Everything that a study is made of is named by a spec, whether it was written in YAML or in Python,
so the command and ``lth.run`` are the same study and every worker process can build its own copy.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import math
from collections.abc import Mapping
from typing import Any

from lth.errors import LthError, told
from lth.spec.argument_types import check_kinds, kinds_of
from lth.spec.names import locate
from lth.spec.plain import PARTIAL, TUPLE, Spec, key_of, ours, plain, short, spec_of, target_of

__all__ = ["Spec", "build", "locate", "plain", "spec_of", "target_of"]


def build(spec: Mapping[str, Any], **extra: Any) -> Any:
    """Call the factory of ``spec`` with its arguments, nested specs first.

    ``extra`` fills parameters that the factory has and the spec leaves out; the rest is dropped.

    >>> build({"_target_": "fractions.Fraction", "numerator": 3}, denominator=4)
    Fraction(3, 4)
    """
    target = target_of(spec)
    factory = locate(target)
    given = arguments(spec)
    if spec.get(PARTIAL):
        return functools.partial(factory, **given) if given else factory
    accepted = parameters_of(target, factory)
    called_with = {k: v for k, v in extra.items() if k in accepted} | given
    _check_arguments(target, accepted, called_with)
    try:
        made = factory(**called_with)
    except LthError:
        raise  # the factory's own words say it best
    except Exception as error:
        check_kinds(target, factory, given, error)
        raise LthError(f"{target}: {told(error)}") from error
    check_kinds(target, factory, given)
    return made


def arguments(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``spec`` as its factory gets them: tuples, and what specs make."""
    return {k: _build_nested(v) for k, v in spec.items() if k not in ("_target_", PARTIAL)}


def parameters_of(target: str, factory: Any) -> Mapping[str, inspect.Parameter]:
    """Return what a factory takes, by name."""
    try:
        return inspect.signature(factory).parameters
    except (TypeError, ValueError):
        what = "has no signature" if callable(factory) else f"is a {type(factory).__name__}"
        raise LthError(f"_target_ {target}: it {what}: name a function or a class") from None


def _build_nested(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "_target_" in value:
            return build(value)
        if TUPLE in value:
            return tuple(_build_nested(v) for v in untagged(value))
        return {k: _build_nested(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_build_nested(v) for v in value])
    return value


def untagged(value: Any) -> Any:
    """Return the list that stands in a ``{_tuple_: list}``, any other value as it is."""
    if not isinstance(value, Mapping) or TUPLE not in value:
        return value
    if len(value) > 1 or not isinstance(value[TUPLE], list):
        raise LthError(f"{short(value)}: a tuple is written {{{TUPLE}: [...]}}, with nothing else")
    return value[TUPLE]


def _check_arguments(target: str, accepted: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    kinds = inspect.Parameter
    if not any(p.kind is kinds.VAR_KEYWORD for p in accepted.values()):
        for name in given:
            if name not in accepted:
                raise LthError(f"{target} takes no {name!r}; it takes {', '.join(accepted)}")
    for name, parameter in accepted.items():
        optional = parameter.kind in (kinds.VAR_KEYWORD, kinds.VAR_POSITIONAL)
        if parameter.default is kinds.empty and not optional and name not in given:
            raise LthError(f"{target} needs {name!r}")


def fill(spec: Mapping[str, Any], **extra: Any) -> Spec:
    """Return ``spec``, completed by those of ``extra`` that its factory takes and it lacks.

    So is the ``model`` that it may be of.
    """
    target = target_of(spec)
    factory = locate(target)
    accepted = parameters_of(target, factory)
    missing = {
        k: _as_asked(v, accepted[k], target, factory)
        for k, v in extra.items()
        if k in accepted and spec.get(k) is None
    }
    found = {**spec, **missing}
    inner = spec.get("model")
    if isinstance(inner, Mapping) and "_target_" in inner:  # a rewrite is of another model
        found["model"] = fill(inner, **extra)
    return found


def complete(value: Any, of: str = "") -> Any:
    """Return plain data with the defaults of every spec's factory written out.

    So a factory named in Python and one named in YAML, argument by argument, are one thing; a list
    in YAML is a tuple where that is what the factory asks for. A default that no YAML can hold (a
    class, a dtype) is left to the factory. Torch's own factories are left alone: their lists of
    arguments change from version to version. ``of`` is the factory whose argument it is.
    """
    if isinstance(value, list):
        return [complete(v, of) for v in value]
    if not isinstance(value, Mapping):
        return value
    of = str(value.get("_target_", of))
    whole = {key_of(k, target="" if "_target_" in value else of): complete(v, of)
             for k, v in value.items()}  # fmt: skip
    if "_target_" not in value or str(value["_target_"]).startswith("torch."):
        return whole
    target = target_of(value)
    factory = locate(target)
    if whole.get(PARTIAL):
        return whole
    for name, parameter in parameters_of(target, factory).items():
        if name in whole:
            whole[name] = _as_asked(whole[name], parameter, target, factory)
        elif parameter.kind is not parameter.POSITIONAL_ONLY and _written(parameter.default):
            whole[name] = plain(parameter.default, name, target)
    return whole


def _written(default: Any) -> bool:
    """Whether plain data holds exactly this default."""
    if isinstance(default, float):
        return type(default) is float and math.isfinite(default)
    if type(default) in (list, tuple):
        return all(_written(v) for v in default)
    if type(default) is dict:
        return all(type(k) is str and _written(v) for k, v in default.items())
    return default is None or type(default) in (bool, int, str)


def _as_asked(value: Any, parameter: inspect.Parameter, target: str, factory: Any) -> Any:
    """Make a tuple of a list where a factory of the user's has one as its default, or says so."""
    if ours(target) or not isinstance(value, list):
        return value
    if isinstance(parameter.default, tuple):
        return _like(value, parameter.default)
    kinds = kinds_of(factory).get(parameter.name, ())
    sequences = [k for k in kinds if isinstance(k, type) and issubclass(list, k)]
    return {TUPLE: value} if tuple in kinds and not sequences else value


def _like(value: Any, default: Any) -> Any:
    """Make tuples of lists where the default has tuples, at any depth."""
    if not isinstance(value, list) or not isinstance(default, tuple):
        return value
    models = [*default[: len(value)], *[default[-1] if default else None] * len(value)]
    return {TUPLE: [_like(v, m) for v, m in zip(value, models, strict=False)]}


def digest(value: Any) -> str:
    """Hash plain data: SHA-256 of its canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
