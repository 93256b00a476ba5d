"""The agent's gRPC server: executors."""
