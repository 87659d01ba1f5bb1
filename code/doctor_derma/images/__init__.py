"""Pictures from bytes to pixels: any format, colour profile and depth, within a budget."""
