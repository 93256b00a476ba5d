"""What web pages may not do: change something here, or reach this server by a name of their own."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from mezzo_chassis.http.browsers import EVERY_HOST, AllowedHosts, host_names
from mezzo_chassis.http.exchange import json_response
from mezzo_chassis.http.routes import POST, Routes
from mezzo_chassis.http.site import Site, start_site

EVIL = "http://evil.example"
MOZILLA = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


class Handlers:
    def __init__(self) -> None:
        self.calls = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.calls += 1
        return json_response(request, {"id": "m"})


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
async def site(handlers: Handlers) -> AsyncIterator[Site]:
    routes = Routes("master")
    routes.add("/state", handlers.answer)
    routes.add("/health", handlers.answer)
    routes.add("/teardown", handlers.answer, POST)
    routes.add("/weights", handlers.answer, ("GET", "PUT"))
    routes.add_below("/quota", handlers.answer, ("GET", "DELETE"))
    routes.add("/logging/toggle", handlers.answer, get_changes=True)
    hosts = AllowedHosts.of(host_names("mezzo.example,.corp.example"), "gw1.example.com", "")
    running = await start_site(routes.application(hosts=hosts), "127.0.0.1", 0)
    yield running
    await running.stop()


@pytest.fixture
async def client(site: Site) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{site.port}") as session:
        yield session


FOREIGN = [
    {"Origin": EVIL},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "file://"},
    {"Origin": "http://[evil"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": EVIL},
    {"Referer": f"{EVIL}/page"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/teardown"),
        ("POST", "/master/teardown"),
        ("PUT", "/weights"),
        ("DELETE", "/quota/role"),
        ("GET", "/logging/toggle?level=3&duration=10mins"),
        ("GET", "/state?jsonp=read"),
    ],
)
async def test_a_page_of_another_origin_changes_nothing_and_reads_no_script(
    client: aiohttp.ClientSession, handlers: Handlers, method: str, path: str, headers: dict[str, str]
) -> None:
    async with client.request(method, path, headers=headers) as response:
        assert response.status == 403
        assert "pages of other origins" in await response.text()
    assert handlers.calls == 0


@pytest.mark.parametrize("path", ["/logging/toggle?level=3&duration=10mins", "/state?jsonp=read"])
async def test_a_page_that_hides_itself_changes_nothing_either(
    client: aiohttp.ClientSession, handlers: Handlers, path: str
) -> None:
    """`<img referrerpolicy="no-referrer">` over plain HTTP: nothing but the browser's own name is sent."""
    async with client.get(path, headers={"User-Agent": MOZILLA}) as response:
        assert response.status == 403
    async with client.get(path, headers={"User-Agent": MOZILLA, "Sec-Fetch-Site": "none"}) as response:
        assert response.status == 200  # typed in by its user
    assert handlers.calls == 1


async def test_pages_of_this_server_and_of_named_hosts_change_things(client: aiohttp.ClientSession, site: Site) -> None:
    own = f"http://127.0.0.1:{site.port}"
    for headers in (
        {},
        {"Origin": own},
        {"Referer": f"{own}/page", "User-Agent": MOZILLA},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://name.that.a.proxy.rewrites"},
        {"Origin": "https://mezzo.example"},
        {"Origin": "https://ui.corp.example:8443", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://gw1.example.com", "Host": "gw1.example.com"},
        {"Origin": "https://gw1.example.com", "Host": "gw1.example.com:443"},
        {"Origin": "http://GW1.example.com", "Host": "gw1.example.com"},
    ):
        for method, path in (("POST", "/teardown"), ("GET", "/logging/toggle?level=1&duration=1secs")):
            async with client.request(method, path, headers=headers) as response:
                assert response.status == 200, (headers, await response.text())


async def test_a_page_of_another_origin_reads_what_browsers_keep_from_it(client: aiohttp.ClientSession) -> None:
    async with client.get("/state", headers={"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}) as response:
        assert response.status == 200
        assert "Access-Control-Allow-Origin" not in response.headers


PAGES_TYPES = ["text/plain", "Text/Plain;charset=UTF-8", "multipart/form-data; boundary=x"]


@pytest.mark.parametrize("content_type", PAGES_TYPES)
@pytest.mark.parametrize("browser", [{"User-Agent": MOZILLA}, {"Sec-Fetch-Site": "same-origin"}])
async def test_types_that_any_page_may_send_are_refused_from_browsers(
    client: aiohttp.ClientSession, content_type: str, browser: dict[str, str]
) -> None:
    async with client.post("/teardown", data=b"{}", headers={"Content-Type": content_type, **browser}) as response:
        assert response.status == 415
        assert (await response.text()).startswith("Content-Type: ")


@pytest.mark.parametrize("content_type", PAGES_TYPES)
async def test_other_clients_may_send_what_their_library_says_of_a_string(
    client: aiohttp.ClientSession, handlers: Handlers, content_type: str
) -> None:
    """As paasta_tools does, whose body aiohttp calls text/plain."""
    async with client.post("/teardown", data=b"frameworkId=f", headers={"Content-Type": content_type}) as response:
        assert response.status == 200
    assert handlers.calls == 1


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421),
        ("evil.example:5050", 421),
        ("127.0.0.1.evil.example", 421),
        ("corp.example", 421),
        ("mezzo.example.evil.example", 421),
        ("evil.example@127.0.0.1", 421),
        ("127.0.0.1:99999", 421),
        ("evil.example.", 421),
        ("mezzo.example", 200),
        ("MEZZO.example.:80", 200),
        ("a.b.corp.example", 200),
        ("gw1.example.com:5050", 200),
        ("localhost:5050", 200),
        ("gateway-1", 200),
        ("10.0.0.7:5050", 200),
        ("[::1]:5050", 200),
        ("ip-10-0-0-7.ec2.internal", 200),
        ("mezzo-gateway.mezzo.svc.cluster.local:5050", 200),
        ("printer.local", 200),
    ],
)
async def test_a_request_to_a_name_of_somebody_else_is_misdirected(
    client: aiohttp.ClientSession, host: str, status: int
) -> None:
    for path in ("/state", "/frob"):
        async with client.get(path, headers={"Host": host}) as response:
            assert response.status == (404 if path == "/frob" and status == 200 else status)
            if status == 421:
                assert "--allowed_hosts" in await response.text()


async def test_health_is_told_by_whatever_name_it_is_asked(client: aiohttp.ClientSession) -> None:
    for path in ("/health", "/master/health"):
        async with client.get(path, headers={"Host": "lb.evil.example"}) as response:
            assert response.status == 200


@pytest.mark.parametrize(
    ("path", "status", "allow"),
    [("/", 204, "GET, HEAD, POST"), ("/weights", 204, "GET, PUT"), ("/frob", 404, None)],
)
async def test_options_are_told(client: aiohttp.ClientSession, path: str, status: int, allow: str | None) -> None:
    async with client.options(path, headers={"Origin": EVIL}) as response:
        assert (response.status, response.headers.get("Allow")) == (status, allow)
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_get_without_a_query_changes_nothing_and_is_answered(client: aiohttp.ClientSession) -> None:
    async with client.get("/logging/toggle", headers={"User-Agent": "Mozilla/5.0"}) as response:
        assert response.status == 200


def test_a_name_that_clients_are_told_is_known_from_then_on() -> None:
    told: list[str] = []
    allowed = AllowedHosts.of((), learned=lambda: told)
    assert not allowed.allows("gateways.example.com")
    told.append("Gateways.example.com")
    assert allowed.allows("gateways.example.com")


def test_any_name_will_do_where_that_is_said() -> None:
    assert EVERY_HOST.allows("evil.example")
    assert AllowedHosts.of(host_names("*")).allows("evil.example")


@pytest.mark.parametrize("text", ["http://mezzo.example", "mezzo.example:5050", "a b", "mezzo.example/x", "*x"])
def test_what_is_no_name_is_refused_when_the_server_starts(text: str) -> None:
    with pytest.raises(ValueError, match="must be a host name"):
        host_names(text)


def test_names_are_read_as_people_write_them() -> None:
    assert host_names(" Mezzo.Example. ,*.corp.example,") == ("mezzo.example", ".corp.example")


async def test_no_answer_is_taken_for_another_type_than_it_says(client: aiohttp.ClientSession) -> None:
    for path in ("/state", "/frob", "/teardown"):
        async with client.get(path) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"
