"""Out of a split brain without losing a byte: what both sides changed, kept in an archive before anything is discarded."""
