"""The registry's gRPC servers: agents, frameworks, observers and operators."""
