"""How long a connection to ZooKeeper may go without an answer, on real sockets and with a clock of the test's own."""

import socket
from collections.abc import Iterator

import pytest
from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KazooState

from mezzo_chassis.leadership.patience import Patience, PatientHandler

SESSION_SECONDS = 9.0
SOON_SECONDS = 30.0


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Accepts connections, and says what the test sends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SOON_SECONDS)
        yield server


def test_handshakes_are_short_while_a_session_can_be_saved_and_then_longer_each_time(clock: Clock) -> None:
    patience = Patience(SESSION_SECONDS, 1, clock)
    growing = [1.0, 2.0, 3.0, 3.0]
    assert [patience.handshake_seconds() for _ in growing] == growing, "before the first session"
    patience.session_changed(KazooState.CONNECTED)
    patience.session_changed(KazooState.SUSPENDED)
    assert [patience.handshake_seconds() for _ in growing] == [1.0] * 4
    clock.now += SESSION_SECONDS
    assert [patience.handshake_seconds() for _ in growing] == growing, "the session is over, though nobody can say so"
    patience.session_changed(KazooState.LOST)
    assert patience.handshake_seconds() == 1.0


def test_every_host_is_tried_before_any_gets_more_time(clock: Clock) -> None:
    patience = Patience(SESSION_SECONDS, 3, clock)
    assert [patience.handshake_seconds() for _ in range(7)] == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0]


@pytest.mark.parametrize("hosts", [1, 2, 3, 5, 7])
def test_all_hosts_are_tried_in_the_last_third_of_a_session(hosts: int, clock: Clock) -> None:
    patience = Patience(SESSION_SECONDS, hosts, clock)
    patience.session_changed(KazooState.SUSPENDED)
    # A ping leaves after a third, and is waited for another third.
    silence = SESSION_SECONDS / 3 + patience.answer_seconds
    assert silence + hosts * patience.handshake_seconds() <= SESSION_SECONDS + 1e-9


def test_a_session_longer_than_zookeeper_grants_is_not_waited_for(clock: Clock) -> None:
    assert Patience(3600.0, 3, clock).answer_seconds == pytest.approx(40.0 / 3)


def test_silence_counts_from_the_first_request_and_ends_with_anything_received(
    clock: Clock, listener: socket.socket
) -> None:
    patience = Patience(SESSION_SECONDS, 1, clock)
    handler = PatientHandler(patience, clock)
    connection = handler.create_connection(listener.getsockname(), timeout=3600.0)
    peer, _ = listener.accept()
    with connection, peer:
        assert handler.select([connection], [], [], 0)[0] == [], "nothing was sent, so nothing is owed"
        handler.select([], [connection], [], 0)
        clock.now += 0.9
        handler.select([], [connection], [], 0)
        assert handler.select([connection], [], [], 0)[0] == []
        peer.sendall(b"answer")
        clock.now += 100.0
        assert handler.select([connection], [], [], 0)[0] == [connection], "what has arrived counts, however late"
        connection.recv(100)
        assert handler.select([connection], [], [], 0)[0] == []
        handler.select([], [connection], [], 0)
        clock.now += 3.0
        with pytest.raises(KazooTimeoutError, match=r"has not answered for 3\.00 s"):
            handler.select([connection], [], [], 3600.0)


def test_kazoo_waits_for_its_connection_through_the_handler_alone(listener: socket.socket) -> None:
    """The limits rest on that: a version of kazoo that waits otherwise hangs here."""
    patience = Patience(0.3, 1)
    client = KazooClient(
        hosts=f"127.0.0.1:{listener.getsockname()[1]}", timeout=3600.0, handler=PatientHandler(patience)
    )
    client.start_async()
    connections: list[socket.socket] = []
    try:
        # Each is left without an answer; the next comes because it was given up.
        connections.extend(listener.accept()[0] for _ in range(3))
    finally:
        client.stop()
        client.close()
        for connection in connections:
            connection.close()
