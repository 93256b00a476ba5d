"""Where the agent meets the machine: the journal's disk, users, what the hardware has."""
