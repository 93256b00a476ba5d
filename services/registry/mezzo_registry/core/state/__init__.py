"""What the registry knows of the cluster, and what must hold of it."""
