"""The messages that a job becomes: the framework, and a task for each of its instances."""

from __future__ import annotations

import shlex
import uuid

import typer

from mesos.v1 import mesos_pb2 as mesos
from mezzo.cli.fields import without_path
from mezzo.cli.jobs.spec import JobSpec
from mezzo.cli.labels import pair
from mezzo.resources import ResourceError, Resources, from_thousandths, parse

NANOSECONDS = 1e9

# What in the request each option becomes, by the end of its path.
OPTIONS = {
    "framework_info.roles": "--role",
    "framework_info.user": "--user",
    "command.user": "--user",
    "command.uris.value": "--uri",
    "command.environment": "--env",
    "command.environment.variables": "--env",
    "command.environment.variables.name": "--env",
    "command.environment.variables.value": "--env",
    "task_infos.name": "--name",
    "task_id.value": "--name",
    "command.value": "command",
    "command.arguments": "command",
    "resources": "--resources",
    "resources.name": "--resources",
    "resources.scalar": "--resources",
    "resources.scalar.value": "--resources",
    "resources.ranges": "--resources",
    "resources.set": "--resources",
    "labels": "--label",
    "text_matches.regex": "--constraint",
    "text_not_matches.regex": "--constraint",
}


def new_run_id(spec: JobSpec) -> str:
    """What the ids of its tasks begin with: the name that it was given, and what makes it another one each time."""
    return f"{(spec.name or 'run').replace('/', '-')}-{uuid.uuid4().hex[:8]}"


def task_info(spec: JobSpec, task_id: str) -> mesos.TaskInfo:
    """A task of the job, for any agent. Raises `typer.BadParameter` for what cannot be one."""
    task = mesos.TaskInfo(name=spec.title, agent_id=mesos.AgentID(value=""), resources=needed(spec).messages())
    task.task_id.value = task_id
    _set_command(task.command, spec)
    if spec.timeout_seconds is not None:
        task.max_completion_time.nanoseconds = round(spec.timeout_seconds * NANOSECONDS)
    for text in spec.labels:
        key, value = pair(text, "--label")
        task.labels.labels.add(key=key, value=value)
    return task


def needed(spec: JobSpec) -> Resources:
    """What each task takes. Raises `typer.BadParameter` with the option that is wrong."""
    cpus, mem = f"cpus:{spec.cpus}", f"mem:{spec.mem}"
    is_json = spec.resources.lstrip().startswith("[")
    parsed = {
        "--cpus": cpus,
        "--mem": mem,
        # As one text, in which no name is of two types.
        "--resources": spec.resources if is_json else f"{cpus};{mem};{spec.resources}",
    }
    for option, text in parsed.items():
        try:
            parse(text)
        except ResourceError as error:
            shown = without_path(str(error)).removeprefix("resources: ")
            raise typer.BadParameter(shown, param_hint=option) from None
    return parse(f"{cpus};{mem}") + parse(spec.resources) if is_json else parse(parsed["--resources"])


def framework_info(spec: JobSpec) -> mesos.FrameworkInfo:
    """A framework of its own, that goes with the job."""
    info = mesos.FrameworkInfo(
        user=spec.user,
        name=f"mezzo run {spec.title}",
        roles=[spec.role],
        failover_timeout=spec.failover_seconds,
    )
    info.capabilities.add(type=mesos.FrameworkInfo.Capability.MULTI_ROLE)
    # An agent that is out of reach for a while has not lost its task.
    info.capabilities.add(type=mesos.FrameworkInfo.Capability.PARTITION_AWARE)
    # What is smaller is not even offered; and whoever asks why nothing is offered is told what is too little.
    least = needed(spec).scalars().quantities()
    if least:
        quantities = info.offer_filters[spec.role].min_allocatable_resources.quantities.add().quantities
        for name, thousandths in least.items():
            quantities[name].value = from_thousandths(thousandths)
    return info


def _set_command(info: mesos.CommandInfo, spec: JobSpec) -> None:
    command = spec.command
    info.shell = spec.shell
    if spec.shell:
        info.value = " ".join(command)
    elif "/" in command[0]:
        info.value = command[0]
        info.arguments.extend(command)
    else:
        # Looked up on the agent's PATH, which only a shell does.
        info.shell = True
        info.value = f"exec {shlex.join(command)}"
    for text in spec.env:
        name, value = pair(text, "--env")
        info.environment.variables.add(name=name, value=value)
    info.uris.extend(mesos.CommandInfo.URI(value=value) for value in spec.uris)
