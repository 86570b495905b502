"""What tests of recordings and their pages share."""
