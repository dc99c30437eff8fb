"""The benchmark, `make bench`: throughput as ratios to peers, measured in turn in the same run."""
