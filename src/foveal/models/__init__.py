"""Neural networks: towers for pictures and texts, regions, token refinement, weights."""
