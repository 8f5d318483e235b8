"""The layers above DRBD as commands: the files they read, how each is started and stopped. Their probes are in `probes`."""
