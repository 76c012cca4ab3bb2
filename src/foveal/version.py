"""The version of foveal; packaging reads it here too."""

__version__ = "0.1.0"
