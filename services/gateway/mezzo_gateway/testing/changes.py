"""Changes as a registry would tell them, for tests of whatever reads the state copy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mesos.v1.mesos_pb2 import (
    TASK_RUNNING,
    AgentInfo,
    FrameworkInfo,
    MasterInfo,
    Offer,
    Resource,
    TaskState,
    TaskStatus,
    Value,
)
from mezzo.operator.v1.operator_pb2 import (
    TASK_LIST_ACTIVE,
    SnapshotBegin,
    SnapshotEnd,
    StateChange,
    TaskList,
)

REGISTRY_ID = "11111111-2222-3333-4444-555555555555"
AGENT_ID = f"{REGISTRY_ID}-S0"
FRAMEWORK_ID = f"{REGISTRY_ID}-0000"
START_TIME = 1_700_000_000.0
NANOSECONDS = 1_000_000_000


def scalar(name: str, value: float, *, allocated_to: str | None = None, reserved_to: str | None = None) -> Resource:
    """A scalar resource."""
    resource = Resource(name=name, type=Value.SCALAR, scalar=Value.Scalar(value=value))
    if allocated_to is not None:
        resource.allocation_info.role = allocated_to
    if reserved_to is not None:
        resource.reservations.add(type=Resource.ReservationInfo.STATIC, role=reserved_to)
    return resource


def ports(begin: int, end: int, *, allocated_to: str | None = None) -> Resource:
    """A range of ports."""
    resource = Resource(name="ports", type=Value.RANGES)
    resource.ranges.range.add(begin=begin, end=end)
    if allocated_to is not None:
        resource.allocation_info.role = allocated_to
    return resource


def snapshot(*changes: StateChange, master_info: MasterInfo | None = None) -> list[StateChange]:
    """A whole snapshot that contains `changes`."""
    begin = SnapshotBegin(
        master_info=master_info or master(),
        start_time=START_TIME,
        elected_time=START_TIME + 1,
        flags={"zk_session_timeout": "10secs", "log_dir": "/var/log/mezzo"},
        version="0.1.0",
    )
    return [StateChange(snapshot_begin=begin), *changes, StateChange(snapshot_end=SnapshotEnd())]


def master(port: int = 5050) -> MasterInfo:
    """A registry whose gateway is at 127.0.0.1:`port`."""
    info = MasterInfo(
        id=REGISTRY_ID, ip=0x0100007F, port=port, pid=f"master@127.0.0.1:{port}", hostname="127.0.0.1", version="1.11.0"
    )
    info.address.hostname = info.address.ip = "127.0.0.1"
    info.address.port = port
    info.capabilities.add(type=MasterInfo.Capability.AGENT_UPDATE)
    return info


def agent_changed(
    agent_id: str = AGENT_ID,
    *,
    resources: Iterable[Resource] | None = None,
    recovered: bool = False,
    address: str = "127.0.0.1:5051",
    pid: str | None = None,
) -> StateChange:
    """An agent with two CPUs, unless other resources are named."""
    change = StateChange()
    changed = change.agent_changed
    changed.connected, changed.recovered = not recovered, recovered
    agent = changed.agent
    host, _, port = address.partition(":")
    agent.agent_info.id.value = agent_id
    agent.agent_info.hostname = host
    agent.agent_info.port = int(port)
    agent.active, agent.deactivated = not recovered, False
    agent.version, changed.mezzo_version = "1.11.0", "0.1.0"
    agent.pid = f"slave(1)@{address}" if pid is None else pid
    agent.registered_time.nanoseconds = int(START_TIME) * NANOSECONDS
    total = [scalar("cpus", 2), scalar("mem", 1024), scalar("disk", 4096), ports(31000, 32000)]
    agent.total_resources.extend(total if resources is None else resources)
    agent.agent_info.resources.extend(agent.total_resources)
    agent.capabilities.add(type=AgentInfo.Capability.MULTI_ROLE)
    return change


def agent_gone(
    agent_id: str = AGENT_ID, *, unreachable: bool = False, gone: bool = False, since: float | None = None
) -> StateChange:
    """An agent that is removed, unreachable or gone."""
    change = StateChange()
    change.agent_gone.agent_id.value = agent_id
    change.agent_gone.unreachable, change.agent_gone.gone = unreachable, gone
    if since is not None:
        change.agent_gone.since = since
    return change


def framework_changed(
    framework_id: str = FRAMEWORK_ID,
    *,
    completed: bool = False,
    roles: Iterable[str] | None = None,
    name: str = "a framework",
) -> StateChange:
    """A framework of role `*`, or one with the capability MULTI_ROLE and `roles`."""
    change = StateChange()
    changed = change.framework_changed
    changed.completed = completed
    changed.client_address = "127.0.0.1:40000"
    framework = changed.framework
    info = framework.framework_info
    info.user, info.name, info.id.value = "root", name, framework_id
    info.capabilities.add(type=FrameworkInfo.Capability.PARTITION_AWARE)
    if roles is None:
        info.role = "*"
    else:
        info.capabilities.add(type=FrameworkInfo.Capability.MULTI_ROLE)
        info.roles.extend(roles)
    framework.active = framework.connected = not completed
    framework.recovered = False
    framework.registered_time.nanoseconds = framework.reregistered_time.nanoseconds = int(START_TIME) * NANOSECONDS
    framework.offer_constraints.SetInParent()
    if completed:
        framework.unregistered_time.nanoseconds = int(START_TIME + 9) * NANOSECONDS
    return change


def status(
    state: TaskState.ValueType, task_id: str = "t1", *, agent_id: str = AGENT_ID, timestamp: float = START_TIME
) -> TaskStatus:
    """A status as an agent reports it of a command."""
    made = TaskStatus(state=state, source=TaskStatus.SOURCE_EXECUTOR, timestamp=timestamp)
    made.task_id.value = made.executor_id.value = task_id
    made.agent_id.value = agent_id
    made.uuid = f"{task_id}{state}".encode().ljust(16, b".")[:16]
    container = made.container_status
    container.container_id.value = f"container-of-{task_id}"
    container.network_infos.add().ip_addresses.add(ip_address="127.0.0.1", protocol=1)
    container.executor_pid = 4711
    return made


def task_added(
    task_id: str = "t1",
    *,
    framework_id: str = FRAMEWORK_ID,
    agent_id: str = AGENT_ID,
    state: TaskState.ValueType = TASK_RUNNING,
    task_list: TaskList.ValueType = TASK_LIST_ACTIVE,
    resources: Iterable[Resource] | None = None,
    timestamp: float = START_TIME,
    message: str = "",
) -> StateChange:
    """A task that has reported `state`."""
    change = StateChange()
    change.task_added.list = task_list
    task = change.task_added.task
    task.name = task.task_id.value = task_id
    task.framework_id.value = framework_id
    task.agent_id.value = agent_id
    task.state = task.status_update_state = state
    needed = [scalar("cpus", 0.5, allocated_to="*"), scalar("mem", 64, allocated_to="*")]
    task.resources.extend(needed if resources is None else resources)
    task.statuses.append(status(state, task_id, agent_id=agent_id, timestamp=timestamp))
    if message:
        task.statuses[0].message = message
    task.status_update_uuid = task.statuses[0].uuid
    return change


def task_updated(
    new_status: TaskStatus,
    *,
    framework_id: str = FRAMEWORK_ID,
    task_list: TaskList.ValueType = TASK_LIST_ACTIVE,
    latest: TaskState.ValueType | None = None,
    unacknowledged: bool = True,
) -> StateChange:
    """A new status of a task."""
    change = StateChange()
    updated = change.task_updated
    updated.framework_id.value = framework_id
    updated.agent_id.CopyFrom(new_status.agent_id)
    updated.status.CopyFrom(new_status)
    updated.latest.CopyFrom(new_status)
    if latest is not None:
        updated.latest.state = latest
    updated.list = task_list
    updated.unacknowledged = unacknowledged
    return change


def task_forgotten(
    task_list: TaskList.ValueType, task_id: str = "t1", *, framework_id: str = FRAMEWORK_ID, agent_id: str = AGENT_ID
) -> StateChange:
    """A task that is dropped from a list."""
    change = StateChange()
    forgotten = change.task_forgotten
    forgotten.task_id.value, forgotten.agent_id.value = task_id, agent_id
    forgotten.framework_id.value = framework_id
    forgotten.list = task_list
    return change


def offer_added(
    offer_id: str = "O0",
    *,
    framework_id: str = FRAMEWORK_ID,
    agent_id: str = AGENT_ID,
    resources: Iterable[Resource] | None = None,
    made_at: float | None = None,
) -> StateChange:
    """An offer of one CPU, unless other resources are named."""
    offer = Offer(hostname="127.0.0.1")
    offer.id.value, offer.framework_id.value, offer.agent_id.value = offer_id, framework_id, agent_id
    offer.allocation_info.role = "*"
    offer.resources.extend([scalar("cpus", 1, allocated_to="*")] if resources is None else resources)
    change = StateChange()
    change.offer_added.offer.CopyFrom(offer)
    if made_at is not None:
        change.offer_added.made_at = made_at
    return change


def offer_removed(offer_id: str = "O0") -> StateChange:
    """An offer that is no longer out."""
    change = StateChange()
    change.offer_removed.offer_id.value = offer_id
    return change


def executor_added(
    executor_id: str = "e1", *, framework_id: str = FRAMEWORK_ID, agent_id: str = AGENT_ID
) -> StateChange:
    """A custom executor with a tenth of a CPU."""
    change = StateChange()
    added = change.executor_added
    added.agent_id.value = agent_id
    info = added.executor_info
    info.executor_id.value, info.framework_id.value = executor_id, framework_id
    info.name = "an executor"
    info.command.value = "./run"
    info.resources.append(scalar("cpus", 0.1, allocated_to="*"))
    return change


def executor_removed(
    executor_id: str = "e1", *, framework_id: str = FRAMEWORK_ID, agent_id: str = AGENT_ID
) -> StateChange:
    """A custom executor that has ended."""
    change = StateChange()
    removed = change.executor_removed
    removed.executor_id.value, removed.framework_id.value = executor_id, framework_id
    removed.agent_id.value = agent_id
    return change


def role_changed(
    role: str,
    weight: float = 1.0,
    *,
    guarantees: Mapping[str, float] | None = None,
    limits: Mapping[str, float] | None = None,
    forgotten: bool = False,
) -> StateChange:
    """A role with what is configured for it."""
    change = StateChange()
    changed = change.role_changed
    changed.role, changed.weight, changed.forgotten = role, weight, forgotten
    changed.quota_guarantees.update(guarantees or {})
    changed.quota_limits.update(limits or {})
    changed.configured = weight != 1.0 or bool(guarantees or limits)
    return change
