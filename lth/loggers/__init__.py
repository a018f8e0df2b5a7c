"""Loggers: one factory each; a study tells its loggers the records as they come."""

from lth.loggers.levels_csv import csv_logger
from lth.loggers.none import none
from lth.loggers.tensorboard import tensorboard_logger
from lth.loggers.weights_and_biases import wandb_logger

__all__ = ["csv_logger", "none", "tensorboard_logger", "wandb_logger"]
