"""The incarnation: terms of leadership, the loop that runs the core, and the streams of its peers."""
