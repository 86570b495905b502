"""Training and decoding with torch."""
