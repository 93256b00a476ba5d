"""What Mesos' agent and its executors say word for word: protocol, because clients compare with it.

Each is what src/slave/slave.cpp and src/launcher of Mesos 1.11 say in the same place; the programs named match it, as a
whole or a part of it. Nothing here may be reworded. How processes ended is in `wait_status`: "exited with status 3",
"terminated with signal Killed".
"""

COMMAND = "Command {}"
"""How a command task ended: "Command exited with status 3" (the command executor). Kept and shown by Marathon, Peloton
and allegro's marathon-consul; matched by people's alerts.
"""

EXECUTOR_REGISTRATION_TIMEOUT = "Executor did not register within {}"
EXECUTOR_REREGISTRATION_TIMEOUT = "Executor did not reregister within {}"

LAUNCH_FAILED = "Failed to launch container: {}"
"""Why a container did not start (`Slave::executorLaunched`). What follows is ours, save that a failed fetch says so."""

UNKNOWN_CONTAINER = "Abnormal executor termination: unknown container"
"""The agent came back, and the container had left no trace (`Slave::sendExecutorTerminatedStatusUpdate`). Swarm on
Mesos looks for "Abnormal executor termination" to hint at its user's settings.
"""

EXECUTOR_TERMINATING = "Executor terminating"
EXECUTOR_TERMINATED = "Executor terminated"
"""A task for an executor that is on its way out, or out and not acknowledged yet (`Slave::__run`)."""

KILLED_BEFORE_DELIVERY = "Killed before delivery to the executor"
"""`Slave::killTask`; also of a command task, whose executor is the agent itself here."""
