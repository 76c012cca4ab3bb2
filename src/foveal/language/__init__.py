"""Phrases of a sentence, the facts they state, and edits that make them false: rules and word lists, no model."""
