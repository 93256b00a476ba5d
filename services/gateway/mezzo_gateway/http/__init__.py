"""What the gateway answers: the scheduler API, the operator API, Mesos' legacy endpoints, and files."""
