"""Beyond one machine: bulk prediction, sweeps and training on Ray."""
