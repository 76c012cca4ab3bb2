"""A run of the data engine: samples through stages, in one process or many; journal, output, report."""
