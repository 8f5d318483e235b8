"""What a supervisor tells: its log, its metrics, its alerts; and that nobody who listens badly can hold it up."""
