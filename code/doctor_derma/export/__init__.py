"""A trained run to a bundle that needs no torch."""
