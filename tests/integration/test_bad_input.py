"""Wrong requests to a running cluster: what Mesos answers, a message that names the field, and nobody disturbed."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from mezzo import recordio
from mezzo_gateway.testing.recorded import Row, check_kind, headers_of, rows
from tests.cluster import Cluster
from tests.mezzo_command import MezzoCommand
from tests.polling import eventually

pytestmark = pytest.mark.timeout(120)

SCHEDULER = "/api/v1/scheduler"
JSON = {"Content-Type": "application/json", "Accept": "application/json"}
# What no version does yet is 501, whatever is wrong with it besides.
NOT_THERE_YET = ("RESERVE_RESOURCES", "DRAIN_AGENT", "MARK_AGENT_GONE", "/reserve")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose gateway takes bodies up to one megabyte."""
    with Cluster(tmp_path_factory.mktemp("cluster"), flags={"gateway": {"max_body_size": "1MB"}}) as running:
        yield running


@pytest.fixture(scope="module")
def bystander(cluster: Cluster) -> Iterator[None]:
    """A framework whose task runs all the while, and must not notice anything."""
    mezzo = MezzoCommand(cluster.gateway().http)
    with mezzo.started("run", "--name", "bystander", "--shell", "--", "echo up; exec sleep 1000") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield
        assert process.poll() is None
        # Whoever asks for nothing wrong is still served.
        with mezzo.started("run", "--name", "latecomer", "--shell", "--", "echo served") as late:
            assert late.stdout is not None
            assert late.stdout.readline() == "served\n"
            assert late.wait(60) == 0
        process.send_signal(signal.SIGINT)
        process.wait(60)


@dataclass(slots=True)
class Caller:
    """A framework that is subscribed, and the means to ask anything."""

    session: aiohttp.ClientSession
    url: str
    framework_id: str
    stream_id: str

    async def call(self, body: dict[str, Any] | bytes, **headers: str) -> tuple[int, str]:
        """A call on its stream: status and text of the answer."""
        data = body if isinstance(body, bytes) else json.dumps({"framework_id": {"value": self.framework_id}, **body})
        given = {**JSON, "Mesos-Stream-Id": self.stream_id, **headers}
        async with self.session.post(f"{self.url}{SCHEDULER}", data=data, headers=given) as response:
            return response.status, await response.text()

    async def facts(self) -> Any:
        """What the cluster is, as far as a refused request could have changed it."""
        async with self.session.get(f"{self.url}/state") as response:
            state = await response.json()
        async with self.session.get(f"{self.url}/roles") as response:
            roles = (await response.json())["roles"]
        return (
            {each["id"]: [(task["id"], task["state"]) for task in each["tasks"]] for each in state["frameworks"]},
            [(agent["id"], agent["active"], agent["resources"]) for agent in state["slaves"]],
            {role["name"]: (role["weight"], role["quota"]["guarantee"], role["quota"]["limit"]) for role in roles},
        )


@pytest.fixture
async def caller(cluster: Cluster, bystander: None) -> AsyncIterator[Caller]:
    del bystander
    subscribe = {"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "", "name": "caller"}}}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{cluster.url}{SCHEDULER}", data=json.dumps(subscribe), headers=JSON) as stream,
    ):
        decoder = recordio.Decoder()
        records: list[bytes] = []
        while not records:
            records = decoder.feed(await stream.content.readany())
        framework_id = json.loads(records[0])["subscribed"]["framework_id"]["value"]
        made = Caller(session, cluster.url, framework_id, stream.headers["Mesos-Stream-Id"])

        async def is_alone() -> bool:
            # What tests before have subscribed ends with its stream, and the gateway hears of it a little later.
            async with session.get(f"{cluster.url}/state") as response:
                known = (await response.json())["frameworks"]
            return [each["id"] for each in known if each["name"] == "caller"] == [framework_id]

        await eventually(is_alone, "the gateway knows this framework, and none of the tests before")
        yield made


def of_this_cluster(row: Row, caller: Caller) -> Row:
    """The row with this framework and its stream in place of the recorded ones."""
    stream_id = "not-its-own" if "wrong_stream_id" in row["case"] else caller.stream_id
    body = row["body"].replace(
        '"framework_id": {"value": "F"}', f'"framework_id": {{"value": "{caller.framework_id}"}}'
    )
    return {**row, "body": body, **({"stream_id": stream_id} if "stream_id" in row else {})}


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row["case"]))
async def test_a_wrong_request_is_answered_as_mesos_answers_it(row: Row, caller: Caller) -> None:
    row = of_this_cluster(row, caller)
    method, path, *_ = row["request"].split()
    before = await caller.facts()
    async with caller.session.request(
        method,
        f"{caller.url}{path}",
        data=row["body"].encode(),
        headers=headers_of(row),
        skip_auto_headers=("Content-Type", "Accept"),
    ) as response:
        is_stream = "Mesos-Stream-Id" in response.headers
        body = await (response.content.readany() if is_stream else response.read())
    if any(word in f"{path} {row['body']}" for word in NOT_THERE_YET) and response.status == 501:
        assert b"not supported by this version" in body
    else:
        assert response.status == row["status"], body
        check_kind(row, body, is_stream=is_stream)
    if response.status >= 400:
        assert await caller.facts() == before


def call(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **({kind.lower(): fields} if fields else {})}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "type"),
        (call("SUBSCRIBE", framework_info={"user": "x"}), "subscribe.framework_info.name"),
        (call("ACCEPT"), "accept"),
        (call("ACCEPT", offer_ids=[{}]), "accept.offer_ids[0].value"),
        (call("ACCEPT", offer_ids="O"), "accept.offer_ids"),
        (call("ACCEPT", operations=[{"type": 7.5}]), "accept.operations[0].type"),
        (call("DECLINE"), "decline"),
        (call("DECLINE", offer_ids=[{"value": "O"}], filters={"refuse_seconds": "long"}), "filters.refuse_seconds"),
        (call("KILL"), "kill"),
        (call("KILL", agent_id={"value": "S"}), "kill.task_id"),
        (call("SHUTDOWN", executor_id={"value": "e"}), "shutdown.agent_id"),
        (call("ACKNOWLEDGE", agent_id={"value": "S"}, task_id={"value": "t"}), "acknowledge.uuid"),
        (call("ACKNOWLEDGE", agent_id={"value": "S"}, task_id={"value": "t"}, uuid="AAAA"), "acknowledge.uuid"),
        (call("RECONCILE", tasks=[{"agent_id": {"value": "S"}}]), "reconcile.tasks[0].task_id"),
        (call("MESSAGE", agent_id={"value": "S"}, executor_id={"value": "e"}), "message.data"),
        (call("REQUEST", requests=[{"resources": [{"name": "cpus"}]}]), "request.requests[0].resources[0].type"),
        (
            call("REQUEST", requests=[{"resources": [{"name": "cpus", "type": "TEXT"}]}]),
            "request.requests[0].resources[0].type",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_refusal_names_the_field(body: dict[str, Any], field: str, caller: Caller) -> None:
    before = await caller.facts()
    status, text = await caller.call(body)
    assert status == 400
    assert field in text
    assert await caller.facts() == before


async def test_a_framework_nobody_knows_cannot_be_found(caller: Caller) -> None:
    answer = await caller.call({"type": "REVIVE", "framework_id": {"value": "nobody"}})
    assert answer == (400, "Framework cannot be found")


async def test_a_framework_that_describes_itself_anew_is_answered_with_200_and_one_with_foreign_roles_with_202(
    caller: Caller,
) -> None:
    info = {"id": {"value": caller.framework_id}, "user": "", "name": "renamed"}
    update = {"type": "UPDATE_FRAMEWORK", "update_framework": {"framework_info": info}}
    assert await caller.call(update) == (200, "")
    for kind in ("REVIVE", "SUPPRESS"):
        assert await caller.call({"type": kind, kind.lower(): {"roles": ["another"]}}) == (202, "")


async def test_a_stream_that_is_not_ones_own_is_refused_and_the_framework_goes_on(caller: Caller) -> None:
    for stream_id in ("", "7a1d4f9e-0000-0000-0000-000000000000"):
        status, text = await caller.call({"type": "REVIVE"}, **{"Mesos-Stream-Id": stream_id})
        assert status == 400
        assert "stream" in text.lower()
    assert (await caller.call({"type": "REVIVE"}))[0] == 202


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused_before_it_is_read(chunked: bool, caller: Caller) -> None:
    content = b" " * (2 << 20)

    async def pieces() -> AsyncIterator[bytes]:
        yield content[: 1 << 20]
        yield content[1 << 20 :]

    headers = {**JSON, "Mesos-Stream-Id": caller.stream_id}
    data = pieces() if chunked else io.BytesIO(content)
    try:
        async with caller.session.post(f"{caller.url}{SCHEDULER}", data=data, headers=headers) as response:
            assert response.status == 413
            assert await response.text()
    except aiohttp.ClientOSError:
        pass  # the connection was closed while the rest was still being sent
    assert (await caller.call({"type": "REVIVE"}))[0] == 202


async def test_protobuf_that_is_none_or_lacks_a_field_is_refused(caller: Caller) -> None:
    protobuf = {"Content-Type": "application/x-protobuf"}
    status, text = await caller.call(b"\xff\xff\xff", **protobuf)
    assert (status, bool(text)) == (400, True)
    status, text = await caller.call(b"\x10\x01", **protobuf)  # SUBSCRIBE, and nothing else
    assert status == 400
    assert "subscribe" in text.lower()
