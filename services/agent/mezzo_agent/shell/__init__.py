"""One incarnation of the agent: turns of the core, its effects, the session with the registry, streams of executors."""
