"""What the agent writes down when a defect ends it.

<work_dir>/meta/defects.json            one JSON object, for people as well
<work_dir>/meta/defects.json-damaged    one that could not be read
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mezzo import private_files

FILE = "defects.json"


class DefectsFile:
    """One file, written as a whole."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def read(self) -> Any:
        """What is in it; None where there is no file. Raises OSError, or ValueError for what is no JSON."""
        try:
            return json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None

    def write(self, document: Any) -> None:
        """Replace it: a death at any instant leaves the old one or the new one. Raises OSError."""
        new = self.path.with_suffix(".new")
        with open(new, "wb", opener=private_files.opener) as file:
            file.write(json.dumps(document, indent=1, default=repr).encode())
            file.flush()
            os.fsync(file.fileno())
        new.rename(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def set_aside(self) -> None:
        """Keep one that cannot be read, and begin anew. Raises OSError."""
        self.path.rename(self.path.with_suffix(".json-damaged"))
