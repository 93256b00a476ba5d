"""The chart on a real Kubernetes of two nodes, which runs in namespaces of its own and leaves nothing behind."""
