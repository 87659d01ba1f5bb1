"""Predictions for millions of pictures as Parquet, on all processors of one machine or many."""
