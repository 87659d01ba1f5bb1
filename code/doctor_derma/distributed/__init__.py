"""Past one machine: bulk scoring, sweeps and training on Ray."""
