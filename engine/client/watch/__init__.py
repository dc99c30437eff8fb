"""Who may bid, answered from memory: `watch` has the threads, `eligibility` the rules, `messages` what scripts publish, `snapshot` a shard read whole."""
