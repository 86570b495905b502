"""What an experiment gave: scores of all that its plan names, tables, figures, RESULTS.md and a page."""
