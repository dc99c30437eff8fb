"""Sources of spends besides real bidders: `replay` sends those of a file, `demo` simulates bidders."""
