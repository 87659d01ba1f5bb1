"""From what others publish, or a folder, to a data set: one file a layout, one import for all."""
