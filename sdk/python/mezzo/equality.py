"""When two messages of Mesos mean the same, however they are written.

A field that is not set means its default; the order of resources, labels, URIs, variables, volumes and ports means
nothing, the order of arguments does. Some fields are not compared at all, such as an executor's labels and its
`shutdown_grace_period`: they may differ from one task to the next. All of it as `operator==` has it in
src/common/type_utils.cpp, src/common/values.cpp and src/common/attributes.cpp of apache/mesos, but that lists with
repeated elements are compared alike from both sides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

from google.protobuf.message import Message

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import Resources
from mezzo.resources.ranges import normalise
from mezzo.resources.scalar import THOUSANDTHS

M = TypeVar("M", bound=Message)


def same(left: M, right: M) -> bool:
    """Whether two messages of one type mean the same.

    Raises:
        ResourceError: resources in them make no sense.
        KeyError: nothing is known of messages of this type.
    """
    form = _FORMS[left.DESCRIPTOR.full_name]
    return form(left) == form(right)


# Each function below gives what a message means, as a value that can be compared.


def _unordered(forms: Iterable[Hashable]) -> Hashable:
    listed = tuple(forms)
    return len(listed), frozenset(listed)


def _label(label: mesos.Label) -> Hashable:
    return label.key, label.value


def _labels(labels: mesos.Labels) -> Hashable:
    return _unordered(map(_label, labels.labels))


def _parameter(parameter: mesos.Parameter) -> Hashable:
    return parameter.key, parameter.value


def _uri(uri: mesos.CommandInfo.URI) -> Hashable:
    """Not `cache`: the file is the same, wherever it was fetched from."""
    return uri.value, uri.executable, uri.extract, uri.output_file


def _variable(variable: mesos.Environment.Variable) -> Hashable:
    return variable.name, variable.value


def _environment(environment: mesos.Environment) -> Hashable:
    return _unordered(map(_variable, environment.variables))


def _command(command: mesos.CommandInfo) -> Hashable:
    return (
        command.value,
        command.shell,
        command.user,
        tuple(command.arguments),
        _unordered(map(_uri, command.uris)),
        _environment(command.environment),
    )


def _volume(volume: mesos.Volume) -> Hashable:
    return volume.container_path, volume.host_path, volume.mode


def _port_mapping(mapping: mesos.ContainerInfo.DockerInfo.PortMapping) -> Hashable:
    return mapping.host_port, mapping.container_port, mapping.protocol


def _docker(docker: mesos.ContainerInfo.DockerInfo) -> Hashable:
    return (
        docker.image,
        docker.network,
        docker.privileged,
        docker.force_pull_image,
        _unordered(map(_port_mapping, docker.port_mappings)),
        _unordered(map(_parameter, docker.parameters)),
    )


def _container(container: mesos.ContainerInfo) -> Hashable:
    return container.type, container.hostname, _docker(container.docker), _unordered(map(_volume, container.volumes))


def _port(port: mesos.Port) -> Hashable:
    return port.number, port.name, port.protocol, port.visibility


def _discovery(discovery: mesos.DiscoveryInfo) -> Hashable:
    return (
        discovery.visibility,
        discovery.name,
        discovery.environment,
        discovery.location,
        discovery.version,
        _unordered(map(_port, discovery.ports.ports)),
        _labels(discovery.labels),
    )


def _executor(info: mesos.ExecutorInfo) -> Hashable:
    return (
        # One with a command of its own is CUSTOM whether it says so or not.
        info.type or mesos.ExecutorInfo.CUSTOM,
        info.executor_id.value,
        info.framework_id.value,
        info.name,
        info.source,
        info.data,
        Resources.of(info.resources),
        _command(info.command),
        _container(info.container),
        _discovery(info.discovery),
    )


def _thousandths(value: float) -> Hashable:
    """Nothing bounds attributes: those which are no amount are compared as they are written, and NaN equals itself."""
    amount = value * THOUSANDTHS
    return round(amount) if math.isfinite(amount) else str(value)


def _attribute(attribute: mesos.Attribute) -> Hashable:
    value: Hashable
    if attribute.type == mesos.Value.SCALAR:
        value = _thousandths(attribute.scalar.value)
    elif attribute.type == mesos.Value.RANGES:
        value = normalise((each.begin, each.end) for each in attribute.ranges.range)
    elif attribute.type == mesos.Value.SET:
        value = _unordered(attribute.set.item)
    else:
        value = attribute.text.value
    return attribute.name, attribute.type, value


def _domain(domain: mesos.DomainInfo) -> Hashable:
    where = domain.fault_domain
    return domain.HasField("fault_domain"), where.region.name, where.zone.name


def _agent(info: mesos.AgentInfo) -> Hashable:
    return (
        info.id.value,
        info.hostname,
        info.port,
        Resources.of(info.resources),
        _unordered(map(_attribute, info.attributes)),
        _domain(info.domain),
    )


def _forms(*functions: tuple[type[Message], Callable[[Any], Hashable]]) -> dict[str, Callable[[Any], Hashable]]:
    return {message.DESCRIPTOR.full_name: function for message, function in functions}


_FORMS = _forms(
    (mesos.AgentInfo, _agent),
    (mesos.Attribute, _attribute),
    (mesos.CommandInfo, _command),
    (mesos.CommandInfo.URI, _uri),
    (mesos.ContainerInfo, _container),
    (mesos.ContainerInfo.DockerInfo, _docker),
    (mesos.ContainerInfo.DockerInfo.PortMapping, _port_mapping),
    (mesos.DiscoveryInfo, _discovery),
    (mesos.DomainInfo, _domain),
    (mesos.Environment, _environment),
    (mesos.Environment.Variable, _variable),
    (mesos.ExecutorInfo, _executor),
    (mesos.Label, _label),
    (mesos.Labels, _labels),
    (mesos.Parameter, _parameter),
    (mesos.Port, _port),
    (mesos.Volume, _volume),
)
"""The full name of a type of message → what one of it means."""
