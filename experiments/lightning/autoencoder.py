"""An autoencoder of handwritten digits (scikit-learn's, 8 x 8): 64 pixels through 8 numbers."""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class Digits(pl.LightningDataModule):
    """1,797 pictures, parted anew in every trial."""

    def __init__(self, batch: int = 64):
        super().__init__()
        self.batch = batch

    def setup(self, stage):
        pictures = torch.tensor(load_digits().data / 16.0, dtype=torch.float32)
        parts = [len(pictures) - 600, 300, 300]
        self.train, self.held_out, self.test = random_split(TensorDataset(pictures), parts)

    def train_dataloader(self):
        return DataLoader(self.train, self.batch, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.held_out, 300)

    def test_dataloader(self):
        return DataLoader(self.test, 300)


class Autoencoder(pl.LightningModule):
    """An encoder and a decoder, each with one hidden layer; noise on the pixels."""

    def __init__(self, hidden: int = 64, code: int = 8, noise: float = 0.1, lr: float = 2e-3):
        super().__init__()
        self.save_hyperparameters()
        self.encoder = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, code))
        self.decoder = nn.Sequential(nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, 64))

    def forward(self, pixels):
        return self.decoder(self.encoder(pixels)).sigmoid()

    def training_step(self, batch, batch_idx):
        (pixels,) = batch
        noisy = pixels + self.hparams.noise * torch.randn_like(pixels)
        loss = nn.functional.mse_loss(self(noisy), pixels)
        self.log("train_mse", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_mse", nn.functional.mse_loss(self(batch[0]), batch[0]))

    def test_step(self, batch, batch_idx):
        self.log("test_mse", nn.functional.mse_loss(self(batch[0]), batch[0]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.hparams.lr)
