"""The Weights & Biases logger; offline by itself where there is no account or no network."""

from lth.loggers.weights_and_biases.arguments import wandb_logger
from lth.loggers.weights_and_biases.logger import WandbLogger

__all__ = ["WandbLogger", "wandb_logger"]
