"""What the compiled step is on a GPU, seen without one: kernels, traffic, memory, time."""
