"""What errors of the command call the fields of a request."""

import pytest

from mezzo.cli.fields import without_path
from mezzo.cli.jobs.tasks import OPTIONS


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("update_weights.weight_infos[0].role: '' is empty", "role: '' is empty"),
        ("remove_quota.role: role 'x' has no quota", "role 'x' has no quota"),
        ("accept.operations[0].launch.task_infos[0].resources[1].scalar.value: is negative", "resources: is negative"),
        # Nothing that the user could take for a field.
        ("no task is called a.b", "no task is called a.b"),
        ("type: missing or unknown", "type: missing or unknown"),
        ("http://127.0.0.1:5050: no answer", "http://127.0.0.1:5050: no answer"),
        ("10.0.0.1: refused", "10.0.0.1: refused"),
    ],
)
def test_a_path_is_shown_as_its_last_name(message: str, shown: str) -> None:
    assert without_path(message) == shown


@pytest.mark.parametrize(
    ("path", "option"),
    [
        ("subscribe.framework_info.roles[0]", "--role"),
        ("subscribe.framework_info.user", "--user"),
        ("accept.operations[0].launch.task_infos[0].command.user", "--user"),
        ("accept.operations[0].launch.task_infos[0].command.uris[3].value", "--uri"),
        ("accept.operations[0].launch.task_infos[0].command.environment.variables[0].name", "--env"),
        ("accept.operations[0].launch.task_infos[0].task_id.value", "--name"),
        ("accept.operations[0].launch.task_infos[0].name", "--name"),
        ("accept.operations[0].launch.task_infos[0].command.value", "command"),
        ("accept.operations[0].launch.task_infos[0].command.arguments[1]", "command"),
        ("accept.operations[0].launch.task_infos[0].resources[2].ranges", "--resources"),
    ],
)
def test_mezzo_run_names_the_option_that_is_wrong(path: str, option: str) -> None:
    assert without_path(f"{path}: is wrong", OPTIONS) == f"{option}: is wrong"
