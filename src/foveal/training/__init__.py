"""The run as a value, the loop that carries it out, checkpoints and the log."""
