"""Sweeps with Ray Tune: many short runs, the bad ones stopped early, the best one's recipe."""
