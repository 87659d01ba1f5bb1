"""Predictions over HTTP: a page, an API, and what keeps them up."""
