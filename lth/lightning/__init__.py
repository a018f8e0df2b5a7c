"""Lightning, for its users: a LightningModule and a LightningDataModule of one's own as a task."""
