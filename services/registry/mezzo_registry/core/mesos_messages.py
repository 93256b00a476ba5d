"""What Mesos' master says word for word: protocol, because clients compare with it.

Each is what src/master of Mesos 1.11 sends in the same place; the clients named are public programs that match it, as a
whole or a part of it. Nothing here may be reworded.
"""

# --- ERROR events -----------------------------------------------------------------------------------------------------

FRAMEWORK_REMOVED = "Framework has been removed"
"""SUBSCRIBE under the id of a framework that is completed (`Master::validateFramework`).

Mesos knows that only of what is among its `max_completed_frameworks`, and no longer after a fail-over: under an id that
it does not know a framework is admitted, with that id. Compared by Marathon, the Jenkins plugin, Kafka, HDFS, swan,
riak-mesos (erl_mesos), hippo and programs on mesos-go, which then forget the id that they stored and subscribe without.
"""

FRAMEWORK_FAILED_OVER = "Framework failed over"
"""On the stream of before, when the framework subscribes on another (`Master::failoverFramework`). Compared by programs
on mesos-go, which end, and by Mesos' own drivers' tests.
"""

# --- bodies of HTTP answers (`Master::Http::scheduler`) ---------------------------------------------------------------

FRAMEWORK_NOT_FOUND = "Framework cannot be found"
"""400: a call of a framework that is not registered."""

FRAMEWORK_NOT_SUBSCRIBED = "Framework is not subscribed"
"""403: a call without a stream. Singularity reconnects on it, through mesos-rxjava's "Status: 403 Message: '…'"."""

STREAM_ID_MISSING = "All non-subscribe calls should include the 'Mesos-Stream-Id' header"
"""400."""


def stream_id_differs(stream_id: str, framework_id: str) -> str:
    """400: a call on another stream than that of the subscription."""
    return (
        f"The stream ID '{stream_id}' included in this request didn't match the stream ID currently associated with "
        f"framework ID {framework_id}"
    )


# --- status updates: reconciliation (`Master::reconcile`, `Master::reconcileOperations`) ------------------------------

RECONCILED_LATEST = "Reconciliation: Latest task state"
"""Shown, and kept, by DC/OS' services."""

RECONCILED_UNKNOWN_TO_AGENT = "Reconciliation: Task is unknown to the agent"
"""TASK_LOST or TASK_GONE. Marathon and Metronome take a TASK_LOST whose message begins with "Reconciliation: Task is
unknown to the" for the end of the task, and any other for one that may come back.
"""

RECONCILED_UNREACHABLE = "Reconciliation: Task is unreachable"

RECONCILED_GONE = "Reconciliation: Task is gone"

RECONCILED_UNKNOWN = "Reconciliation: Task is unknown"
"""Handled by dcos-commons, and looked for by monitors of Marathon (marathon-consul)."""

OPERATION_AGENT_RECOVERED = "Reconciliation: Agent is recovered but has not re-registered"
OPERATION_UNREACHABLE = "Reconciliation: Agent is unreachable"
OPERATION_GONE = "Reconciliation: Agent marked gone by operator"
OPERATION_UNKNOWN = "Reconciliation: Operation is unknown"
OPERATION_AND_AGENT_UNKNOWN = "Reconciliation: Both operation and agent are unknown"
OPERATION_WITHOUT_AGENT = "Reconciliation: Operation is unknown and no 'agent_id' was provided"

# --- status updates: what the master ends -----------------------------------------------------------------------------

AGENT_UNREACHABLE = "health check timed out"
"""TASK_UNREACHABLE or TASK_LOST when an agent has been silent for too long (`SlaveObserver`)."""

AGENT_REREGISTERED = "Unreachable agent re-reregistered"
"""For each task that came back with an agent that was unreachable; with Mesos' slip of the pen."""

TASK_UNKNOWN_TO_AGENT = "Reconciliation: task unknown to the agent"
"""A task is missing on the agent that came back. In Mesos the agent says so (`Slave::reregistered`)."""


def agent_removed(hostname: str, cause: str) -> str:
    """TASK_LOST of each task of an agent that is removed (`Master::_removeSlave`)."""
    return f"Agent {hostname} removed: {cause}"


def framework_removed(framework_id: str) -> str:
    """TASK_KILLED of each task of a framework that is removed (`Master::removeFramework`)."""
    return f"Framework {framework_id} removed"


# --- why agents are removed: also the reason that they are shut down with ---------------------------------------------

CAUSE_UNREGISTERED = "the agent unregistered"
CAUSE_SAME_ADDRESS = "a new agent registered at the same address"
CAUSE_MACHINE_DOWN = "Operator initiated 'Machine DOWN'"
MACHINE_IS_DOWN = "Machine is `DOWN`"
AGENT_GONE = "Agent has been marked gone"

# --- status updates: launches on offers that do not hold (`validation::offer::validate`) ------------------------------

INVALID_OFFERS = "Task launched with invalid offers: {}"
"""Cook and containercafe's Swarm match it, with "Offer … is no longer valid" after it, to try again."""

OPERATION_INVALID_OFFERS = "Operation attempted with invalid offers: {}"
NO_OFFERS = "No offers specified"


def offer_duplicate(offer_id: str) -> str:
    """The same offer twice in one ACCEPT."""
    return f"Duplicate offer {offer_id} in offer list"


def offer_invalid(offer_id: str) -> str:
    """An offer that is not out: rescinded, or used already."""
    return f"Offer {offer_id} is no longer valid"


def offer_of_another(offer_id: str, owner_id: str, framework_id: str) -> str:
    """An offer that was made to another framework."""
    return f"Offer {offer_id} has invalid framework {owner_id} while framework {framework_id} is expected"


def offers_of_two_agents(offer_id: str, agent_id: str, first_agent_id: str) -> str:
    """Offers of several agents in one ACCEPT."""
    return (
        f"Aggregated offers must belong to one single agent. Offer {offer_id} uses agent {agent_id} and agent "
        f"{first_agent_id}"
    )


def offers_for_two_roles(offer_id: str, role: str, first_role: str) -> str:
    """Offers for several roles in one ACCEPT; Mesos closes none of the quotes."""
    return (
        f"Aggregated offers must be allocated to the same role. Offer {offer_id} uses role '{role} but another is "
        f"using role '{first_role}"
    )
