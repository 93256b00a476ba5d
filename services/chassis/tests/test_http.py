"""The HTTP dialect: paths in all their forms, statuses as Mesos gives them, files that cannot be left."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.errors import TEXT_CHARACTERS_MAX, NotFound, Unimplemented
from mezzo.limits import LIST_ITEMS_MAX
from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.http.exchange import FORMATS, json_response, message_response, read_message
from mezzo_chassis.http.files import FilesApi, FileTree
from mezzo_chassis.http.middleware import Handler
from mezzo_chassis.http.refusals import text_response
from mezzo_chassis.http.routes import POST, Routes
from mezzo_chassis.http.site import Site, start_site, start_unix_site
from mezzo_chassis.http.streams import RecordStream


async def state(request: web.Request) -> web.StreamResponse:
    return json_response(request, {"id": "m"})


async def api(request: web.Request) -> web.StreamResponse:
    call = await read_message(request, master.Call)
    if call.type == master.Call.GET_QUOTA:
        raise Unimplemented("GET_QUOTA is not served")
    if call.type == master.Call.GET_ROLES:
        raise RuntimeError("a defect")
    response = master.Response(type=master.Response.GET_HEALTH)
    response.get_health.healthy = True
    return message_response(request, response)


@pytest.fixture
def tree(tmp_path: Path) -> FileTree:
    (tmp_path / "shown" / "below").mkdir(parents=True)
    (tmp_path / "shown" / "stdout").write_text("hello\n")
    (tmp_path / "secret").write_text("secret\n")
    os.symlink(tmp_path / "secret", tmp_path / "shown" / "way-out")
    made = FileTree()
    made.show("/sandbox", tmp_path / "shown")
    return made


@pytest.fixture
async def site(tree: FileTree) -> AsyncIterator[Site]:
    routes = Routes("master")
    routes.add("/state", state)
    routes.add("/api/v1", api, POST)
    routes.add_below("/api/v1", api, POST)
    files = FilesApi(tree)
    routes.add("/files/browse", files.browse)
    routes.add("/files/read", files.read)
    routes.add("/files/download", files.download)
    running = await start_site(routes.application(request_bytes_max=1000), "127.0.0.1", 0)
    yield running
    await running.stop()


@pytest.fixture
async def client(site: Site) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{site.port}") as session:
        yield session


@pytest.mark.parametrize("path", ["/state", "/state/", "/state.json", "/master/state", "/master/state.json"])
async def test_every_form_of_a_path_is_one_thing(client: aiohttp.ClientSession, path: str) -> None:
    for method in ("GET", "POST"):
        async with client.request(method, path) as response:
            assert (response.status, await response.json()) == (200, {"id": "m"})
    async with client.head(path) as response:
        assert (response.status, response.content_type) == (200, "application/json")


@pytest.mark.parametrize(
    ("path", "answered"),
    [
        ("/state", "/state"),
        ("/slave(1)/state.json", "/state"),
        ("/slave(1)/state/", "/state"),
        ("/state.json//", "/state"),
        ("/slave(1)", "/"),
        ("/slave(1)/", "/"),
        ("/slave(1)state", None),
        ("/slave(1)/slave(1)/state", None),
        ("/", "/"),
        ("//", "/"),
        ("/monitor/statistics.json", "/monitor/statistics.json"),
        ("/monitor/statistics", None),
        ("/api/v1/", "/api/v1"),
        ("/api/v1.json", "/api/v1"),
        ("/slave(1)/api/v1/frob", "/api/v1"),
        ("/api/v1/executor", "/api/v1/executor"),
        ("/slave(1)/api/v1/executor/", "/api/v1/executor"),
        ("/api/v1/executors", "/api/v1"),
        ("/tasks/a%2Fb.json/", "a/b.json"),
        ("/slave(1)/tasks/a", "a"),
    ],
)
async def test_every_form_of_a_path_leads_to_its_endpoint(path: str, answered: str | None) -> None:
    def names(known: str) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            return web.Response(text=request.match_info.get("task_id", known))

        return answer

    routes = Routes(r"slave\(1\)")
    for known in ("/", "/state", "/monitor/statistics.json", "/api/v1/executor", "/tasks/{task_id:[^/]+}"):
        routes.add(known, names(known))
    routes.add_below("/api/v1", names("/api/v1"))
    running = await start_site(routes.application(), "127.0.0.1", 0)
    url = URL(f"http://127.0.0.1:{running.port}{path}", encoded=True)
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert (await response.text() if response.status == 200 else None) == answered
    await running.stop()


async def test_a_path_that_is_none_is_not_found_in_plain_text(client: aiohttp.ClientSession) -> None:
    for path in ("/frob", "/masterstate", "/state/x"):
        async with client.get(path) as response:
            assert (response.status, response.content_type) == (404, "text/plain")


async def test_jsonp_wraps_the_answer(client: aiohttp.ClientSession) -> None:
    async with client.get("/state?jsonp=cb") as response:
        assert (response.content_type, await response.text()) == ("text/javascript", 'cb({"id":"m"});')
    async with client.get("/state", params={"jsonp": "alert(1);x"}) as response:
        assert response.status == 400


HEALTH = '{"type":"GET_HEALTH"}'
JSON = "application/json"


@pytest.mark.parametrize(
    ("content_type", "accept", "body", "status", "answer_type"),
    [
        (JSON, "*/*", HEALTH, 200, JSON),
        (JSON, None, HEALTH, 200, JSON),
        (JSON, "application/x-protobuf", HEALTH, 200, "application/x-protobuf"),
        (JSON, "text/html", HEALTH, 406, "text/plain"),
        (f"{JSON}; charset=utf-8", JSON, HEALTH, 415, "text/plain"),
        ("text/plain", JSON, HEALTH, 415, "text/plain"),
        (None, JSON, HEALTH, 400, "text/plain"),
        (JSON, JSON, '{"type":', 400, "text/plain"),
        (JSON, JSON, "[]", 400, "text/plain"),
        (JSON, JSON, "", 400, "text/plain"),
        ("application/x-protobuf", JSON, "garbage", 400, "text/plain"),
        (JSON, JSON, '{"type":"GET_QUOTA"}', 501, "text/plain"),
        (JSON, JSON, '{"type":"GET_ROLES"}', 500, "text/plain"),
        (JSON, JSON, '{"frob":"' + 2000 * "x" + '"}', 413, "text/plain"),
    ],
)
async def test_a_call_is_answered_with_the_status_that_mesos_gives(
    client: aiohttp.ClientSession,
    content_type: str | None,
    accept: str | None,
    body: str,
    status: int,
    answer_type: str,
) -> None:
    headers = {name: value for name, value in (("Content-Type", content_type), ("Accept", accept)) if value}
    skipped = [name for name in ("Content-Type", "Accept") if name not in headers]
    request = client.post("/api/v1/operator", data=body.encode(), headers=headers, skip_auto_headers=skipped)
    async with request as response:
        assert (response.status, response.content_type) == (status, answer_type)


async def test_what_a_client_accepts_may_stand_in_several_headers(client: aiohttp.ClientSession) -> None:
    headers = [("Content-Type", JSON), ("Accept", "text/html"), ("Accept", JSON)]
    async with client.post("/api/v1/operator", data=HEALTH, headers=headers) as response:
        assert (response.status, response.content_type) == (200, JSON)


async def test_texts_of_errors_are_cut(client: aiohttp.ClientSession) -> None:
    async with client.post("/api/v1", data=HEALTH, headers={"Content-Type": JSON, "Accept": "x" * 7000}) as response:
        text = await response.text()
    assert (response.status, len(text)) == (406, TEXT_CHARACTERS_MAX)
    assert text.endswith(" characters left out)")
    body = text_response(400, "x" * 10**6).body
    assert isinstance(body, bytes)
    assert len(body.decode()) <= TEXT_CHARACTERS_MAX


@pytest.mark.parametrize("content_type", FORMATS)
async def test_a_call_with_too_long_a_list_is_refused_before_it_is_whole(content_type: str) -> None:
    routes = Routes("master")
    routes.add("/api/v1", api, POST)
    running = await start_site(routes.application(), "127.0.0.1", 0)
    call = master.Call(type=master.Call.START_MAINTENANCE)
    for _ in range(LIST_ITEMS_MAX + 1):
        call.start_maintenance.machines.add()
    data = FORMATS[content_type].dump(call)
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{running.port}") as session,
        session.post("/api/v1", data=data, headers={"Content-Type": content_type}) as response,
    ):
        assert response.status == 400
        assert (await response.text()).startswith("start_maintenance.machines: has 10001 items")
    await running.stop()


async def test_the_wrong_method_is_told_the_right_one(client: aiohttp.ClientSession) -> None:
    async with client.get("/master/api/v1") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")


async def test_a_correlation_id_comes_back(client: aiohttp.ClientSession) -> None:
    for path in ("/state", "/frob"):
        async with client.get(path, headers={"X-Correlation-Id": "abc"}) as response:
            assert response.headers["X-Correlation-Id"] == "abc"
    async with client.get("/state") as response:
        assert len(response.headers["X-Correlation-Id"]) == 32


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", "ümlaut"])
async def test_a_correlation_id_that_could_not_be_passed_on_is_replaced(
    client: aiohttp.ClientSession, given: str
) -> None:
    async with client.get("/state", headers={"X-Correlation-Id": given}) as response:
        assert len(response.headers["X-Correlation-Id"]) == 32


async def test_bytes_that_are_no_http_are_refused_and_logged_by_nobody(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    for sent in (b"GET /state HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(sent)
        assert b" 400 " in await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        await writer.wait_closed()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip, deflate", "gzip"), ("deflate", None), ("gzip;q=0", None), ("gzip;q=0.5", "gzip"), ("", None)],
)
async def test_large_answers_are_compressed_where_the_client_takes_gzip(accepted: str, coding: str | None) -> None:
    async def large(request: web.Request) -> web.StreamResponse:
        return json_response(request, ["x"] * 5000)

    routes = Routes("master")
    routes.add("/large", large)
    site = await start_site(routes.application(), "127.0.0.1", 0)
    headers = {"Accept-Encoding": accepted}
    session = aiohttp.ClientSession(f"http://127.0.0.1:{site.port}", headers=headers)
    async with session, session.get("/large") as response:
        assert response.headers.get("Content-Encoding") == coding
        assert len(await response.json()) == 5000
    await site.stop()


async def test_an_answer_that_cannot_be_finished_is_cut_off_and_not_garbled(caplog: pytest.LogCaptureFixture) -> None:
    failures = [RuntimeError("a defect"), NotFound("it went"), web.HTTPRequestEntityTooLarge(1, 2)]

    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"part")
        raise failures[int(request.query["failure"])]

    routes = Routes("master")
    routes.add("/broken", broken)
    site = await start_site(routes.application(), "127.0.0.1", 0)
    for failure in range(len(failures)):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET /broken?failure=%d HTTP/1.1\r\nHost: x\r\n\r\n" % failure)
        got = await asyncio.wait_for(reader.read(), 10)
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")
        assert got.endswith(b"\r\n\r\n4\r\npart\r\n")
        writer.close()
        await writer.wait_closed()
    await site.stop()
    assert [record.levelname for record in caplog.records] == ["ERROR"] * len(failures)


async def test_records_are_framed_and_sent_as_they_come() -> None:
    go_on = asyncio.Event()
    heartbeat = scheduler.Event(type=scheduler.Event.HEARTBEAT)

    async def stream(request: web.Request) -> web.StreamResponse:
        records = RecordStream(FORMATS["application/json"], {"Mesos-Stream-Id": "s"})
        await records.begin(request)
        await records.write([heartbeat, heartbeat])
        await go_on.wait()
        await records.write([heartbeat])
        await records.end()
        return records.response

    routes = Routes("master")
    routes.add("/stream", stream)
    site = await start_site(routes.application(), "127.0.0.1", 0)
    record = b'20\n{"type":"HEARTBEAT"}'
    async with aiohttp.ClientSession(f"http://127.0.0.1:{site.port}") as session, session.get("/stream") as response:
        assert (response.status, response.headers["Transfer-Encoding"]) == (200, "chunked")
        assert (response.headers["Mesos-Stream-Id"], response.content_type) == ("s", "application/json")
        async with asyncio.timeout(10):
            assert await response.content.readexactly(2 * len(record)) == 2 * record
            go_on.set()
            assert await response.read() == record
    await site.stop()


async def test_a_folder_is_browsed_and_a_file_is_read(client: aiohttp.ClientSession) -> None:
    async with client.get("/files/browse?path=/sandbox") as response:
        entries = {entry["path"]: entry for entry in await response.json()}
    assert entries["/sandbox/stdout"]["mode"].startswith("-rw")
    assert entries["/sandbox/below"]["mode"].startswith("d")
    assert entries["/sandbox/stdout"]["size"] == 6
    async with client.get("/files/read?path=/sandbox/stdout&offset=2&length=3") as response:
        assert await response.json() == {"data": "llo", "offset": 2}
    async with client.get("/files/read?path=/sandbox/stdout&offset=-1") as response:
        assert await response.json() == {"data": "", "offset": 6}
    async with client.get("/files/download?path=/sandbox/stdout") as response:
        assert await response.text() == "hello\n"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("browse", 400),
        ("browse?path=/nope", 404),
        ("read?path=/nope", 404),
        ("read?path=/sandbox/way-out", 404),
        ("read?path=/sandbox/../secret", 404),
        ("read?path=/sandbox/below/../../secret", 404),
        ("read?path=/sandbox", 400),
        ("read?path=/sandbox/stdout&offset=x", 400),
        ("read?path=/sandbox/stdout&length=-5", 400),
        ("download?path=/sandbox", 400),
    ],
)
async def test_what_is_not_shown_is_not_there(client: aiohttp.ClientSession, query: str, status: int) -> None:
    async with client.get(f"/files/{query}") as response:
        assert (response.status, response.content_type) == (status, "text/plain")


def test_what_is_hidden_again_is_gone(tree: FileTree) -> None:
    assert tree.read("/sandbox/stdout", 0, None) == (b"hello\n", 6)
    tree.hide("/sandbox")
    with pytest.raises(NotFound):
        tree.resolve("/sandbox/stdout")


async def test_a_port_in_use_is_named(site: Site) -> None:
    with pytest.raises(StartupError, match=f"127.0.0.1:{site.port} is in use") as refused:
        await start_site(web.Application(), "127.0.0.1", site.port)
    assert refused.value.code is Exit.PORT_IN_USE


async def test_a_unix_socket_of_a_living_process_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    routes = Routes("slave")
    routes.add("/state", state)
    running = await start_unix_site(routes.application(), path)
    with pytest.raises(StartupError, match="is in use by another process") as refused:
        await start_unix_site(web.Application(), path)
    assert refused.value.code is Exit.PORT_IN_USE
    session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)))
    async with session, session.get("http://localhost/state") as response:
        assert response.status == 200
    await running.stop()


async def test_a_unix_socket_that_cannot_be_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "agent.sock", tmp_path / ("x" * 200)):
        with pytest.raises(StartupError, match="cannot listen on") as refused:
            await start_unix_site(web.Application(), path)
        assert refused.value.code is Exit.UNWRITABLE


async def test_a_unix_socket_serves_the_same(tmp_path: Path) -> None:
    routes = Routes("slave")
    routes.add("/state", state)
    path = tmp_path / "run" / "agent.sock"
    for _ in range(2):  # what an earlier process left is no obstacle
        running = await start_unix_site(routes.application(), path)
        session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)))
        async with session, session.get("http://localhost/state") as response:
            assert await response.json() == {"id": "m"}
        await running.stop()
        path.touch()
