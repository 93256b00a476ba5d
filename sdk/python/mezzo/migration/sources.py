"""The flags that a machine gives Mesos' master or agent: from a command line, a file of variables, a unit, a folder.

/etc/mesos-master/            a folder with a file for each flag, as of the packages for Debian and Red Hat
/etc/default/mesos-agent      variables: MESOS_ZK=…, or PORT=… of the packages' start script; also after `export`
mesos-agent.service           a unit of systemd: its ExecStart= and Environment=
any other file                a command line, on as many lines as it likes
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mezzo.errors import InvalidRequest
from mezzo.migration.flags import FORMER_NAMES, TABLES, Program

PREFIX = "MESOS_"
LIBPROCESS_PREFIX = "LIBPROCESS_"
FILE_BYTES_MAX = 1 << 20

_SETTING = re.compile(r"\s*(?:ExecStart|Environment)\s*=\s*(.*)")
_PROGRAM = re.compile(r"mesos[-_](master|agent|slave)\b")
# What the start script of the packages, mesos-init-wrapper, makes flags of.
_OF_WRAPPER = {
    "CLUSTER": "cluster",
    "IP": "ip",
    "ISOLATION": "isolation",
    "LOGS": "log_dir",
    "MASTER": "master",
    "PORT": "port",
    "ZK": "zk",
}
# It makes one flag of the files of such a folder, each a `key:value` of it.
_FOLDERS = frozenset({"attributes", "resources"})
_SUBSTITUTION = re.compile(r"(?<==)(?:`[^`]*`|\$\([^)]*\))")
_OTHER = {Program.MASTER: Program.AGENT, Program.AGENT: Program.MASTER}
_KNOWN = frozenset({*TABLES[Program.MASTER], *TABLES[Program.AGENT], *FORMER_NAMES})


@dataclass(frozen=True, slots=True)
class Given:
    """A flag that a machine gives, and where."""

    name: str
    """Without dashes; of a variable of libprocess the variable's name."""
    value: str
    where: str


class Configuration:
    """All that a machine gives, as it is read source by source."""

    def __init__(self) -> None:
        self.flags: list[Given] = []
        self._programs: set[str] = set()

    @property
    def program(self) -> Program | None:
        """Whose flags they are: by the names of files and commands, or else by flags that only one of the two has."""
        if len(self._programs) == 1:
            return Program.MASTER if self._programs == {"master"} else Program.AGENT
        names = {FORMER_NAMES.get(each.name, each.name) for each in self.flags}
        own = {program: names & (TABLES[program].keys() - TABLES[other].keys()) for program, other in _OTHER.items()}
        found = [program for program, flags in own.items() if flags]
        return found[0] if len(found) == 1 else None

    def read(self, path: Path) -> None:
        """Read a file or a folder.

        Raises:
            InvalidRequest: it cannot be read, or is not text.
        """
        self._look_for_program(path.name)
        try:
            if path.is_dir():
                self._read_folder(path)
                return
            if path.stat().st_size > FILE_BYTES_MAX:
                raise InvalidRequest(str(path), f"is larger than {FILE_BYTES_MAX} bytes")
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not text"
            raise InvalidRequest(str(path), f"cannot be read: {reason}") from None
        if path.name == "zk" and "=" not in text:  # /etc/mesos/zk, which the packages give to master and agent alike
            self._add("zk", text.strip(), str(path))
        else:
            self.read_text(text, str(path))

    def read_text(self, text: str, where: str) -> None:
        """Read what a file has.

        Raises:
            InvalidRequest: a quotation has no end.
        """
        is_unit = any(line.startswith("[Service]") for line in text.splitlines())
        for line in re.sub(r"\\\r?\n", " ", text).splitlines():
            if not line.strip() or line.lstrip().startswith(("#", ";", "[")):
                continue
            setting = _SETTING.match(line)
            if is_unit and setting is None:
                continue
            words = setting[1].lstrip("-@:+!") if is_unit and setting is not None else line.removeprefix("export ")
            try:
                if is_unit:
                    self.read_words(shlex.split(words), where)
                else:
                    # What a command would print is one value, and not known.
                    whole = _SUBSTITUTION.sub(lambda found: shlex.quote(found[0]), words)
                    self.read_words([_of_wrapper(each) for each in shlex.split(whole, comments=True)], where)
            except ValueError as error:
                raise InvalidRequest(where, str(error).lower()) from None

    def read_words(self, words: Sequence[str], where: str) -> None:
        """Read a command line: `MESOS_NAME=value`, `--name=value`, `--name value`, `--name`, `--no-name`."""
        following = [*words[1:], "--"]
        for word, after in zip(words, following, strict=True):
            name, equals, value = word.removeprefix("--").partition("=")
            if word.startswith("--") and name:
                if not equals:
                    value = after if not after.startswith("-") else "true"
                self._add(name.replace("-", "_"), value, where)
            elif equals and name.startswith(PREFIX):
                self._add(name.removeprefix(PREFIX).lower(), value, where)
            elif equals and name.startswith(LIBPROCESS_PREFIX):
                self._add(name, value, where)
            elif not equals:
                self._look_for_program(word)

    def _read_folder(self, path: Path) -> None:
        for file in sorted(path.iterdir()):
            if file.is_dir() and file.name in _FOLDERS:
                entries = [each for each in sorted(file.iterdir()) if each.is_file() and not each.name.startswith(".")]
                texts = ((each.name, each.read_text().strip()) for each in entries)
                value = ";".join(f"{key}:{text}" for key, text in texts if text)
                if value:
                    self._add(file.name, value, str(file))
            if not file.is_file() or file.name.startswith("."):
                continue
            if file.name.startswith("?"):  # `?flag`, `?no-flag`: it is true or false
                self._add(file.name[1:].replace("-", "_"), "true", str(file))
            else:
                self._add(file.name.replace("-", "_"), file.read_text().strip(), str(file))

    def _look_for_program(self, word: str) -> None:
        found = _PROGRAM.search(word)
        if found is not None:
            self._programs.add("master" if found[1] == "master" else "agent")

    def _add(self, name: str, value: str, where: str) -> None:
        """Add a flag; `no_flag` is the flag, and false."""
        positive = name.removeprefix("no_")
        if positive != name and name not in _KNOWN and positive in _KNOWN:
            name, value = positive, "false" if value == "true" else "true"
        self.flags.append(Given(name, value, where))


def _of_wrapper(word: str) -> str:
    """A variable of the packages' start script, as the flag that it becomes."""
    name, equals, value = word.partition("=")
    return f"--{_OF_WRAPPER[name]}={value}" if equals and name in _OF_WRAPPER else word
