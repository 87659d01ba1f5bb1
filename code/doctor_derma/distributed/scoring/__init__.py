"""Millions of pictures to rows of Parquet, on all processors of one machine or many."""
