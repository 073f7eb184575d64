"""What the machine is asked for: memory, precision, CUDA graphs."""
