"""From encoded pictures to predictions, many at a time, never more than can be answered."""
