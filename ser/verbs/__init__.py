"""What one can run: ``ser <verb>``; a module is a parser and one call of the library."""
