"""The engine of many workers: what its messages cost, and how long generations take with up to 1,000 of them."""
