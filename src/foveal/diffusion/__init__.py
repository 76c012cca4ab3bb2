"""Pictures from long texts: our text towers in the pipelines of diffusers."""
