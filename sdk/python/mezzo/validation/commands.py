"""Commands, their environment, and the containers that they run in.

Source: src/common/validation.cpp of apache/mesos.
"""

from __future__ import annotations

from mesos.v1 import mesos_pb2 as mesos
from mezzo.errors import InvalidRequest

from .identifiers import check_text

Variable = mesos.Environment.Variable


def check_command(command: mesos.CommandInfo, field: str) -> None:
    """Refuse a command that could not be started.

    Raises:
        InvalidRequest: a variable of its environment has neither a value nor a secret, a URI is empty, or there is a
            null character where a program could not be given one.
    """
    check_text(command.value, f"{field}.value")
    check_text(command.user, f"{field}.user")
    for index, argument in enumerate(command.arguments):
        check_text(argument, f"{field}.arguments[{index}]")
    for index, variable in enumerate(command.environment.variables):
        _check_variable(variable, f"{field}.environment.variables[{index}]")
    for index, uri in enumerate(command.uris):
        if not uri.value:
            raise InvalidRequest(f"{field}.uris[{index}].value", "must not be empty")
        check_text(uri.value, f"{field}.uris[{index}].value")
        check_text(uri.output_file, f"{field}.uris[{index}].output_file")


def _check_variable(variable: mesos.Environment.Variable, field: str) -> None:
    if not variable.name:
        raise InvalidRequest(f"{field}.name", "must not be empty")
    check_text(variable.name, f"{field}.name")
    check_text(variable.value, f"{field}.value")
    if variable.type == Variable.SECRET:
        if not variable.HasField("secret"):
            raise InvalidRequest(f"{field}.secret", f"variable '{variable.name}' of type SECRET must have a secret")
        if variable.HasField("value"):
            raise InvalidRequest(f"{field}.value", f"variable '{variable.name}' of type SECRET must not have a value")
        check_secret(variable.secret, f"{field}.secret")
        if b"\0" in variable.secret.value.data:
            raise InvalidRequest(f"{field}.secret.value.data", "must not contain a null byte in a variable")
    elif variable.type == Variable.VALUE:
        if not variable.HasField("value"):
            raise InvalidRequest(f"{field}.value", f"variable '{variable.name}' of type VALUE must have a value")
        if variable.HasField("secret"):
            raise InvalidRequest(f"{field}.secret", f"variable '{variable.name}' of type VALUE must not have a secret")
    else:
        raise InvalidRequest(f"{field}.type", f"variable '{variable.name}' is of a type that is not known")


def check_secret(secret: mesos.Secret, field: str) -> None:
    """Refuse a secret that is not of the type that it says. One of a type that is not known is the resolver's affair.

    Raises:
        InvalidRequest: it is.
    """
    if secret.type == mesos.Secret.UNKNOWN:
        return
    name, other = ("reference", "value") if secret.type == mesos.Secret.REFERENCE else ("value", "reference")
    if not secret.HasField(name):  # type: ignore[arg-type]
        raise InvalidRequest(f"{field}.{name}", f"is required for a secret of type {name.upper()}")
    if secret.HasField(other):  # type: ignore[arg-type]
        raise InvalidRequest(f"{field}.{other}", f"must not be set for a secret of type {name.upper()}")


def check_container(container: mesos.ContainerInfo, field: str) -> None:
    """Refuse a container that contradicts itself.

    Raises:
        InvalidRequest: a DOCKER container says nothing of Docker, names itself, or a volume has no source.
    """
    if container.type == mesos.ContainerInfo.DOCKER:
        if not container.HasField("docker"):
            raise InvalidRequest(f"{field}.docker", "is required for a container of type DOCKER")
        for parameter in container.docker.parameters:
            if parameter.key == "name":
                raise InvalidRequest(
                    f"{field}.docker.parameters", "must not set 'name': the agent names its containers"
                )
    for index, volume in enumerate(container.volumes):
        if not volume.container_path:
            raise InvalidRequest(f"{field}.volumes[{index}].container_path", "must not be empty")
        if volume.HasField("host_path") + volume.HasField("image") + volume.HasField("source") > 1:
            raise InvalidRequest(f"{field}.volumes[{index}]", "must have only one of host_path, image and source")
