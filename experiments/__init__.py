"""Results of the papers' experiments, and the code that is particular to them."""
