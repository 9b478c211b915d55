"""A run: from a config to its objects, steps, feeds, validation, signals and log."""
