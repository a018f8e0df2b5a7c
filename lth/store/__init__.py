"""The store, its entries, and a study read back from them."""
