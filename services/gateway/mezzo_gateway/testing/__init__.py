"""For tests of the gateway: a cluster's changes, and a registry that says what it is told to."""
