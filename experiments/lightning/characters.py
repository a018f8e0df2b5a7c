"""A character language model: a small causal transformer on sentences of a seeded grammar."""

import random

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

SUBJECTS = ["the ticket", "a mask", "every weight", "the network", "no gradient", "one layer"]
VERBS = ["finds", "keeps", "forgets", "prunes", "trains", "rewinds"]
OBJECTS = ["a winner", "the rest", "its signs", "another seed", "what was lost", "the first step"]
LINKS = ["and then", "because", "while", "until", "so that"]
ALPHABET = " .abcdefghijklmnopqrstuvwxyz"


def clause(draw):
    """A subject, a verb, an object."""
    return f"{draw.choice(SUBJECTS)} {draw.choice(VERBS)} {draw.choice(OBJECTS)}"


def text(seed, length):
    """Sentences of one to three clauses, so many characters of them."""
    draw, found = random.Random(seed), ""
    while len(found) < length:
        parts = [clause(draw)]
        while len(parts) < 3 and draw.random() < 0.4:
            parts.append(f"{draw.choice(LINKS)} {clause(draw)}")
        found += " ".join(parts) + ". "
    return found[:length]


class Windows(Dataset):
    """Every window of ``context`` characters, and the characters that come after each."""

    def __init__(self, content, context, stride):
        self.codes = torch.tensor([ALPHABET.index(c) for c in content])
        self.context, self.starts = context, range(0, len(content) - context - 1, stride)

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, index):
        rows = self.codes[self.starts[index] : self.starts[index] + self.context + 1]
        return rows[:-1], rows[1:]


class Text(pl.LightningDataModule):
    """Three texts by one grammar: to train on, to stop by, to test on."""

    def __init__(self, length: int = 20000, context: int = 32, batch: int = 32):
        super().__init__()
        self.length, self.context, self.batch = length, context, batch

    def setup(self, stage):
        self.train = Windows(text(1, self.length), self.context, 4)
        self.held_out = Windows(text(2, self.length // 4), self.context, self.context)
        self.test = Windows(text(3, self.length // 4), self.context, self.context)

    def train_dataloader(self):
        return DataLoader(self.train, self.batch, shuffle=True, drop_last=True)

    def val_dataloader(self):
        return DataLoader(self.held_out, 64)

    def test_dataloader(self):
        return DataLoader(self.test, 64)


class Characters(pl.LightningModule):
    """Embeddings, two blocks of attention, a linear map to the next character."""

    def __init__(self, width: int = 32, heads: int = 2, layers: int = 2, lr: float = 3e-3):
        super().__init__()
        self.save_hyperparameters()
        self.characters = nn.Embedding(len(ALPHABET), width)
        self.places = nn.Parameter(0.02 * torch.randn(64, width))
        block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        for layer in self.blocks.layers:  # nn.TransformerEncoder copies one block
            for weight in layer.parameters():
                if weight.ndim > 1:
                    nn.init.xavier_uniform_(weight)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, len(ALPHABET))

    def forward(self, codes):
        length = codes.shape[1]
        causal = nn.Transformer.generate_square_subsequent_mask(length)
        seen = self.characters(codes) + self.places[:length]
        return self.head(self.norm(self.blocks(seen, mask=causal, is_causal=True)))

    def _loss(self, batch, split):
        codes, following = batch
        loss = nn.functional.cross_entropy(self(codes).flatten(0, 1), following.flatten())
        self.log(f"{split}_loss", loss, on_step=False, on_epoch=True, batch_size=len(codes))
        return loss

    def training_step(self, batch, batch_idx):
        return self._loss(batch, "train")

    def validation_step(self, batch, batch_idx):
        self._loss(batch, "val")

    def test_step(self, batch, batch_idx):
        self._loss(batch, "test")

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), self.hparams.lr)
        steps = self.trainer.estimated_stepping_batches
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.hparams.lr, steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]
