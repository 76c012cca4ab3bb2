"""The data engine: sample in, richer sample out."""
