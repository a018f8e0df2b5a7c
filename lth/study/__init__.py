"""A study from its settings to its results."""
