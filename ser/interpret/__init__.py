"""Attention over phones and words: maps, nulls, probes, figures."""
