"""The HTTP dialect of Mesos, as the gateway and the agents serve it."""
