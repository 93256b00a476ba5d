"""What happens to every request before its endpoint sees it: who sent it, what is counted, how errors are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from mezzo.errors import Conflict, InvalidRequest, MezzoError, NotLeading, Unauthorized
from mezzo_chassis.http.bodies import read_body
from mezzo_chassis.http.middleware import Endpoint, Hooks
from mezzo_chassis.http.principals import Principal, current_principal, principal_name
from mezzo_chassis.http.routes import POST, Routes
from mezzo_chassis.http.site import start_site

BODY_BYTES_MAX = 1000
SECONDS_MAX = 20.0
ERRORS: dict[str, Exception] = {
    "field": InvalidRequest("length", "-1 is negative"),
    "request": InvalidRequest("", "the body is empty"),
    "conflict": Conflict("another was faster"),
    "defect": ValueError("a defect"),
    "odd": Conflict("\udcff"),
}


async def whoami(request: web.Request) -> web.Response:
    assert principal_name() == ("" if (principal := current_principal()) is None else principal.name)
    return web.Response(text=principal_name() or "nobody")


async def fail(request: web.Request) -> web.Response:
    raise ERRORS[request.match_info["kind"]]


async def take(request: web.Request) -> web.Response:
    await read_body(request)
    return web.Response(status=202)


@asynccontextmanager
async def served(hooks: Hooks) -> AsyncIterator[aiohttp.ClientSession]:
    routes = Routes("master")
    routes.add("/health", whoami, name="health")
    for api in ("/mezzo/v1", ""):
        routes.add(f"{api}/whoami", whoami, name="whoami")
        routes.add(f"{api}/take", take, POST, name="take")
        routes.add(f"{api}/fail/{{kind:[a-z]+}}", fail, name="fail")
    site = await start_site(routes.application(BODY_BYTES_MAX, hooks=hooks), "127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{site.port}") as session:
            yield session
    finally:
        await site.stop()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with served(Hooks()) as session:
        yield session


# ---------------------------------------------------------------------------------------------- who sent a request


class Gatekeeper:
    """Knows everybody who gives a name, and refuses those who give none."""

    def __init__(self) -> None:
        self.asked = 0

    async def authenticate(self, request: web.Request) -> Principal | None:
        self.asked += 1
        name = request.headers.get("Authorization")
        if name is None:
            raise Unauthorized("credentials are required")
        return Principal(name)


async def test_a_request_has_no_principal_without_authentication(client: aiohttp.ClientSession) -> None:
    async with client.get("/whoami", headers={"Authorization": "ops"}) as answer:
        assert await answer.text() == "nobody"


@pytest.mark.parametrize("path", ["/whoami", "/master/whoami.json", "/mezzo/v1/whoami"])
async def test_an_endpoint_is_told_the_principal_that_was_resolved_once(path: str) -> None:
    gatekeeper = Gatekeeper()
    async with (
        served(Hooks(authenticate=gatekeeper.authenticate)) as client,
        client.get(path, headers={"Authorization": "ops"}) as answer,
    ):
        assert await answer.text() == "ops"
    assert gatekeeper.asked == 1


async def test_a_principal_is_that_of_one_request_on_a_connection_of_many() -> None:
    async def authenticate(request: web.Request) -> Principal | None:
        name = request.headers.get("Authorization")
        return None if name is None else Principal(name)

    async with served(Hooks(authenticate=authenticate)) as client:
        for name in ("ops", None, "dev"):
            async with client.get("/whoami", headers={} if name is None else {"Authorization": name}) as answer:
                assert await answer.text() == (name or "nobody")


async def test_who_is_not_authenticated_reaches_no_endpoint() -> None:
    async with served(Hooks(authenticate=Gatekeeper().authenticate)) as client:
        for path in ("/whoami", "/fail/defect", "/mezzo/v1/whoami"):
            async with client.get(path) as answer:
                assert answer.status == 401
                assert "credentials are required" in await answer.text()


async def test_health_is_answered_while_the_authenticator_hangs() -> None:
    async def authenticate(request: web.Request) -> Principal | None:
        if request.headers.get("Authorization") is None:
            await asyncio.Event().wait()
        return Principal("ops")

    async with served(Hooks(authenticate=authenticate)) as client, asyncio.timeout(SECONDS_MAX):
        async with client.get("/whoami", headers={"Authorization": "ops"}) as answer:
            assert await answer.text() == "ops"
        async with client.get("/health") as answer:
            assert await answer.text() == "nobody"


async def test_nobody_is_authenticated_for_what_is_refused_anyway() -> None:
    gatekeeper = Gatekeeper()
    async with served(Hooks(authenticate=gatekeeper.authenticate)) as client:
        for method, path, status in (("GET", "/frob", 404), ("GET", "/take", 405), ("OPTIONS", "/take", 204)):
            async with client.request(method, path) as answer:
                assert answer.status == status
        async with client.post("/take", headers={"Origin": "http://evil.example"}) as answer:
            assert answer.status == 403
    assert gatekeeper.asked == 0


# --------------------------------------------------------------------------------------------- how errors are told


@pytest.mark.parametrize(
    ("method", "path", "status", "field", "message"),
    [
        ("GET", "/fail/field", 400, "length", "-1 is negative"),
        ("GET", "/fail/request", 400, "", "the body is empty"),
        ("GET", "/fail/conflict", 409, "", "another was faster"),
        ("GET", "/fail/odd", 409, "", "\\udcff"),
        ("GET", "/fail/defect", 500, "", "ValueError: a defect"),
        ("GET", "/nothing/here", 404, "", "404 Not Found."),
        ("GET", "/take", 405, "", "405 Method Not Allowed. This path takes POST, not GET."),
        ("POST", "/take", 413, "", "the body has more than 1000 bytes"),
    ],
)
async def test_errors_are_json_in_our_own_api_and_plain_text_elsewhere(
    client: aiohttp.ClientSession, method: str, path: str, status: int, field: str, message: str
) -> None:
    body = b"x" * (BODY_BYTES_MAX + 1) if method == "POST" else None
    for api in ("/mezzo/v1", "/master/mezzo/v1"):
        async with client.request(method, f"{api}{path}", data=body) as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (status, "application/json; charset=utf-8")
            assert await answer.json() == {"error": {"field": field, "message": message}}
            assert "X-Correlation-Id" in answer.headers
    async with client.request(method, path, data=body) as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (status, "text/plain; charset=utf-8")
        assert await answer.text() == (f"{field}: {message}" if field else message)


async def test_what_else_a_refusal_says_stands_in_its_head_in_either_form(client: aiohttp.ClientSession) -> None:
    for path in ("/take", "/mezzo/v1/take"):
        async with client.get(path) as answer:
            assert answer.headers["Allow"] == "POST"


async def test_a_service_may_answer_an_error_itself_or_tell_another() -> None:
    def answer_error(request: web.Request, error: MezzoError) -> web.Response | MezzoError:
        if request.match_info["kind"] == "conflict":
            return web.Response(status=307, headers={"Location": "//10.0.0.7:5050"})
        return NotLeading("10.0.0.7:5050")

    async with served(Hooks(answer_error=answer_error)) as client:
        async with client.get("/fail/conflict", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (307, "//10.0.0.7:5050")
        async with client.get("/fail/field") as answer:
            assert (answer.status, await answer.text()) == (503, "not leading; the leader is 10.0.0.7:5050")
        async with client.get("/fail/defect") as answer:
            assert answer.status == 500  # a defect is nobody's to hide


# -------------------------------------------------------------------------------------------------- what is counted


async def test_requests_that_reach_an_endpoint_are_counted_with_what_became_of_them() -> None:
    counted: list[tuple[str, str, int, bool]] = []

    def count(endpoint: Endpoint, request: web.Request, status: int, seconds: float | None) -> None:
        counted.append((endpoint.name, request.method, status, seconds is not None))

    async with served(Hooks(count=count)) as client:
        for method, path in (
            ("GET", "/whoami"),
            ("GET", "/master/fail/conflict"),
            ("POST", "/take"),
            ("GET", "/frob"),
            ("GET", "/take"),
        ):
            data = b"x" * (BODY_BYTES_MAX + 1) if method == "POST" else None
            async with client.request(method, path, data=data):
                pass
    assert counted == [("whoami", "GET", 200, True), ("fail", "GET", 409, True), ("take", "POST", 413, False)]
