"""Features: filterbank energies from recordings, their normalisation, and chunks of them."""
