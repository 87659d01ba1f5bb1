"""Training on many machines with Ray Train, around the same Lightning module and batches."""
