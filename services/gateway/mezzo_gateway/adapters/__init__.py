"""What the gateway speaks to: the leading registry, and the agents' files."""
