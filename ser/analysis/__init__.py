"""Interpretation: alignments of every source, the attention over phones and words, and whether it matters."""
