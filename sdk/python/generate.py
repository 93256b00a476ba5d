"""Generates the Python code of every proto: by hand (`make proto`) and as the build hook of the wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand, without the build backend
    BuildHookInterface = object  # type: ignore[assignment,misc]

HERE = Path(__file__).resolve().parent


def protos_folder() -> Path:
    """The folder of the protos: inside an unpacked sdist, or at the top of the repository."""
    for folder in (HERE / "protos", HERE.parent.parent / "protos"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"no protos beside {HERE}")


def generate(output: Path = HERE) -> None:
    """Write the messages, services and type stubs of every proto below `output`."""
    root = protos_folder()
    files = sorted(str(file.relative_to(root)) for file in root.rglob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={root}", f"--python_out={output}"]
    command += [f"--grpc_python_out={output}"]
    for plugin, option in (("protoc-gen-mypy", "mypy"), ("protoc-gen-mypy_grpc", "mypy_grpc")):
        found = shutil.which(plugin, path=str(Path(sys.executable).parent)) or shutil.which(plugin)
        if found:
            command += [f"--plugin={plugin}={found}", f"--{option}_out=quiet:{output}"]
    subprocess.run([*command, *files], check=True)


class GenerateProtos(BuildHookInterface):  # type: ignore[type-arg]
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  the hook's signature
        generate()


if __name__ == "__main__":
    generate()
