"""Files as someone with bad intentions would write them: right checksums, wrong content."""

import json
import sys
from contextlib import contextmanager

import torch
from safetensors.torch import load, save

from lth import Ticket
from lth.files import tensors_digest
from lth.models import lenet
from lth.networks import ticket_file
from lth.networks.ticket import KINDS
from lth.spec.build import digest

MODEL = {"_target_": "lth.models.lenet", "input_shape": [1, 4, 4], "classes": 4, "widths": [6, 5]}

CALLS = [
    "os.system", "posix.system", "subprocess.check_output", "builtins.eval", "builtins.exec",
    "pickle.loads", "torch.load", "torch.hub.load", "importlib.import_module", "evil_tickets.net",
    "functools.partial", "tests.toys.mlp",
    # through this package: whatever it imports, and what of its own is no factory
    "lth.run", "lth.api.run", "lth.cli.main", "lth.spec.build.build", "lth.spec.build.locate",
    "lth.Ticket.load",
    "lth.data.fetch.download", "lth.data.digits", "lth.store.store.shutil.rmtree",
    "lth.models.nn.Linear",
    "lth.models.check.whole", "lth.provenance.subprocess.run", "lth.models.lenet.__globals__",
    # through torch.nn
    "torch.nn", "torch.nn.modules.module.torch.hub.load", "torch.nn.functional.relu",
    "torch.nn.Module.load_state_dict", "torch.nn.Linear.__init__", "torch.nn.init.normal_",
    "torch.nn.utils.parametrize.torch.load", "torch.nn.parallel.DistributedDataParallel",
    "torch.nn.modules.os.system", "torch.optim.Adam.step", "torch.serialization.load",
    # names that are none
    "", ".", "os..system", ".os.system", "os.system ", "os/system", "lth.models.",
    "torch.nn..Linear",
]  # fmt: skip
"""What a file may not call."""

EVENTS = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "os.spawn",
          "shutil.rmtree", "pickle.find_class", "socket.connect")  # fmt: skip

_heard: list[tuple] = []
_listening = False


def _listen(event, arguments):
    if _listening and (event in EVENTS or (event == "import" and "evil" in str(arguments[0]))):
        _heard.append((event, arguments))


sys.addaudithook(_listen)


@contextmanager
def nothing_runs(but=()):
    """Fail if code is run, imported or unpickled, or a folder removed, by what is done inside."""
    global _listening
    _heard.clear()
    _listening = True
    try:
        yield
    finally:
        _listening = False
    heard = [found for found in _heard if found[0] not in but]
    assert not heard, heard
    assert "evil_tickets" not in sys.modules


def spec(target):
    """What a spec of the target would need to do harm."""
    return {"_target_": target, "command": "touch /tmp/harm", "args": ["touch", "/tmp/harm"]}


def specs(target):
    """The target as a model, and inside the arguments of one that may be called."""
    return [
        spec(target), MODEL | {"classes": spec(target)}, MODEL | {"widths": [6, [spec(target)]]},
        MODEL | {"init": {"deeper": {"still": [{"x": spec(target)}]}}},
        {"_target_": "torch.nn.Linear", "in_features": spec(target), "out_features": 2},
    ]  # fmt: skip


def good():
    """A ticket that nothing is wrong with."""
    torch.manual_seed(0)
    net = lenet(**{k: v for k, v in MODEL.items() if k != "_target_"})
    mask = {n: torch.rand_like(p) < 0.5 for n, p in net.named_parameters() if p.ndim > 1}
    return Ticket.from_state(MODEL, net.state_dict(), mask, step=3, origin={"study": "x"})


def ticket(path, **changes):
    """Write a ticket file with other fields, its checksum right."""
    values = {name: getattr(good(), name) for name in KINDS} | changes
    path.write_bytes(ticket_file.write(values, KINDS))
    return path


def signed(path, change):
    """Write a ticket file whose description has been changed, its checksum right."""
    content = ticket_file.write({name: getattr(good(), name) for name in KINDS}, KINDS)
    length = int.from_bytes(content[:8], "little")
    about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["ticket"])
    tensors = load(content)
    about = change(about, tensors) or about
    text = about if isinstance(about, str) else json.dumps(about)
    meta = {"ticket": text, "digest": ticket_file._digest(tensors, text), "format": "2"}
    path.write_bytes(save(tensors, metadata=meta))
    return path


def entry(folder, change):
    """Change an entry of the store in place, its checksums right."""
    import hashlib

    about = json.loads((folder / "entry.json").read_text())
    tensors = load((folder / "tensors.safetensors").read_bytes())
    del about["checksum"]
    about = change(about, tensors) or about
    content = save(tensors)
    (folder / "tensors.safetensors").write_bytes(content)
    about["tensors"] = hashlib.sha256(content).hexdigest()
    (folder / "entry.json").write_text(json.dumps(about | {"checksum": digest(about)}))


def snapshot(path, tensors):
    """Write a state on the way, its checksum right."""
    path.write_bytes(save(tensors, metadata={"digest": tensors_digest(tensors)}))
