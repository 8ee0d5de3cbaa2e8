"""The files of watches: a watch, its state, its hits. `jobs.watch` writes them, the service shows them."""
