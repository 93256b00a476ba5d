"""How frameworks end: torn down by themselves or an operator, or away for longer than their failover time-out."""

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo_registry.core import mesos_messages
from mezzo_registry.core.context import Context
from mezzo_registry.core.effects import CloseFrameworkStream
from mezzo_registry.core.events import TimerFired
from mezzo_registry.core.frameworks.subscription import FAILOVER
from mezzo_registry.core.offers import inverse_offers, offering
from mezzo_registry.core.state.entities import Framework
from mezzo_registry.core.tasks import termination
from mezzo_registry.core.views import allocator_messages, observers


def timed_out(context: Context, event: TimerFired) -> None:
    """Tear down a framework that did not come back in time."""
    framework = context.state.frameworks.get(event.timer.subject)
    if framework is not None and not framework.connected:
        tear_down(context, framework, "failover_timeout expired")


def tear_down(context: Context, framework: Framework, reason: str) -> None:
    """End a framework: its tasks are killed, its executors shut down, and its id is never valid again."""
    cluster = context.state
    context.cancel_timer(FAILOVER, framework.id)
    for offer in list(framework.offers.values()):
        offering.remove(context, offer, offering.Outcome.WITHDRAWN)
    inverse_offers.rescind(context, framework.inverse_offers.values())
    inverse_offers.forget(context, framework)
    shutdown = agent_session.ShutdownFramework()
    shutdown.framework_id.value = framework.id
    message = agent_session.RegistryMessage(shutdown_framework=shutdown)
    for agent_id in list(framework.agents):
        context.to_agent(cluster.agents[agent_id], message)
    for task in list(framework.tasks.values()):
        if task.terminal:
            termination.complete(context, task)
        else:
            termination.end(
                context,
                task,
                mesos.TASK_KILLED,
                mesos.TaskStatus.REASON_FRAMEWORK_REMOVED,
                mesos_messages.framework_removed(framework.id),
            )
    _forget_unreachable(context, framework)
    for executor in list(framework.executors.values()):
        cluster.drop_executor(executor)
        allocator_messages.recovered(context, framework, executor.agent, executor.role, executor.resources)
        observers.executor_removed(context, executor)
    if framework.stream_id is not None:
        cluster.frameworks_by_stream.pop(framework.stream_id, None)
        context.emit(CloseFrameworkStream(framework.stream_id))
        framework.stream_id = None
    framework.unregistered_at = context.now
    vanished = cluster.drop_framework(framework)
    allocator_messages.framework_removed(context, framework)
    _keep_completed(context, framework)
    observers.roles_changed(context, vanished)
    context.note("framework removed", framework_id=framework.id, name=framework.info.name, reason=reason)


def _forget_unreachable(context: Context, framework: Framework) -> None:
    for task in list(framework.unreachable.values()):
        context.state.drop_unreachable_task(task)
        observers.task_forgotten(context, task, observers.UNREACHABLE)


def _keep_completed(context: Context, framework: Framework) -> None:
    cluster = context.state
    cluster.completed[framework.id] = framework
    observers.framework_changed(context, framework)
    while len(cluster.completed) > context.settings.max_completed_frameworks:
        _, oldest = cluster.completed.popitem(last=False)
        observers.framework_forgotten(context, oldest)
