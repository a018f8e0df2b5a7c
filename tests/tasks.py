"""Toys for tests of tasks: LightningModules and their data that know nothing of lth."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Line(pl.LightningModule):
    """A regression."""

    def __init__(self, hidden: int = 8, lr: float = 0.02):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, x):
        return self.net(x)

    def _loss(self, batch):
        x, y = batch
        return nn.functional.mse_loss(self(x), y)

    def training_step(self, batch, batch_idx):
        loss = self._loss(batch)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self._loss(batch))

    def test_step(self, batch, batch_idx):
        self.log("test_loss", self._loss(batch))

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), self.hparams.lr, 0.9, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 5, 0.5)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class Points(pl.LightningDataModule):
    """Points on a curved surface."""

    def __init__(self, rows: int = 48, batch: int = 8, shift: float = 0.0):
        super().__init__()
        self.rows, self.batch, self.shift = rows, batch, shift

    def prepare_data(self):
        print("prepared")

    def setup(self, stage):
        generator = torch.Generator().manual_seed(7)
        x = torch.randn(self.rows, 4, generator=generator)
        y = (x[:, :1] * x[:, 1:2] + x[:, 2:3].sin()) + self.shift
        whole = TensorDataset(x, y)
        third = self.rows // 6
        sizes = [self.rows - 2 * third, third, third]
        self.parts = torch.utils.data.random_split(whole, sizes)

    def train_dataloader(self):
        return DataLoader(self.parts[0], self.batch, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.parts[1], self.batch)

    def test_dataloader(self):
        return DataLoader(self.parts[2], self.batch)


class Restless(Line):
    """All that a checkpoint must hold: moments, dropout, a plateau, statistics."""

    def __init__(self, hidden: int = 8, lr: float = 0.02):
        super().__init__(hidden, lr)
        self.net.insert(2, nn.Dropout(0.2))
        self.net.insert(1, nn.BatchNorm1d(hidden))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), self.hparams.lr)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.7)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"},
        }


class Plain(Line):
    """Without momentum: what starts at a step of another run goes on as that did."""

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), self.hparams.lr)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 7], 0.5)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class Scheduled(Line):
    """A chain of schedules, each with a state of its own."""

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), self.hparams.lr)
        kinds = torch.optim.lr_scheduler
        parts = [kinds.LinearLR(optimizer, 0.1, 1.0, 4), kinds.CosineAnnealingLR(optimizer, 8)]
        whole = kinds.SequentialLR(optimizer, parts, [4])
        return [optimizer], [{"scheduler": whole, "interval": "step"}]


class Pair(pl.LightningModule):
    """Two networks and two optimizers by manual optimization, as in a GAN."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.make, self.judge = nn.Linear(2, 4), nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        real, _ = batch
        first, second = self.optimizers()
        fake = self.make(torch.randn(len(real), 2))
        for optimizer, loss in (
            (first, nn.functional.softplus(-self.judge(fake)).mean()),
            (second, nn.functional.softplus(self.judge(fake.detach()) - self.judge(real)).mean()),
        ):
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        self.log("loss", loss, on_epoch=True)

    def validation_step(self, batch, batch_idx):
        self.log(
            "gap",
            (self.judge(batch[0]).mean() - self.judge(self.make(batch[0][:, :2])).mean()).abs(),
        )

    def configure_optimizers(self):
        return torch.optim.Adam(self.make.parameters(), 0.01), torch.optim.Adam(
            self.judge.parameters(), 0.01
        )


class Diverging(Line):
    """Whose validation loss is no number in the end."""

    def validation_step(self, batch, batch_idx):
        loss = self._loss(batch)
        self.log("val_loss", loss * float("nan") if self.current_epoch else loss)


class Stream(Points):
    """Points that come one after the other, without a length."""

    def train_dataloader(self):
        return DataLoader(Endless(), self.batch)


class Endless(torch.utils.data.IterableDataset):
    """Draws as long as it is asked."""

    def __iter__(self):
        while True:
            x = torch.randn(4)
            yield x, x[:1] * x[1:2]


class FromFile(Points):
    """Rows of a file."""

    def __init__(self, path: str, batch: int = 8):
        super().__init__(batch=batch)
        self.path = path

    def setup(self, stage):
        rows = torch.load(self.path, weights_only=True)
        whole = TensorDataset(rows[:, :4], rows[:, 4:])
        self.parts = [
            torch.utils.data.Subset(whole, range(*r)) for r in ((0, 32), (32, 48), (40, 48))
        ]
