"""A regression with an LSTM: a value of a seeded chaotic series (Mackey-Glass) six steps ahead."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def mackey_glass(length, seed, delay=17):
    """``x' = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x``, in steps of 1, from a seeded past."""
    draw = torch.Generator().manual_seed(seed)
    values = (0.5 + torch.rand(delay + 1, generator=draw, dtype=torch.float64)).tolist()
    for _ in range(length + 300):
        past = values[-delay - 1]
        values.append(values[-1] + 0.2 * past / (1 + past**10) - 0.1 * values[-1])
    found = torch.tensor(values[-length:], dtype=torch.float64)
    noise = 0.02 * torch.randn(length, generator=draw, dtype=torch.float64)
    return (found + noise).float()


def windows(values, span, ahead):
    """Pieces of ``span`` values, and the value ``ahead`` of each."""
    pieces = values.unfold(0, span + ahead, 1)
    return TensorDataset(pieces[:, :span, None].contiguous(), pieces[:, -1:].contiguous())


class Series(pl.LightningDataModule):
    """Three series from three seeds."""

    def __init__(self, length: int = 1500, span: int = 24, ahead: int = 6, batch: int = 64):
        super().__init__()
        self.length, self.span, self.ahead, self.batch = length, span, ahead, batch

    def setup(self, stage):
        lengths = (self.length, self.length // 4, self.length // 4)
        self.train, self.held_out, self.test = (
            windows(mackey_glass(n, seed), self.span, self.ahead) for seed, n in enumerate(lengths)
        )

    def train_dataloader(self):
        return DataLoader(self.train, self.batch, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.held_out, 512)

    def test_dataloader(self):
        return DataLoader(self.test, 512)


class Forecast(pl.LightningModule):
    """An LSTM, whose last state tells the value to come."""

    def __init__(self, hidden: int = 24, learning_rate: float = 5e-3):
        super().__init__()
        self.save_hyperparameters()
        self.lstm, self.head = nn.LSTM(1, hidden, batch_first=True), nn.Linear(hidden, 1)

    def forward(self, values):
        states, _ = self.lstm(values - 0.9)
        return self.head(states[:, -1]) + 0.9

    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self(batch[0]), batch[1])
        self.log("train/mse", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/mse", nn.functional.mse_loss(self(batch[0]), batch[1]))

    def test_step(self, batch, batch_idx):
        self.log("test/mse", nn.functional.mse_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), self.hparams.learning_rate)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=2, factor=0.5)
        return {"optimizer": optimizer,
                "lr_scheduler": {"scheduler": schedule, "monitor": "val/mse"}}  # fmt: skip
