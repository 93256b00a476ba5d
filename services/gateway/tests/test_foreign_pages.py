"""Every endpoint that a page could change something by is closed to pages of other origins."""

from __future__ import annotations

import re

import pytest

from mezzo_gateway.testing.changes import FRAMEWORK_ID
from mezzo_gateway.testing.client import GatewayClient
from mezzo_gateway.testing.registry import ScriptedRegistry

EVIL = {"Origin": "http://evil.example", "Content-Type": "application/x-www-form-urlencoded"}
SAFE = ("GET", "HEAD")
VARIABLE = re.compile(r"\{[^}]*\}")


async def test_no_endpoint_takes_a_write_of_a_foreign_page(gateway: GatewayClient, registry: ScriptedRegistry) -> None:
    tried = 0
    for path, methods in gateway.gateway.site.routes.paths():
        for method in methods:
            if method not in SAFE:
                target = VARIABLE.sub("x", path)
                answer = await gateway.request(method, target, data=b"frameworkId=x", headers=EVIL)
                assert answer.status == 403, (method, target)
                tried += 1
    assert tried > 20
    kill = f"/mezzo/v1/tasks/{FRAMEWORK_ID}/t1/kill"
    for headers in ({"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Referer": "https://evil.example/"}):
        assert (await gateway.request("POST", kill, headers=headers)).status == 403
    assert registry.killed == []


@pytest.mark.parametrize(
    "path", ["/logging/toggle?level=3&duration=10mins", "/state?jsonp=f", "/master/slaves?jsonp=f"]
)
async def test_an_image_and_a_script_of_a_foreign_page_get_nothing(gateway: GatewayClient, path: str) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}, {"User-Agent": "Mozilla/5.0"}):
        assert (await gateway.get(path, headers=headers)).status == 403
