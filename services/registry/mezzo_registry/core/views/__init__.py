"""What others are shown of the cluster: the allocator, observers, metrics."""
