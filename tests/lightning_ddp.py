"""What two processes do to tickets: run by tests/test_lightning_ddp.py, one strategy at a time."""

import sys
import warnings
from pathlib import Path

import torch
from pytorch_lightning.strategies import DDPStrategy

import lth
from lth import LthError
from lth.lightning import KeepMask, PruneDuring, RewindPoint, find_tickets
from tests.lightning_toys import Lit, Watch, check_zero, loader, mask_of, trainer

warnings.filterwarnings("ignore")


class Unused(Lit):
    """A layer that no batch uses, and another net on every second batch."""

    def __init__(self):
        super().__init__()
        self.idle = torch.nn.Linear(3, 3)


def pair(strategy, *callbacks, **settings):
    settings = {"strategy": strategy, "devices": 2, "use_distributed_sampler": True} | settings
    return trainer(*callbacks, **settings)


def ddp(folder):
    """Every rank runs this: what it ends with is compared by the test."""
    torch.manual_seed(0)
    out = {}
    module = Lit()
    mask, point = mask_of(module), RewindPoint(step=2)
    pair("ddp", KeepMask(mask), Watch(mask), point).fit(module, loader(), loader())
    rank = module.global_rank
    check_zero(module, mask)
    out["keep"], out["point"] = dict(module.named_parameters()), point.state.params
    module = Unused()
    mask = mask_of(module, names=("net.0.weight", "net.2.weight"))
    strategy = DDPStrategy(find_unused_parameters=True)
    pair(strategy, KeepMask(mask), Watch(mask), accumulate_grad_batches=2).fit(
        module, loader(), loader()
    )
    module = Lit("sgd")
    mask = mask_of(module)
    rigl = PruneDuring(lth.pruning.dynamic.rigl(every=1, until=0.9), mask=mask)
    pair(DDPStrategy(static_graph=True), rigl).fit(module, loader(), loader())
    check_zero(module, rigl.mask)
    assert any(not torch.equal(m, mask[n]) for n, m in rigl.mask.items())
    assert all(m.sum() == mask[n].sum() for n, m in rigl.mask.items())
    out["rigl"], out["rigl mask"] = dict(module.named_parameters()), rigl.mask
    module = Lit()
    by_rank = lambda step, mask, weights: {  # noqa: E731  every rank another
        n: m & (torch.rand(m.shape) < 0.9) for n, m in mask.items()
    }
    torch.manual_seed(rank)
    random = PruneDuring(by_rank, every=3)
    pair("ddp", random).fit(module, loader(), loader())
    check_zero(module, random.mask)
    out["by rank"] = random.mask
    torch.manual_seed(rank)  # the ranks draw other weights: rank 0's count
    module = Lit()
    steps = lth.pruning.rewind.to_step(2)
    for level, ticket in find_tickets(
        lambda: pair("ddp"), module, (loader(), loader()), rewind=steps, levels=2
    ):
        out |= {f"ticket {level}": ticket.mask, f"start {level}": ticket.start.params}
        out[f"trained {level}"] = dict(module.named_parameters())
        if level:
            check_zero(module, ticket.mask)
    other = mask_of(Lit()) if rank == 0 else mask_of(Lit(), 0.3)
    try:
        pair("ddp", KeepMask(other)).fit(Lit(), loader(), loader())
        raise AssertionError
    except LthError as error:
        assert "the ranks have different masks" in str(error)
    torch.save(
        {k: {n: t.detach() for n, t in v.items()} for k, v in out.items()}, folder / f"{rank}.pt"
    )


def launched(strategy, folder):
    """The processes end with fit: what comes back to the caller is saved."""
    torch.manual_seed(0)
    module, out = Lit(), {}
    steps = lth.pruning.rewind.to_step(2)
    for level, ticket in find_tickets(
        lambda: pair(strategy), module, (loader(), loader()), rewind=steps, levels=1
    ):
        out |= {f"ticket {level}": ticket.mask, f"start {level}": ticket.start.params}
        assert any(not torch.equal(p, ticket.params[n]) for n, p in module.named_parameters())
        if level:
            assert ticket.step == 2
            check_zero(module, ticket.mask)
    torch.save(out, folder / "0.pt")


if __name__ == "__main__":
    way, to = sys.argv[1], Path(sys.argv[2])
    ddp(to) if way == "ddp" else launched(way, to)
