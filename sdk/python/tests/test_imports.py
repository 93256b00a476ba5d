"""What an import costs: messages alone bring in no client."""

import subprocess
import sys

import pytest

CLIENTS = ("aiohttp", "grpc", "typer", "rich")
MESSAGES = (
    "mesos.v1.mesos_pb2",
    "mesos.v1.scheduler.scheduler_pb2",
    "mezzo.executor.v1.executor_pb2",
    "mezzo.operator.v1.operator_pb2",
    "mezzo.resources",
    "mezzo.scheduler.v1.scheduler_pb2",
)


@pytest.mark.parametrize("module", MESSAGES)
def test_messages_are_imported_without_the_libraries_of_clients(module: str) -> None:
    program = f"import sys, {module}; print(*(name for name in {CLIENTS!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("package", ["mezzo.scheduler", "mezzo.executor", "mezzo.operator"])
def test_a_package_gives_every_name_that_it_promises_and_no_other(package: str) -> None:
    module = __import__(package, fromlist=["*"])
    for name in module.__all__:
        assert getattr(module, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = module.nothing
