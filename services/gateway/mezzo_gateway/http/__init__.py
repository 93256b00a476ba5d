"""What the gateway answers: the scheduler API, the operator API, Mesos' older endpoints, and files."""
