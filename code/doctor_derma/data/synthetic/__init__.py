"""A small synthetic data set in the manner of HAM10000, to try everything without data."""
