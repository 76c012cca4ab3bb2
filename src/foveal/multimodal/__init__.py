"""An eye for language models: our image towers in front of any causal language model."""
