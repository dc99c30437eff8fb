"""Where spends come from beside bidders: `replay` a file of them, `demo` samples and simulated bidders."""
