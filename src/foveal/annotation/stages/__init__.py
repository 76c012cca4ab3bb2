"""The stages: each takes a sample and gives a richer one."""
