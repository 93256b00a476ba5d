import subprocess
import sys

SCRIPT = """
import resource
from mezzo_chassis import open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512))
assert open_files.raise_limit() == 512
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_as_many_files_may_be_open_as_the_administrator_allows() -> None:
    told = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["512", "512"]
