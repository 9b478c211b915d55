"""How fast a training step is: operations, seconds, and PyTorch's seconds for the same step."""
