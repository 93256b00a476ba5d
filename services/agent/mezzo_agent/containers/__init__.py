"""Containers: how the agent runs a command so that it outlives the agent and its exit status is never lost."""
