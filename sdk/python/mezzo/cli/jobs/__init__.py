"""What `mezzo run` does: a framework of its own for one command, run so many times, and restarted as it says."""
