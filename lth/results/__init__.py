"""Analysis, comparison, figures."""
