"""Where the agent meets the world: disk, network, time, containers."""
