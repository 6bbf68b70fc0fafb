"""What of a network's parameters is redundant: nearly parallel vectors, ranks, and units that another one replaces."""
