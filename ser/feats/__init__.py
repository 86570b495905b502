"""Features: sets that extractors make of recordings, their normalisation, subsets and chunks of them."""
