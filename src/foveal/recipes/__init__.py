"""One file per paper: objective, model, data and schedule."""
