"""What code may hide from a digest: each of these two texts differs in one constant that counts.

``tests/test_identity.py`` edits a whole project; here are small texts, one per hiding place.
"""

import copy
import linecache
import sys

import pytest
import torch

from lth import LthError
from lth.identity import Walk

ONE_TEXT = {  # {} is 1.0 or 2.0; f is what is digested
    "namespace": "import types\nC = types.SimpleNamespace(s={})\ndef f(x): return x * C.s",
    "own object with a method update": (
        "class Mix:\n    def update(self, x): return x * {}\nM = Mix()\n"
        "def f(x): return M.update(x)"
    ),
    "class written to": (
        "class W:\n    cache = dict()\n    k = {}\n"
        "def f(x):\n    W.cache[1] = 1\n    return x * W.k"
    ),
    "container written to": (
        "S = dict(k={})\ndef f(x):\n    S['n'] = 1\n    return x * S['k']"
    ),
    "global written to": "N = {}\ndef f(x):\n    global N\n    N += 1\n    return x * N",
    "pattern": "import re\nP = re.compile('a{}')\ndef f(x): return P.match(x)",
    "mapping proxy": (
        "import types\nM = types.MappingProxyType(dict(s={}))\ndef f(x): return M['s']"
    ),
    "own float": "class R(float): pass\nS = R({})\ndef f(x): return x * S",
    "own text": "class T(str): pass\nS = T('{}')\ndef f(x): return S",
    "own error": "class E(Exception): pass\nS = E({})\ndef f(x): return S.args[0]",
    "property of an enum": (
        "from enum import Enum\nclass M(Enum):\n    A = 1\n    @property\n"
        "    def s(self): return {}\ndef f(x): return M.A.s * x"
    ),
    "own property": (
        "class P(property):\n    def __get__(self, o, k=None): return self.fget(o) * {}\n"
        "class K:\n    @P\n    def s(self): return 1\ndef f(x): return K().s"
    ),
    "tensor with attributes": (
        "import torch\nclass X(torch.Tensor): pass\nT = torch.ones(2).as_subclass(X)\nT.s = {}\n"
        "def f(x): return T.s"
    ),
    "masked array": (
        "import numpy as np\nA = np.ma.MaskedArray([1.0, 2.0], mask=[False, {} > 1])\n"
        "def f(x): return A.sum()"
    ),
    "by name": "def g(x): return x * {}\ndef f(x): return globals()['g'](x)",
    "generator of random": "import random\nR = random.Random(int({}))\ndef f(x): return R.random()",
    "default factory": (
        "from collections import defaultdict\nW = defaultdict(lambda: {})\n"
        "def f(x): return W.default_factory()"
    ),
    "metadata of a field": (
        "from dataclasses import dataclass, field, fields\n@dataclass\nclass K:\n"
        "    a: int = field(default=1, metadata=dict(s={}))\n"
        "def f(x): return fields(K)[0].metadata['s']"
    ),
    "private slot": (
        "class K:\n    __slots__ = ('__s',)\n    def __init__(self, s): self.__s = s\n"
        "C = K({})\ndef f(x): return C"
    ),
    "method of a number": "S = ({}).__mul__\ndef f(x): return S(x)",
    "weak reference": (
        "import weakref\ndef g(x): return x * {}\nR = weakref.ref(g)\ndef f(x): return R()"
    ),
}  # fmt: skip


def digest(text):
    name = f"<reach {hash(text)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    scope = {"__name__": "__main__"}
    exec(compile(text, name, "exec"), scope)
    return Walk(scope["f"]).digest


@pytest.mark.parametrize("where", ONE_TEXT)
def test_a_constant_counts_wherever_it_hides(where):
    one, two = (ONE_TEXT[where].replace("{}", value) for value in ("1.0", "2.0"))
    assert digest(one) == digest("# said\n" + one)
    assert digest(one) != digest(two)


HEADS = "def sc(x): return x * {}\ndef one(): return 1.0\nclass Held:\n    add = staticmethod(sc)\n"
IMPORTS = {
    "in a function, dotted": "def f(x):\n    import rpkg.heads\n    return rpkg.heads.sc(x)",
    "in a function, renamed": "def f(x):\n    import rpkg.heads as h\n    return h.sc(x)",
    "as a value": "import rpkg.heads\ndef f(x):\n    return getattr(rpkg.heads, 'sc')(x)",
    "as a local": "import rpkg.heads\ndef f(x):\n    h = rpkg.heads\n    return h.sc(x)",
    "both ways": (
        "def f(x):\n    from rpkg import heads\n    return getattr(heads, 'sc')(x) * heads.one()"
    ),
    "by name": "import importlib\ndef f(x): return importlib.import_module('rpkg.heads').sc(x)",
    "a method called add": "from rpkg import heads\ndef f(x): return heads.Held.add(x)",
    "a function called update": "from rpkg import heads as add\ndef f(x): return add.sc(x)",
}


@pytest.mark.parametrize("how", IMPORTS)
def test_a_module_counts_however_it_is_imported(how, tmp_path, monkeypatch):
    found = []
    for value in ("1.0", "2.0"):
        root = tmp_path / value
        (root / "rpkg").mkdir(parents=True)
        (root / "rpkg" / "__init__.py").write_text("")
        (root / "rpkg" / "heads.py").write_text(HEADS.replace("{}", value))
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(root))
            for name in ("rpkg", "rpkg.heads"):
                sys.modules.pop(name, None)
            found.append(digest(IMPORTS[how]))
    for name in ("rpkg", "rpkg.heads"):
        sys.modules.pop(name, None)
    assert found[0] != found[1]


def test_a_set_counts_by_what_is_in_it_and_not_by_its_order():
    classes = [type(name, (), {}) for name in "abcdefgh"]
    assert len({Walk(frozenset(order)).digest for order in (classes, classes[::-1])}) == 1
    assert Walk({torch.relu}).digest != Walk({torch.tanh}).digest


def test_what_tells_nothing_of_itself_is_refused():
    with pytest.raises(LthError, match="cannot be told from another"):
        Walk(i for i in range(3))


def test_a_conjugate_tensor_is_one():
    value = torch.tensor([1 + 2j, 1])
    assert Walk(value.conj()).digest == Walk(value.conj().resolve_conj()).digest


class Copied:
    """A class whose instances are copied."""

    scale = 2.0


@pytest.mark.parametrize("how", [copy.deepcopy, copy.copy, lambda x: x.__reduce_ex__(2)])
def test_what_python_writes_on_a_class_that_it_copies_is_no_change(how):
    """It keeps the names of slots there: a process that has copied has the same code."""
    kind = type("Fresh", (Copied,), {"__module__": __name__})
    before = Walk(kind).digest
    how(kind())
    assert "__slotnames__" in vars(kind) and Walk(kind).digest == before
    kind.scale = 3.0
    assert Walk(kind).digest != before
