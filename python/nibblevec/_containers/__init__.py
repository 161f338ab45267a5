"""Files that hold tensors and settings: every promise of a format is checked."""
