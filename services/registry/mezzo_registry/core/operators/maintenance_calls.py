"""The calls of operators about maintenance: checked, stored, and then carried out.

As with roles, a call is checked against what will be planned once everything before it is stored.
"""

from mesos.v1.master import master_pb2 as master
from mezzo.errors import InvalidRequest, LimitExceeded
from mezzo_registry.core import mesos_messages, records
from mezzo_registry.core.agents import removal
from mezzo_registry.core.context import Context
from mezzo_registry.core.effects import Answer, Persist
from mezzo_registry.core.events import MaintenanceStored
from mezzo_registry.core.offers import offering
from mezzo_registry.core.settings import PLAN_BYTES_MAX
from mezzo_registry.core.state.entities import Agent
from mezzo_registry.core.state.maintenance import Plan, machine, text
from mezzo_registry.core.validation.maintenance import check_machines, check_schedule
from mezzo_registry.core.views import allocator_messages

Response = master.Response


def get_schedule(context: Context, _call: master.Call) -> master.Response:
    """Return the maintenance schedule."""
    response = Response(type=Response.GET_MAINTENANCE_SCHEDULE)
    response.get_maintenance_schedule.schedule.CopyFrom(context.state.plan.schedule())
    return response


def get_status(context: Context, _call: master.Call) -> master.Response:
    """Return which machines are draining, with what frameworks answered, and which are down."""
    plan = context.state.plan
    response = Response(type=Response.GET_MAINTENANCE_STATUS)
    status = response.get_maintenance_status.status
    status.SetInParent()
    draining = {}
    for one in plan.machines():
        if machine(one) in plan.down:
            status.down_machines.append(one)
        else:
            draining[machine(one)] = status.draining_machines.add(id=one)
    if draining:
        for agent in context.state.agents.values():
            for one_name in plan.machines_of(agent.info.hostname, agent.pid):
                if one_name in draining:
                    draining[one_name].statuses.extend(agent.inverse_statuses.values())
    return response


def update_schedule(context: Context, call: master.Call, request: int) -> None:
    """Replace the maintenance schedule.

    Raises:
        InvalidRequest: the schedule makes no sense, or leaves out a machine that is down.
        LimitExceeded: it is too long.
    """
    if not call.HasField("update_maintenance_schedule"):
        raise InvalidRequest(
            "update_maintenance_schedule", "is required for a call of type UPDATE_MAINTENANCE_SCHEDULE"
        )
    schedule = call.update_maintenance_schedule.schedule
    size = schedule.ByteSize()
    if size > PLAN_BYTES_MAX:
        raise LimitExceeded(f"the schedule has {size} bytes; at most {PLAN_BYTES_MAX} are allowed")
    check_schedule(schedule, context.state.pending_plan, "update_maintenance_schedule.schedule")
    _persist(context, request, context.state.pending_plan.rescheduled(schedule))


def start(context: Context, call: master.Call, request: int) -> None:
    """Take machines out of service: their agents are shut down.

    Raises:
        InvalidRequest: a machine is not in the schedule, or is down.
    """
    if not call.HasField("start_maintenance"):
        raise InvalidRequest("start_maintenance", "is required for a call of type START_MAINTENANCE")
    plan, field = context.state.pending_plan, "start_maintenance.machines"
    machines = check_machines(call.start_maintenance.machines, plan, field)
    for index, one in enumerate(machines):
        if one in plan.down:
            raise InvalidRequest(f"{field}[{index}]", f"machine {text(one)} is down already")
    _persist(context, request, plan.with_down(machines))


def stop(context: Context, call: master.Call, request: int) -> None:
    """Put machines back into service, and remove them from the schedule.

    Raises:
        InvalidRequest: a machine is not down.
    """
    if not call.HasField("stop_maintenance"):
        raise InvalidRequest("stop_maintenance", "is required for a call of type STOP_MAINTENANCE")
    plan, field = context.state.pending_plan, "stop_maintenance.machines"
    machines = check_machines(call.stop_maintenance.machines, plan, field)
    for index, one in enumerate(machines):
        if one not in plan.down:
            raise InvalidRequest(f"{field}[{index}]", f"machine {text(one)} is not down")
    _persist(context, request, plan.without(machines))


def _persist(context: Context, request: int, plan: Plan) -> None:
    """Store the plan. Nothing follows from it before it is stored."""
    # A machine that is down takes more room than one that is planned to be: whatever is planned here can be started.
    size = sum(len(one.value or b"") for one in records.maintain(plan.with_down(map(machine, plan.machines()))))
    if size > PLAN_BYTES_MAX:
        raise LimitExceeded(
            f"the schedule has {size} bytes, counting all its machines as down; at most {PLAN_BYTES_MAX} are allowed"
        )
    context.state.pending_plan = plan
    context.emit(Persist(records.maintain(plan), MaintenanceStored(request, plan)))


def stored(context: Context, event: MaintenanceStored) -> None:
    """Apply a stored plan: shut down the agents of machines that are down, and renew the offers of others."""
    cluster = context.state
    before, cluster.plan = cluster.plan, event.plan
    for agent in list(cluster.agents.values()):
        hostname, pid = agent.info.hostname, agent.pid
        if event.plan.is_down(hostname, pid):
            removal.remove(context, agent, mesos_messages.CAUSE_MACHINE_DOWN)
        elif event.plan.unavailability(hostname, pid) != before.unavailability(hostname, pid):
            _replanned(context, agent)
    context.note("maintenance updated", machines=sum(1 for _ in event.plan.machines()), down=len(event.plan.down))
    context.emit(Answer(event.request))


def _replanned(context: Context, agent: Agent) -> None:
    """Renew the offers and inverse offers of an agent: those that are out tell of another plan, or of none."""
    removal.rescind_offers(context, agent)
    agent.inverse_statuses.clear()
    if agent.registered_at is not None:
        agent.offer_form = offering.offer_form(context.state, agent)
        allocator_messages.agent_changed(context, agent, holdings=False)
