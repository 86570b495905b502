"""A trained model served on loopback: a page to drop files on or speak to, and a JSON endpoint."""
