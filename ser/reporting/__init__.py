"""What an experiment gave, as tables, figures, RESULTS.md and a page."""
