"""Training a cohort: members in turn in worker processes, or stacked on a GPU."""
