"""What is not shown of addresses and of messages."""

from __future__ import annotations

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo import jsonpb, jsonv0
from mezzo.confidential import withhold, without_credentials


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("zk://user:swordfish@h:1/m", "zk://h:1/m"),
        ("HTTP://user:sword@fish@h/a and zk://user:swordfish@h:1,i:2/m", "HTTP://h/a and zk://h:1,i:2/m"),
        ("https://h/a@b", "https://h/a@b"),
        ("me@example.org", "me@example.org"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_its_credentials(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


def executor() -> mesos.ExecutorInfo:
    """An executor with secrets in each place where one can be."""
    info = mesos.ExecutorInfo(executor_id={"value": "e"}, framework_id={"value": "f"})  # type: ignore[arg-type]
    info.command.uris.add(value="http://user:swordfish@h/a", extract=False)
    info.command.environment.variables.add(name="GREETING", value="hello")
    variable = info.command.environment.variables.add(name="PASSWORD", type=mesos.Environment.Variable.SECRET)
    variable.secret.type = mesos.Secret.VALUE
    variable.secret.value.data = b"swordfish"
    container = info.container
    container.type = mesos.ContainerInfo.MESOS
    volume = container.volumes.add(container_path="/secret", mode=mesos.Volume.RO)
    volume.source.type = mesos.Volume.Source.SECRET
    volume.source.secret.type = mesos.Secret.VALUE
    volume.source.secret.value.data = b"swordfish"
    container.mesos.image.type = mesos.Image.DOCKER
    container.mesos.image.docker.name = "alpine"
    container.mesos.image.docker.config.value.data = b"swordfish"
    container.mesos.image.docker.credential.principal = "me"
    container.mesos.image.docker.credential.secret = "swordfish"
    return info


def test_the_values_of_secrets_are_withheld_wherever_they_are() -> None:
    info = executor()
    assert info.SerializeToString().count(b"swordfish") == 5
    withhold(info)
    assert b"swordfish" not in info.SerializeToString()
    plain, secret = info.command.environment.variables
    assert plain.value == "hello"
    assert (secret.name, secret.secret.type) == ("PASSWORD", mesos.Secret.VALUE)
    assert info.command.uris[0].value == "http://h/a"
    task = mesos.TaskInfo(executor=executor())
    task.health_check.command.environment.CopyFrom(executor().command.environment)
    withhold(task)
    assert b"swordfish" not in task.SerializePartialToString()


def test_the_older_form_of_an_executor_tells_no_secret() -> None:
    info = executor()
    told = repr(jsonv0.executor_info(info))
    assert "swordfish" not in told
    assert "c3dvcmRmaXNo" not in told  # as base64
    assert "hello" in told
    assert info == executor()  # it is told, not changed


def test_a_message_without_secrets_stays_as_it_is() -> None:
    info = mesos.FrameworkInfo(user="me", name="f")
    before = jsonpb.dumps(info)
    withhold(info)
    assert jsonpb.dumps(info) == before
