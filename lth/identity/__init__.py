"""Identity: what a stored result is the result of, derived from what runs and never declared.

Two settings that could give different results never share a key, and what cannot change a result is
not in it. What counts:

* data: the tensors themselves, always hashed anew; the class, the code and the state of what
  prepares and augments them;
* code: of every factory (model, loss, optimizer, schedule, augmentation, gate, mask schedule) the
  target, the classes in its MRO, the types of the modules it makes, and every function, class and
  constant of the user's own modules that those refer to, however many files away; with them go
  closures, partial arguments, defaults, decorators and class attributes. Of installed libraries
  the name only; of ``lth`` the code that a member's numbers run through;
* the numbers: start values, mask, buffers, recipe, learning rate, seeds, precision, compiler.

What does not count: docstrings, comments, layout, annotations, the words of messages, other
definitions in the same file, where a file lies and what it is called, the version of Python (3.11
to 3.13), the device, the number of workers, the names in a full mask, which splits have curves.

It is the code that *runs* that is digested: where a file was edited after its import, work stops
with one line. What has no source (``python -c``) is told by its instructions, in one version of
Python. What code reads from outside while it runs (files, the environment, the clock) is seen only
as far as it shows in the data, in the starting weights or in the attributes of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from json import dumps
from typing import Any

from lth.identity.graph import Walk
from lth.identity.modules import structure, tensor_digest
from lth.spec.build import Spec, locate, target_of

__all__ = ["Walk", "code_key", "described", "structure", "tensor_digest"]


def described(value: Any, pieces: dict[str, str] | None = None) -> Any:
    """Return plain data with every factory's name replaced by the digest of the code it reaches.

    ``pieces`` is filled with what was reached, by name: what ``action=explain`` shows.
    """
    if isinstance(value, Mapping):
        found = {k: described(v, pieces) for k, v in value.items() if k != "_target_"}
        if "_target_" not in value:
            return found
        walk = Walk(locate(target_of(value)))
        if pieces is not None:
            pieces |= walk.pieces
        return {"code": walk.digest, "with": found}
    if isinstance(value, list | tuple):
        return [described(v, pieces) for v in value]
    return value


def code_key(spec: Spec) -> str:
    """Return a name for what a spec builds, for memories inside a process: code and arguments.

    It is derived anew at every call (a fraction of a millisecond), so it follows a redefinition.
    """
    return sha256(dumps(described(spec), sort_keys=True).encode()).hexdigest()
