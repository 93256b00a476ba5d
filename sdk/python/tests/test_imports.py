"""What an import costs: messages alone bring in no client."""

import pkgutil
import re
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path
from types import ModuleType

import pytest

import mezzo
from mesos.v1 import mesos_pb2
from mezzo.cli import LIBRARIES, exit_codes

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


def without(*libraries: str) -> str:
    """The beginning of a program that finds none of these installed."""
    return f"import sys; sys.modules.update(dict.fromkeys({libraries!r}))\n"


def test_everything_but_the_command_is_imported_without_the_libraries_of_the_command() -> None:
    names = [module.name for module in pkgutil.walk_packages(mezzo.__path__, "mezzo.")]
    ours = [name for name in names if not name.startswith("mezzo.cli.")]
    assert {"mezzo.scheduler.client", "mezzo.executor.client", "mezzo.operator.client", "mezzo.cli"} <= set(ours)
    subprocess.run([sys.executable, "-c", f"{without(*LIBRARIES)}import {', '.join(ours)}"], check=True)


@pytest.mark.parametrize("missing", ["typer", "rich", "psutil", "grpc_health"])
@pytest.mark.parametrize(
    "started", ["from mezzo.cli import main; main()", "import runpy; runpy.run_module('mezzo.cli')"]
)
def test_the_command_says_in_one_line_what_to_install(missing: str, started: str) -> None:
    program = f"{without(missing)}sys.argv = ['mezzo', 'local', '--once', '--fresh']\n{started}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (exit_codes.NOT_INSTALLED, "")
    assert done.stderr == f"mezzo: this command needs {missing}: pip install 'mezzo[cli]'\n"


def test_the_libraries_of_the_command_are_an_extra() -> None:
    wanted = [
        re.split(r"[<>=!~ ;\[]", each, maxsplit=1)[0] for each in requires("mezzo") or () if "extra ==" not in each
    ]
    assert {"aiohttp", "grpcio", "protobuf"} <= set(wanted)
    assert not {"typer", "rich", "psutil", "grpcio-health-checking"} & set(wanted)


def test_the_version_is_that_of_the_distribution() -> None:
    assert mezzo.__version__ == version("mezzo")
    assert not hasattr(mezzo, "__revision__")


@pytest.mark.parametrize(("module", "depth"), [(mezzo, 1), (mesos_pb2, 2)], ids=["mezzo", "mesos"])
def test_type_checkers_find_the_types_of_an_installation(module: ModuleType, depth: int) -> None:
    assert module.__file__ is not None
    folder = Path(module.__file__).parents[depth - 1]
    assert (folder / "py.typed").is_file()
