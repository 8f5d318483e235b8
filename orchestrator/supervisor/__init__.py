"""The long-running mode: events of every node in, one picture of the cluster, and what may be done about it."""
