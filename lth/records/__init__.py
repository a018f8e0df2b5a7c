"""Records, statistics and the verdict."""
