"""Faster ways to run the same networks: exported files without torch, bf16 and CUDA graphs on a GPU."""
