"""Side-by-side measurements: ratios within one run, never times from different ones."""
