"""How the steps of `states` are said to DRBD: files and far-side scripts, per generation."""
