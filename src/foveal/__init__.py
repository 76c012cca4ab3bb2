"""foveal: fine-grained, long-text vision-language models."""
