"""The launcher: a small process that forks one monitor for each container, and nothing else.

The agent is a large process (gRPC, protobuf, half a gigabyte on a busy machine); forking it costs tens of milliseconds
and an agent that dies must not take an exit status with it. So the agent starts this file once, as a program of its
own session, with nothing imported that a monitor does not need, and sends it orders:

    agent ──orders──▶ launcher ──fork──▶ monitor ──fork, exec──▶ task
      ▲◀────────────────────reports─────────┘
      └── the container's runtime folder: `processes` and `exit`, written by the monitor

Forking twice takes longer than all else that happens between an order and the task's program. So a launcher with
nothing to do forks a monitor ahead, which forks the task's process ahead: both wait for the order, the *spare*. They
end when the launcher does. For orders that come one upon the other monitors are forked as they come.

The monitor is the task's parent for as long as the task lives. It outlives the agent and the launcher, it adopts every
process that the task leaves behind (it is a child subreaper), writes the exit status to disk, kills what is left of
the tree and ends. A task therefore never lacks a parent that will write down how it ended, unless the monitor itself is
killed.

This file is run by its path (`python -I -S launcher.py <reports fd> <trace file>`) and must import nothing of
mezzo_agent, nor anything else that a monitor can do without: each monitor carries it along. What both sides agree on,
in full:

- Orders arrive on standard input: four bytes, little endian, the length of the body; eight bytes, the token; then the
  body, a `marshal` of `(token, folder, program, argv, environment, sandbox, credentials, rlimits)`. Agent and launcher
  are the same interpreter, so marshal's format cannot differ between them.
- Reports are written to a SOCK_SEQPACKET socket, one packet each (so that monitors may share it), a marshal of
  `(token, kind, text)`: STARTED with the target of `processes`, FAILED or ABANDONED with the reason. ENDED is the
  launcher's own: a monitor ended badly, and may have reported nothing.
- `processes` is a symbolic link whose target is `<monitor pid>.<start time>-<task pid>.<start time>`. A link is made
  in one system call, whole or not at all, and only if there is none: whoever makes it first decides whether the
  container runs. An agent that recovers makes the link itself (target `abandoned`) where it finds none.
- `exit` is a symbolic link too, for the same reason. Its target is one line, the wait status in decimal or `-` when
  there is none, and then a message, perhaps empty.
"""

import ctypes
import errno
import gc
import marshal
import os
import resource
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    # What `signal` is made of: that brings in enum and re, and its functions touch a hundred pages, which every monitor
    # and every task would copy.
    import _signal as signal

STARTED, FAILED, ABANDONED, ENDED = range(4)

ORDER_HEAD_BYTES = 12
ORDER_BYTES_MAX = 64 << 20
SPARE_ORDER_BYTES_MAX = 32 << 10
"""A pipe takes so much without anybody reading: a launcher never waits for its spare monitor."""
SPARE_AFTER_MS = 10
"""How long nothing must happen before a spare monitor is made: not while orders come one upon the other."""
REPORT_CHARACTERS_MAX = 4096
EXIT_CHARACTERS_MAX = 1000
"""The target of a link is at most 4,095 bytes, and a character at most four."""
STRAGGLER_SECONDS_MAX = 30
"""How long a monitor waits for processes that do not die of SIGKILL (they hang in the kernel) before it gives up."""
RETRY_SECONDS = 0.5
STAT_BYTES_MAX = 4096

WAITED_FOR = (signal.SIGCHLD, signal.SIGTERM)
"""A monitor keeps these two blocked and takes them one by one, so that none slips in between looking and waiting.
SIGTERM is the agent's order to kill the whole tree."""
IGNORED = tuple(number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN)
"""By the interpreter, or by who started the agent (nohup does so with SIGHUP): exec would hand it on to tasks."""

_prctl = ctypes.CDLL(None, use_errno=True).prctl
_PR_SET_CHILD_SUBREAPER = 36
_CHILD_FAILED = 127
_SHELL = "/bin/sh"
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# token, runtime folder, program, argv, environment, sandbox, (uid, gid, groups) or None, (resource, soft, hard)s
Order = tuple[
    int,
    str,
    str,
    list[str],
    dict[str, str],
    str,
    tuple[int, int, list[int]] | None,
    list[tuple[int, int, int]],
]


class Monitor:
    """Parent of one task: starts it, waits for it, writes down how it ended, leaves nothing behind."""

    trace = ""
    """The file for hops (mezzo_chassis.trace); "" for none."""

    def __init__(self, reports: int) -> None:
        self.reports = reports
        self.token = 0
        self.folder = ""
        self.task = 0
        self.processes = ""
        # Where the task's process reads its order, and where it says what went wrong before it became the program.
        self.go = -1
        self.failure = -1
        self.failed = False
        self.sweeping = False

    def hop(self, name: str) -> None:
        """Note the time, for `mezzo_chassis.trace`."""
        if self.trace:
            container, _, _ = self.folder.rpartition("/")[2].rpartition("@")
            with open(self.trace, "ab", buffering=0) as file:
                file.write(f"{time.monotonic_ns()}\t{name}\t\t{container}\n".encode())

    def run(self, body: bytes, orders: int = -1) -> None:
        """`body` is the order; where it is empty, it comes through the pipe `orders`, or never."""
        os.setsid()
        become_subreaper()
        os.umask(0o022)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        failure = self.fork_task(orders)
        if orders >= 0:
            body = read_all(orders)
            if body and self.task and os.waitpid(self.task, os.WNOHANG)[0]:
                failure = self.fork_task()  # the first one was killed while it waited
        if not body:
            os._exit(0)  # the launcher has ended; the task's process reads the end of `go` and ends by itself
        order: Order = marshal.loads(body)  # noqa: S302  the agent wrote it
        self.token, self.folder = order[:2]
        self.hop("monitor runs")
        failure = failure or self.start(body)
        if failure is not None:
            self.failed = self.sweeping = True
            self.write_exit(None, failure)
            self.report(FAILED, failure)
        os.close(self.reports)
        self.wait()

    def fork_task(self, orders: int = -1) -> str | None:
        """Forks the process that will become the task; it waits for its order. Returns why there is none, if so."""
        try:
            go_read, go_write = os.pipe()
            failure_read, failure_write = os.pipe()
            task = os.fork()
            if task == 0:
                if orders >= 0:
                    os.close(orders)
                os.close(go_write)
                become_task(go_read, failure_write)
            os.close(go_read)
            os.close(failure_write)
            self.task, self.go, self.failure = task, go_write, failure_read
            monitor = os.getpid()
            self.processes = f"{monitor}.{start_time(monitor)}-{task}.{start_time(task)}"
        except OSError as error:
            return f"cannot start the task: {error}"
        return None

    def start(self, body: bytes) -> str | None:
        """Starts the task. Returns None once the program runs, or else the reason why it does not."""
        try:
            recorded = self.record(self.processes)
        except OSError as error:
            return f"cannot start the task: {error}"
        if not recorded:
            self.report(ABANDONED, "launch cancelled before the container started")
            os._exit(0)  # the task's process reads the end of `go` and ends by itself
        self.hop("task recorded")
        self.let_go(body)
        failure = read_all(self.failure).decode(errors="replace")
        if failure:
            return failure
        self.hop("program runs")
        self.report(STARTED, self.processes)
        return None

    def let_go(self, body: bytes) -> None:
        """Gives the task's process its order. If it was killed while it waited, its status will say so."""
        try:
            write_all(self.go, body)
        except BrokenPipeError:
            return
        finally:
            os.close(self.go)

    def record(self, target: str) -> bool:
        """Writes which processes these are, before the task's program is let go. False if the agent was first."""
        try:
            os.symlink(target, f"{self.folder}/processes")
        except (FileExistsError, FileNotFoundError):
            return False
        return True

    def wait(self) -> None:
        """Reaps the task and whatever it left to us, until there is nobody."""
        deadline = float("inf")
        while self.reap():
            if self.sweeping:
                deadline = min(deadline, time.monotonic() + STRAGGLER_SECONDS_MAX)
                kill_children()
                received = signal.sigtimedwait(WAITED_FOR, max(0.0, deadline - time.monotonic()))
                if received is None:
                    raise TimeoutError(f"processes of {self.folder} do not die")
            elif signal.sigwait(WAITED_FOR) == signal.SIGTERM:
                self.sweeping = True
                kill_group(self.task)
                kill_children()

    def reap(self) -> bool:
        """Takes note of every child that has ended. False when no child is left."""
        task_ended = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                if task_ended:
                    kill_group(self.task)
                return True
            if pid == self.task:
                self.hop("task ended")
                if not self.failed:
                    self.write_exit(status, "")
                self.sweeping = task_ended = True

    def write_exit(self, status: int | None, message: str) -> None:
        """Does not give up: a full disk is no reason to lose a status."""
        line = f"{'-' if status is None else status}\n{message}"[:EXIT_CHARACTERS_MAX]
        while True:
            try:
                os.symlink(line, f"{self.folder}/exit")
            except FileNotFoundError:
                return  # nobody wants to know any more
            except OSError as error:
                print(f"cannot write {self.folder}/exit: {error}; trying again", file=sys.stderr, flush=True)
                time.sleep(RETRY_SECONDS)
            else:
                return

    def report(self, kind: int, text: str) -> None:
        send_report(self.reports, self.token, kind, text)


def become_task(go: int, failure: int) -> None:
    """Runs in the task's process: waits for the order, and becomes its program. Never returns."""
    doing = "create a session"
    try:
        os.setsid()
        doing = "reset the signals"
        for ignored in IGNORED:
            signal.signal(ignored, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        doing = "read the order"
        body = read_all(go)
        if body:
            order: Order = marshal.loads(body)  # noqa: S302  the agent wrote it
            _, _, program, argv, environment, sandbox, credentials, rlimits = order
            for kind, soft, hard in rlimits:
                doing = f"set resource limit {kind} to {soft}:{hard}"
                resource.setrlimit(kind, (soft, hard))
            if credentials is not None:
                uid, gid, groups = credentials
                doing = f"become user {uid}"
                os.setgroups(groups)
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
            doing = f"enter the sandbox '{sandbox}'"
            os.chdir(sandbox)
            for descriptor, name in ((1, "stdout"), (2, "stderr")):
                doing = f"open '{sandbox}/{name}'"
                os.dup2(open_log(name), descriptor)
            doing = f"execute '{program}'"
            execute(program, argv, environment)
    except BaseException as error:  # noqa: BLE001  the only way to tell the parent, whatever it was
        reason = error.strerror if isinstance(error, OSError) else str(error)
        os.write(failure, f"cannot {doing}: {reason}".encode(errors="replace"))
    finally:
        os._exit(_CHILD_FAILED)


def send_report(reports: int, token: int, kind: int, text: str) -> None:
    try:
        os.write(reports, marshal.dumps((token, kind, text[:REPORT_CHARACTERS_MAX])))
    except OSError as error:
        # The agent is gone. It, or the next one, reads the runtime folder.
        if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
            raise


def become_subreaper() -> None:
    if _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def open_log(name: str) -> int:
    """Opens a file for appending, with the rights of the task and never through a link that somebody left there."""
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o640)


def execute(program: str, argv: list[str], environment: dict[str, str]) -> None:
    """execvpe(3) with the PATH of the new environment. Returns only by raising OSError."""
    candidates = [program]
    if "/" not in program:
        path = environment.get("PATH", _DEFAULT_PATH)
        candidates = [f"{folder or '.'}/{program}" for folder in path.split(":")]
    denied: OSError | None = None
    for candidate in candidates:
        try:
            os.execve(candidate, argv, environment)  # noqa: S606  it is what was asked for
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            denied = error
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            # A script without an interpreter line, as execvp(3) has it.
            os.execve(_SHELL, ["sh", candidate, *argv[1:]], environment)  # noqa: S606
    raise denied or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def kill_children() -> None:
    """SIGKILL to every child. Those that they leave behind become our children before we reap them."""
    with open("/proc/thread-self/children", "rb") as file:
        for pid in file.read().split():
            kill(int(pid))


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def kill_group(group: int) -> None:
    """SIGKILL to a whole process group at once, which even a process that forks all the time does not escape."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot: with its pid, a name that is never given again."""
    file = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    line = os.read(file, STAT_BYTES_MAX)
    os.close(file)
    return int(line[line.rindex(b")") :].split(None, 21)[20])


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_all(descriptor: int) -> bytes:
    chunks = []
    while chunk := os.read(descriptor, 4096):
        chunks.append(chunk)
    os.close(descriptor)
    return b"".join(chunks)


class Launcher:
    """Reads orders, forks monitors, and tells when one of them ended badly."""

    def __init__(self, reports: int) -> None:
        self.reports = reports
        self.tokens: dict[int, int] = {}
        # A monitor that waits for its order, and where it reads it.
        self.spare = 0
        self.spare_orders = -1
        self.spare_wanted = True
        self.unread = bytearray()
        self.signals, wakeup = os.pipe()
        os.set_blocking(self.signals, False)
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        """Serves until the agent closes the pipe of orders, by intention or by dying."""
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(self.signals, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll(SPARE_AFTER_MS if self.spare_wanted else None)]
            if not ready:
                self.make_spare()
            if self.signals in ready:
                os.read(self.signals, 4096)
                self.reap()
            if 0 in ready:
                chunk = os.read(0, 1 << 18)
                if not chunk:
                    return
                self.unread += chunk
                self.obey()

    def obey(self) -> None:
        while len(self.unread) >= ORDER_HEAD_BYTES:
            length = int.from_bytes(self.unread[:4], "little")
            if length > ORDER_BYTES_MAX:
                raise ValueError(f"an order of {length} bytes")
            end = ORDER_HEAD_BYTES + length
            if len(self.unread) < end:
                return
            token = int.from_bytes(self.unread[4:ORDER_HEAD_BYTES], "little")
            body = bytes(self.unread[ORDER_HEAD_BYTES:end])
            del self.unread[:end]
            self.start(token, body)

    def start(self, token: int, body: bytes) -> None:
        try:
            pid = self.give_to_spare(body) or self.fork(body)
        except OSError as error:
            send_report(self.reports, token, FAILED, f"cannot fork: {error.strerror}")
        else:
            self.tokens[pid] = token
        self.spare_wanted = not self.spare

    def make_spare(self) -> None:
        self.spare_wanted = False
        orders = -1
        try:
            orders, self.spare_orders = os.pipe()
            self.spare = self.fork(b"", orders)
        except OSError as error:
            print(f"cannot fork a spare monitor: {error}", file=sys.stderr, flush=True)
            self.drop_spare()
        if orders >= 0:
            os.close(orders)

    def drop_spare(self) -> None:
        if self.spare_orders >= 0:
            os.close(self.spare_orders)
        self.spare, self.spare_orders = 0, -1

    def give_to_spare(self, body: bytes) -> int:
        """The pid of the spare monitor, which has the order now; 0 if it cannot have it."""
        if not self.spare or len(body) > SPARE_ORDER_BYTES_MAX:
            return 0
        pid = self.spare
        try:
            os.write(self.spare_orders, body)
        except BrokenPipeError:
            return 0  # it was killed
        finally:
            self.drop_spare()
        return pid

    def fork(self, body: bytes, orders: int = -1) -> int:
        """Forks a monitor, and returns its pid. Raises OSError."""
        pid = os.fork()
        if pid:
            return pid
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
            signal.set_wakeup_fd(-1)
            if self.spare_orders >= 0:
                os.close(self.spare_orders)  # a spare ends when the launcher, and nobody else, holds it no more
            Monitor(self.reports).run(body, orders)
            os._exit(0)
        except BaseException:  # noqa: BLE001  nothing may return into the launcher's loop
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)

    def reap(self) -> None:
        while self.tokens or self.spare:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid == self.spare:
                self.drop_spare()
            token = self.tokens.pop(pid, None)
            if token is not None and status != 0:
                send_report(self.reports, token, ENDED, f"the monitor ended with wait status {status}")


def main() -> None:
    gc.disable()
    gc.freeze()
    reports = int(sys.argv[1])
    os.set_inheritable(reports, False)  # no task may hold it
    Monitor.trace = sys.argv[2]
    Launcher(reports).run()


if __name__ == "__main__":
    main()
