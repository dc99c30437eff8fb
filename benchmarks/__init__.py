"""How fast it is, as ratios against peers measured in the same run, in turn: `make bench`."""
