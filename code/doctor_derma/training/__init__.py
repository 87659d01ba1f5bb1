"""One recipe, one loop: config, batches, augmentation, checkpoints."""
