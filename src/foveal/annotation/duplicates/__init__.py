"""Copies and near-copies of pictures and captions, within a run and with benchmarks."""
