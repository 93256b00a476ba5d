"""The agent's HTTP server: executors, the operator API, and Mesos' older read-only endpoints."""
