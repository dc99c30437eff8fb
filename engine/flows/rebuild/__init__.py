"""A lost shard is written anew: `rebuilder` has the order, `contents` what a shard must hold, `salvage` what its journal still has, `beside` a thread for it."""
