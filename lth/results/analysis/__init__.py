"""Analysis: pure functions over params, masks and records, and the tables made of them."""
