"""What may be an id, a variable, a secret: the cases of common_validation_tests.cpp of Mesos, and more."""

from typing import Any

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo import jsonpb
from mezzo.errors import InvalidRequest
from mezzo.resources import ResourceError, validate
from mezzo.resources.limits import check_limits
from mezzo.validation.commands import check_command
from mezzo.validation.identifiers import (
    CONTAINER_NESTING_MAX,
    ID_BYTES_MAX,
    check_agent_id,
    check_container_id,
    check_executor_id,
    check_framework_id,
    check_id,
    check_task_id,
)

BAD_IDS = ["", ".", "..", "a/b", "a\\b", "a\nb", "a\0b", "\x7f", "x" * 256, "€" * 86, "𝄞" * 64]
GOOD_IDS = ["a", "...", "a b", ".hidden", "~", "x" * 255, "€" * 85, "𝄞" * 63, "a\u0085b"]


@pytest.mark.parametrize("good", GOOD_IDS)
def test_ids_are_the_names_that_files_may_have(good: str) -> None:
    assert len(good.encode()) <= ID_BYTES_MAX
    check_id(good, "id")


@pytest.mark.parametrize("bad", BAD_IDS)
def test_every_kind_of_id_is_refused_for_the_same_reasons(bad: str) -> None:
    checks: list[tuple[Any, type[Any]]] = [
        (check_task_id, mesos.TaskID),
        (check_executor_id, mesos.ExecutorID),
        (check_framework_id, mesos.FrameworkID),
        (check_agent_id, mesos.AgentID),
        (check_container_id, mesos.ContainerID),
    ]
    for check, message in checks:
        with pytest.raises(InvalidRequest, match=r"\Ax\.value: ") as raised:
            check(message(value=bad), "x")
        assert len(str(raised.value)) < 500


@pytest.mark.parametrize("bad", BAD_IDS)
def test_ids_within_resources_follow_the_same_rules(bad: str) -> None:
    resource = mesos.Resource(name="disk", type=mesos.Value.SCALAR, scalar=mesos.Value.Scalar(value=1))
    resource.provider_id.value = bad
    with pytest.raises(ResourceError, match=r"resources\[0\].provider_id.value: "):
        validate([resource])
    resource.ClearField("provider_id")
    resource.disk.persistence.id = bad
    with pytest.raises(ResourceError, match=r"resources\[0\].disk.persistence.id: "):
        validate([resource])


def test_ids_of_nested_containers_have_no_dots_and_are_not_nested_for_ever() -> None:
    inner = mesos.ContainerID(value="c", parent=mesos.ContainerID(value="a.b"))
    with pytest.raises(InvalidRequest, match=r"x\.parent\.value: 'a\.b' contains a period"):
        check_container_id(inner, "x")
    deep = mesos.ContainerID(value="c")
    for _ in range(CONTAINER_NESTING_MAX):
        deep = mesos.ContainerID(value="c", parent=deep)
    check_container_id(deep, "x")
    with pytest.raises(InvalidRequest, match="nested in more than 32"):
        check_container_id(mesos.ContainerID(value="c", parent=deep), "x")


@pytest.mark.parametrize(
    ("command", "field"),
    [
        ({"value": "a\0b"}, "value"),
        ({"value": "a", "user": "root\0"}, "user"),
        ({"arguments": ["a", "\0"]}, "arguments[1]"),
        ({"uris": [{"value": ""}]}, "uris[0].value"),
        ({"uris": [{"value": "a\0"}]}, "uris[0].value"),
        ({"uris": [{"value": "a", "output_file": "\0"}]}, "uris[0].output_file"),
        ({"environment": {"variables": [{"name": ""}]}}, "environment.variables[0].name"),
        ({"environment": {"variables": [{"name": "a"}]}}, "environment.variables[0].value"),
        ({"environment": {"variables": [{"name": "a\0", "value": ""}]}}, "environment.variables[0].name"),
        ({"environment": {"variables": [{"name": "a", "value": "\0"}]}}, "environment.variables[0].value"),
        (
            {"environment": {"variables": [{"name": "a", "type": "SECRET", "secret": {"type": "VALUE"}}]}},
            "environment.variables[0].secret.value",
        ),
        (
            {"environment": {"variables": [{"name": "a", "type": "SECRET", "secret": {"type": "REFERENCE"}}]}},
            "environment.variables[0].secret.reference",
        ),
        (
            {
                "environment": {
                    "variables": [
                        {"name": "a", "type": "SECRET", "secret": {"type": "VALUE", "value": {"data": "YQBi"}}}
                    ]
                }
            },
            "environment.variables[0].secret.value.data",
        ),
    ],
)
def test_commands_that_no_program_could_be_started_with_are_refused(command: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        check_command(jsonpb.from_dict(mesos.CommandInfo, command), "command")
    assert raised.value.field == f"command.{field}"


@pytest.mark.parametrize("limit", [0.0, 0.5, 1024.0, float("inf")])
def test_limits_are_amounts_or_no_bound(limit: float) -> None:
    check_limits({"cpus": mesos.Value.Scalar(value=limit)}, "limits")


@pytest.mark.parametrize("limit", [-0.001, float("-inf"), float("nan"), 1e308], ids=["less", "-inf", "nan", "large"])
def test_limit_that_is_no_amount_is_refused(limit: float) -> None:
    with pytest.raises(ResourceError) as refused:
        check_limits({"cpus": mesos.Value.Scalar(value=limit)}, "limits")
    assert refused.value.field == "limits['cpus']"
