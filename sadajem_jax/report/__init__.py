"""The page that shows what was evaluated, beside the paper's numbers."""
