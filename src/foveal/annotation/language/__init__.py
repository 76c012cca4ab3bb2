"""Phrases of a sentence, facts they state, and edits that make them false. Rules and word lists only."""
