"""The first half hour on a GPU: what was predicted of it, measured, in parts that stand alone."""
