"""Sweeps with Ray Tune: which settings of a recipe are best?"""
