"""From files to batches: formats, scenes, pictures, tokenizer, stream."""
