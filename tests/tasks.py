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
        self.net = nn.Sequential(nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, 1))

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
