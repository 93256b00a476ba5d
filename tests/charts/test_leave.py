"""What an agent's pod does before it ends, where it is to leave the cluster."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from tests.charts.helm import CHART

WAITS_FOR_THE_SIGNAL = """
import signal, sys
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def leave() -> ModuleType:
    spec = spec_from_file_location("leave", CHART / "files" / "leave.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def process(folder: Path, pid: str, *words: str, cgroup: str = "0::/") -> None:
    (folder / pid).mkdir()
    (folder / pid / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))
    (folder / pid / "cgroup").write_text(cgroup)


def test_the_agent_of_this_container_is_found_and_nobody_else(
    leave: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(tmp_path, "self", "python", "/etc/mezzo/leave.py")
    process(tmp_path, "1", "/pause")
    process(tmp_path, "7", "python", "-m", "mezzo_agent", "--port=5051")
    process(tmp_path, "8", "python", "-m", "mezzo_agent.containers.posix.launcher")
    process(tmp_path, "9", "python", "-m", "mezzo_agent", cgroup="0::/../another-pod")
    process(tmp_path, "10")  # a thread of the kernel
    (tmp_path / "11").mkdir()  # has just ended
    monkeypatch.setattr(leave, "PROCESSES", tmp_path)
    assert leave.agents() == [7]


def test_it_is_told_to_leave_and_waited_for(leave: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", WAITS_FOR_THE_SIGNAL], stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == b"ready\n"
        monkeypatch.setattr(leave, "agents", lambda: [agent.pid])
        assert leave.main() == 0
        # No waiting here: it has ended already.
        assert agent.poll() == 7


def test_the_signal_is_the_one_that_agents_leave_by() -> None:
    from mezzo_agent.app import LEAVE_SIGNAL

    assert signal.SIGUSR1 is LEAVE_SIGNAL
    assert "SIGUSR1" in (CHART / "files" / "leave.py").read_text()
