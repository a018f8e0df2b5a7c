"""find_tickets: the loop over any LightningModule and Trainer."""

import copy
import functools
import threading
import warnings

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from torch import nn
from torch.nn.utils import parametrizations
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

import lth.pruning.rewind
import lth.pruning.rules
import lth.pruning.score
from lth import LthError
from lth.lightning import KeepMask, PruneDuring, find_tickets
from tests.lightning_toys import Gan, Lit, Watch, check_zero, loader, net, trainer


def found(module=None, make=trainer, data=None, **choices):
    """Run the loop to its end; masks are checked at every level."""
    module, tickets = module or Lit("sgd"), []
    data = (loader(), loader()) if data is None else data
    for level, ticket in find_tickets(make, module, data, **{"levels": 2} | choices):
        assert level == len(tickets)
        check_zero(module, {n: m for n, m in ticket.mask.items() if not m.all()})
        if level:
            assert lth.networks.masks.is_nested(ticket.mask, tickets[-1].mask)
        tickets.append(ticket)
    return tickets


def test_the_defaults_find_nested_tickets_at_the_initial_weights():
    module = Lit("sgd")
    initial = {n: p.detach().clone() for n, p in module.named_parameters()}
    alive = 48 + 16
    for level, ticket in enumerate(found(module, levels=3)):
        alive -= round(0.2 * alive) if level else 0
        assert ticket.density == alive / 64
        mask, start, step = ticket
        assert set(mask) == {"net.0.weight", "net.2.weight"} and step == 0
        for name, value in start.items():
            expected = (
                torch.where(mask[name], initial[name], 0.0) if name in mask else initial[name]
            )
            assert torch.equal(value, expected)
        assert any(not torch.equal(p, start[n]) for n, p in module.named_parameters())


def test_magnitudes_of_the_trained_network_decide():
    module, trained = Lit("sgd"), []
    for level, ticket in find_tickets(trainer, module, (loader(), loader()), levels=1):
        if level == 0:
            trained = [dict(module.named_parameters())[n].detach().abs() for n in ticket.mask]
            trained = [t.clone() for t in trained]
    cut = torch.cat([t.flatten() for t in trained]).sort().values[round(0.2 * 64) - 1]
    for size, kept in zip(trained, ticket.mask.values(), strict=True):
        assert torch.equal(kept, size > cut)


class Scheduled(Lit):
    """Notes at every batch where it is: rate, step, epoch, batch, number of moments."""

    def __init__(self, plateau=False):
        super().__init__("sgd")
        self.seen, self.plateau = [], plateau

    def on_train_batch_start(self, batch, batch_idx):
        optimizer = self.optimizers()
        rate = optimizer.param_groups[0]["lr"]
        self.seen.append((rate, self.global_step, self.current_epoch, batch_idx))
        self.moments = len(optimizer.state) if len(self.seen) == 1 else self.moments

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)
        if self.plateau:
            plateau = ReduceLROnPlateau(optimizer, patience=0, threshold=10.0)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"},
            }
        schedule = {"scheduler": OneCycleLR(optimizer, 0.1, total_steps=15), "interval": "step"}
        return [optimizer], [schedule]


@pytest.mark.parametrize("plateau", [False, True])
@pytest.mark.parametrize("step", [1, 5, 7, 10])
def test_a_level_goes_on_at_the_step_rewound_to(step, plateau):
    """Within an epoch (of 5 batches) and between two; schedules of steps and of epochs."""
    module, runs, tickets, states = Scheduled(plateau), [], [], []

    class Note(Callback):
        def on_train_batch_start(self, trainer, module, *args):
            states.append({n: p.detach().clone() for n, p in module.named_parameters()})

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*resuming from a checkpoint.*")
        for _, ticket in find_tickets(
            lambda: trainer(Note(), max_epochs=3), module, (loader(), loader()), levels=2,
            rewind=lth.pruning.rewind.to_step(step),
        ):  # fmt: skip
            runs.append(module.seen[:])
            assert module.moments == 0
            module.seen.clear()
            tickets.append(ticket)
    assert len(runs[0]) == 15 and len({rate for rate, *_ in runs[0]}) > 2
    assert runs[1] == runs[2] == runs[0][step:]
    for level in (1, 2):
        mask, start, at = tickets[level]
        assert at == step
        begun = states[15 + (level - 1) * (15 - step)]
        for name, value in states[step].items():  # law 3: the dense run's at k, masked
            expected = torch.where(mask[name], value, 0.0) if name in mask else value
            assert torch.equal(start[name], expected) and torch.equal(begun[name], expected)
            assert torch.equal(tickets[level].params[name], value)  # beneath the mask


def test_rewinding_rules():
    for rule, steps in (
        ("to_init", [0, 0, 0]),
        (lth.pruning.rewind.to_init, [0, 0, 0]),
        ({"_target_": "lth.pruning.rewind.to_step", "step": 5}, [0, 5, 5]),
        (lth.pruning.rewind.to_epoch(1, 5), [0, 5, 5]),
        ({"_target_": "lth.pruning.rewind.to_epoch", "epoch": 1}, [0, 5, 5]),
        (
            {"_target_": "lth.pruning.rewind.to_epoch", "epoch": 1.05, "statistics": "trained"},
            [0, 5, 5],
        ),
        (
            {"_target_": "lth.pruning.rewind.to_epoch", "epoch": 2.5, "steps_per_epoch": 2},
            [0, 5, 5],
        ),
        (functools.partial(lth.pruning.rewind.to_epoch, 1), [0, 5, 5]),
        (lth.pruning.rewind.learning_rate(5), [0, 5, 5]),
        (lambda dense, trained: trained.params, [0, 0, 0]),
    ):
        assert [t.step for t in found(rewind=rule)] == steps
    module = Lit("sgd")
    trained, keep = [], lth.pruning.rewind.learning_rate(5)
    for level, ticket in find_tickets(trainer, module, (loader(), loader()), levels=2, rewind=keep):
        for name, value in ticket.start.params.items() if level else ():
            kept = ticket.mask.get(name, torch.ones(value.shape) > 0)
            assert torch.equal(value, torch.where(kept, trained[-1][name], 0.0))
            assert torch.equal(ticket.params[name][~kept], trained[0][name][~kept])  # beneath
        trained.append({n: p.detach().clone() for n, p in module.named_parameters()})
    for rule, words in (
        (lth.pruning.rewind.to_step(10), "leaves nothing to train: the run makes 10 updates"),
        (
            lth.pruning.rewind.fine_tune(5, 20, {"_target_": "lth.recipe.schedule.constant"}),
            "learning_rate",
        ),
        ({"_target_": "lth.pruning.rewind.fine_tune", "length": 5}, "learning_rate"),
        ("to_epoch", "say which epoch"),
        (lth.pruning.rewind.to_epoch, "say which epoch"),
        ({"_target_": "lth.pruning.rewind.to_epoch", "epoch": -1}, "an epoch is a number from 0"),
        ({"_target_": "lth.pruning.rewind.to_epoch", "epoch": 2}, "step 10 leaves nothing"),
        ("to_start", "it is one of .*to_init"),
        (lambda dense, trained: 3, "rewind gave a int"),
        (lambda dense, trained: dense(5).params, "step 5, which was not kept: a function of your"),
    ):
        with pytest.raises(LthError, match=words):
            found(rewind=rule)


def test_scores():
    for score in (
        lth.pruning.score.magnitude, lth.pruning.score.random(),
        {"_target_": "lth.pruning.score.movement"}, "snip",
        "grasp", lth.pruning.score.gradient_magnitude(per_class=20), lambda w: w,
        lambda w, initial: {n: (v - initial[n]).abs() for n, v in w.items()},
    ):  # fmt: skip
        assert found(score=score, levels=1)[1].density < 0.81
    for score, words in (
        ("magnitud", "it is one of .*magnitude"), (3, "score is a int"),
        ("synflow", "training_step alone"), (lambda w: {}, "score of net.0.weight has shape None"),
        (lambda w: 3, "the score gave a int"),
        (lambda w: {n: v * float("nan") for n, v in w.items()}, "score: it gives NaN"),
    ):  # fmt: skip
        with pytest.raises(LthError, match=words):
            found(score=score)
    with pytest.raises(LthError, match="optimizes by hand: take magnitude"):
        found(Gan(), data=loader(), score="snip")


def test_snip_is_the_gradient_of_the_training_step_times_the_weight():
    module, data = Lit("sgd"), (loader(batch=40), loader())
    for level, ticket in find_tickets(trainer, module, data, score="snip", levels=1):  # noqa: B007
        if level == 0:
            again = copy.deepcopy(module)
            loss = nn.functional.cross_entropy(again(data[0].dataset[:][0]), data[0].dataset[:][1])
            loss.backward()
            merit = {n: (p * p.grad).abs().detach() for n, p in again.named_parameters()}
    cut = torch.cat([merit[n].flatten() for n in ticket.mask]).sort().values[round(0.2 * 64) - 1]
    assert all(torch.equal(m, merit[n] > cut) for n, m in ticket.mask.items())


class Prepared(Lit):
    """Takes batches of a dict of loaders, whose targets the data's hooks have prepared."""

    def training_step(self, batch, batch_idx):
        return sum(super(Prepared, self).training_step(part, 0) for part in batch.values())


class Rough(pl.LightningDataModule):
    def setup(self, stage):
        self.inputs, self.targets = loader().dataset.tensors

    def train_dataloader(self):
        parts = TensorDataset(self.inputs, self.targets.int())
        return {"a": DataLoader(parts, 8), "b": DataLoader(parts, 8)}

    def val_dataloader(self):
        return loader()

    def on_after_batch_transfer(self, batch, dataloader_idx):
        pairs = isinstance(batch, dict)
        return {n: (x, y.long()) for n, (x, y) in batch.items()} if pairs else batch

    def teardown(self, stage):
        self.inputs = self.targets = None


def test_a_gradient_is_taken_of_batches_as_the_trainer_gives_them():
    assert found(Prepared("sgd"), data=Rough(), score="snip")[2].density == 41 / 64


class Asking(Lit):
    """Asks its trainer in the training step."""

    def training_step(self, batch, batch_idx):
        self.log_dict({"epoch": float(self.current_epoch)})
        return super().training_step(batch, batch_idx) / self.trainer.max_epochs


def test_a_gradient_of_a_step_that_asks_its_trainer():
    module = Asking("sgd")
    assert found(module, score="snip")[2].density == 41 / 64
    assert "log" not in vars(module)


def test_selection_rules():
    layerwise = found(prune="layerwise", levels=1)[1]
    assert [int(m.sum()) for m in layerwise.mask.values()] == [38, 14]  # the output at half rate
    assert (
        found(prune=lth.pruning.rules.globally(0.5, spare=["output"]), levels=1)[1].density
        == 40 / 64
    )
    positive = lambda scores, mask: {n: m & (scores[n] > 0.1) for n, m in mask.items()}  # noqa: E731
    assert found(prune=positive, levels=1)[1].density < 1
    for rule, words in (
        ("global", "it is one of"), (lth.pruning.rules.globally(spare=["*"]), "nothing to prune"),
        (lambda s, m: m, "pruned nothing"), (lambda s, m: {}, "names no weight"),
        (lambda s, m: {n: ~p for n, p in m.items()} if not all(p.all() for p in m.values())
         else {n: s[n] > 0.1 for n in m}, "gave back weights"),
    ):  # fmt: skip
        with pytest.raises(LthError, match=words):
            found(prune=rule)
    with pytest.raises(LthError, match="would prune nothing; the last useful one"):
        found(levels=100)


def test_callbacks_of_the_user(tmp_path):
    levels = []

    def make(level):
        levels.append(level)
        stop = EarlyStopping("val_loss", patience=1, min_delta=10.0)
        save = ModelCheckpoint(tmp_path / str(level), monitor="val_loss")
        return trainer(stop, save, max_epochs=20, enable_checkpointing=True)

    module = Lit()
    for level, ticket in find_tickets(make, module, (loader(), loader()), levels=2):
        assert module.trainer.current_epoch == 2  # stopped early
        best = Lit.load_from_checkpoint(module.trainer.checkpoint_callback.best_model_path)
        check_zero(best, {n: m for n, m in ticket.mask.items() if level})
    assert levels == [0, 1, 2]
    found(make=lambda: trainer(EMAWeightAveraging(decay=0.9)))
    tickets = found(make=lambda: trainer(PruneDuring(density=0.5, every=1)))
    assert tickets[1].density == 51 / 64


def test_trainers_and_data_that_do_not_fit_are_refused():
    once, stop = trainer(), EarlyStopping("val_loss")
    data = (loader(), loader())
    for given, words in (
        ((lambda: once, Lit(), data), "the same trainer again"),
        ((lambda: trainer(stop), Lit(), data), "the same EarlyStopping again"),
        ((lambda: trainer(KeepMask()), Lit(), data), "leave KeepMask out"),
        ((lambda: 3, Lit(), data), "gave a int"),
        ((trainer, net(), data), "not a pytorch_lightning.Light"),
        ((trainer(), Lit(), data), "make_trainer is a Trainer: give a function"),
        ((lambda: trainer(max_epochs=0), Lit(), data), "the trainer trains nothing"),
        ((trainer, Lit(), 3), "data is a int"),
        ((trainer, Lit(), "digits"), "data is a str"),
        ((trainer, Lit(), (torch.ones(8, 6), torch.ones(8))), "data is a tuple of Tensor, Tensor"),
        ((trainer, Lit(), [*loader()]), "data is a list of list, list"),
        ((trainer, Lit(), [*loader()][:2]), "data is a list of list, list"),
        ((trainer, Lit(), (*data, loader())), "data is a tuple of DataLoader"),
        ((trainer, Lit(network=nn.Embedding(6, 2)), data), "no weights that can be pruned"),
        ((trainer, Lit(network=nn.Sequential(nn.LazyLinear(2))), data), "is lazy"),
    ):
        with pytest.raises(LthError, match=words):
            list(find_tickets(*given, levels=2))
    with pytest.raises(LthError, match="levels=-1"):
        found(levels=-1)


def test_loaders_in_a_tuple():
    data = loader()
    for given in (data, (data,), (data, None), (data, [loader()])):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*no `val_dataloader`.*")
            assert len(found(data=given, levels=1)) == 2


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("kind", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_weights_made_by_a_hook_are_copied_after_training(kind):
    first, last = kind(nn.Linear(6, 8)), nn.Linear(8, 2)
    module = Lit("sgd", nn.Sequential(first, nn.ReLU(), last))
    ticket = found(module, levels=1)[1]
    module(torch.ones(3, 6))  # its weight is now one that a graph made
    copied = ticket.module(model=module)
    copied(torch.ones(3, 6)).sum().backward()
    (name,) = (n for n in ticket.mask if n.startswith("net.0."))
    assert not first.weight[~ticket.mask[name]].any()
    assert not copied.net[0].weight[~ticket.mask[name]].any() and copied.net[0] is not first


def test_what_a_module_keeps_is_copied_or_named():
    module = Lit("sgd")
    ticket = found(module, levels=1)[1]
    module.losses = [{"loss": module(torch.ones(3, 6)).sum()}]
    assert torch.equal(ticket.module(model=module).losses[0]["loss"], module.losses[0]["loss"])
    module.lock = threading.Lock()
    with pytest.raises(LthError, match=r"Lit cannot be copied: .*lock.*; name its factory"):
        ticket.module(model=module)


class Mirrored(Lit):
    """Copies the net after every batch into a target network, which no optimizer holds."""

    def __init__(self):
        super().__init__("sgd")
        self.target = copy.deepcopy(self.net)

    def on_train_batch_end(self, *args):
        self.target.load_state_dict(self.net.state_dict())

    def configure_optimizers(self):
        return torch.optim.SGD(self.net.parameters(), 0.1)


def test_what_no_optimizer_holds_is_not_pruned():
    module = Mirrored()
    for ticket in found(module):
        assert set(ticket.mask) == {"net.0.weight", "net.2.weight"}
    assert ticket.density == 41 / 64
    same = zip(module.net.parameters(), module.target.parameters(), strict=True)
    assert all(torch.equal(own, other) for own, other in same)


def test_modules_of_many_kinds():
    assert found(Gan(), data=loader(), rewind=lth.pruning.rewind.to_step(5))[2].step == 5

    class Late(Lit):
        def configure_model(self):
            self.net = net()  # anew in every fit

    assert len(found(Late())) == 3

    class Part(Lit):
        def configure_optimizers(self):
            return torch.optim.Adam(self.net[2].parameters(), 0.1)

    assert len(found(Part())) == 3
    frozen = Lit()
    frozen.net[0].requires_grad_(False)
    assert list(found(frozen)[1].mask) == ["net.2.weight"]
    module = Lit()
    module.net = torch.compile(module.net, backend="eager")
    assert "net._orig_mod.0.weight" in found(module, levels=1)[1].mask
    wrapped = parametrizations.weight_norm(nn.Linear(6, 8))
    module = Lit(network=nn.Sequential(wrapped, nn.ReLU(), nn.Linear(8, 2)))
    assert "net.0.parametrizations.weight.original1" in found(module)[2].mask
    wrapped = parametrizations.orthogonal(nn.Linear(6, 8))
    module = Lit(network=nn.Sequential(wrapped, nn.ReLU(), nn.Linear(8, 2)))
    with pytest.raises(LthError, match="made by Orthogonal, which does not keep zeros"):
        found(module)


def test_a_module_that_draws_its_weights_when_training_starts_is_refused():
    class Anew(Lit):
        def on_train_start(self):
            nn.init.normal_(self.net[0].weight)

    with pytest.raises(LthError, match=r"net.0.weight does not start at its ticket"):
        found(Anew())


def test_a_level_that_diverges_is_yielded_and_has_none_below():
    class Wild(Lit):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 1e30)

    levels = []
    with (
        pytest.warns(UserWarning, match="level 0 diverged"),
        pytest.raises(LthError, match=r"level 0 diverged .* so there is no level 1"),
    ):
        for level, _ in find_tickets(trainer, Wild(), (loader(), loader())):
            levels.append(level)
    assert levels == [0]


def test_what_a_ticket_is_good_for(tmp_path):
    module = Lit("sgd")
    ticket = found(module)[2]
    ticket.save(tmp_path / "a.safetensors")
    assert lth.Ticket.load(tmp_path / "a.safetensors", trust=["tests.lightning_toys"]) == ticket
    again = ticket.module(model=module)
    assert isinstance(again, Lit)
    trainer(Watch(ticket.mask)).fit(again, loader(), loader())  # it stays a ticket by itself
    before = dict(module.named_parameters())
    assert all(torch.equal(p, before[n]) for n, p in again.named_parameters())


@pytest.mark.parametrize("score", ["magnitude", "snip"])
def test_a_seeded_run_is_the_same_again(score):
    """The loop draws nothing from the global generators: the data's order goes on from there."""

    def run():
        torch.manual_seed(0)
        module = Lit("sgd")
        data = (loader(shuffle=True), loader())
        ticket = found(module, data=data, score=score)[2]
        return ticket.mask, dict(module.named_parameters()), torch.rand(1)

    (mask, weights, drawn), (mask_2, weights_2, drawn_2) = run(), run()
    assert all(torch.equal(m, mask_2[n]) for n, m in mask.items())
    assert all(torch.equal(w, weights_2[n]) for n, w in weights.items())
    assert torch.equal(drawn, drawn_2)
    torch.manual_seed(0)
    module, data = Lit("sgd"), (loader(shuffle=True), loader())
    for _ in range(3):
        trainer().fit(module, *data)
    assert torch.equal(torch.rand(1), drawn)  # as three plain runs leave them
