"""uv installs from where pip would: a mirror that only pip was told of, with a certificate that only pip trusts."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

trustme = pytest.importorskip("trustme")

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 60
NAME, VERSION = "hello-mezzo", "1.0"
WHEEL = f"hello_mezzo-{VERSION}-py3-none-any.whl"
OF_OTHERS = (
    "PIP_",
    "UV_",
    "SSL_CERT_",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
)


@dataclass(frozen=True, slots=True)
class Mirror:
    """A company's index of packages, over HTTPS."""

    url: str
    authority: Path
    asked: list[str]


@pytest.fixture
async def mirror(tmp_path: Path) -> AsyncIterator[Mirror]:
    wheel = tmp_path / WHEEL
    information = f"hello_mezzo-{VERSION}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("hello_mezzo.py", "")
        archive.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n")
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    asked: list[str] = []

    async def listing(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text=f'<a href="/{WHEEL}#sha256={digest}">{WHEEL}</a>', content_type="text/html")

    async def file(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(wheel)

    application = web.Application()
    application.router.add_get(f"/simple/{NAME}/", listing)
    application.router.add_get(f"/{WHEEL}", file)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = runner.addresses[0][1]
        yield Mirror(f"https://localhost:{port}/simple", tmp_path / "authority.pem", asked)
    finally:
        await runner.cleanup()


async def install(folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """What `scripts/uv.sh pip install` says, of a machine on which nobody has configured anything else."""
    clean = {name: value for name, value in os.environ.items() if not name.upper().startswith(OF_OTHERS)}
    command = ["sh", "scripts/uv.sh", "pip", "install", "--no-cache", "--python", sys.executable]
    return await asyncio.to_thread(
        subprocess.run,
        [*command, "--target", str(folder / "installed"), NAME],
        cwd=ROOT,
        env={**clean, "HOME": str(folder), "PIP_CONFIG_FILE": os.devnull, **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )


async def test_variables_of_pip_lead_uv_to_the_mirror(mirror: Mirror, tmp_path: Path) -> None:
    done = await install(tmp_path, {"PIP_INDEX_URL": mirror.url, "PIP_CERT": str(mirror.authority)})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "installed/hello_mezzo.py").exists()
    assert mirror.asked == [f"/simple/{NAME}/"]


async def test_a_file_of_pip_leads_uv_to_the_mirror(mirror: Mirror, tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text(f"[global]\nindex-url = {mirror.url}\ncert = {mirror.authority}\n")
    done = await install(tmp_path, {"PIP_CONFIG_FILE": str(file)})
    assert done.returncode == 0, done.stderr
    assert mirror.asked


async def test_a_host_that_pip_trusts_needs_no_certificate(mirror: Mirror, tmp_path: Path) -> None:
    host = mirror.url.removeprefix("https://").partition("/")[0]
    done = await install(tmp_path, {"PIP_INDEX_URL": mirror.url, "PIP_TRUSTED_HOST": f"other.example {host}"})
    assert done.returncode == 0, done.stderr


async def test_a_mirror_that_nobody_vouches_for_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    done = await install(tmp_path, {"PIP_INDEX_URL": mirror.url})
    assert done.returncode != 0
    assert not mirror.asked


async def test_what_uv_itself_is_told_comes_first(mirror: Mirror, tmp_path: Path) -> None:
    environment = {"PIP_INDEX_URL": "https://localhost:1/simple", "UV_DEFAULT_INDEX": mirror.url}
    done = await install(tmp_path, {**environment, "SSL_CERT_FILE": str(mirror.authority), "PIP_CERT": "/nowhere"})
    assert done.returncode == 0, done.stderr
    assert mirror.asked
