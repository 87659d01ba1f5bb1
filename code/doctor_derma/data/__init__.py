"""Images to a manifest: import, check, split, describe, decode."""
