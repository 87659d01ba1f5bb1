"""The model card: what a bundle is, what it was measured at, what it must not be used for."""
