"""Certificates that are shown, and those that are refused at once."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from mezzo_chassis.certificates import server_context
from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.http.site import start_site

trustme = pytest.importorskip("trustme")

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


class Files:
    """An authority, and the files of certificates that it gives out."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self._folder = folder

    def issue(self, name: str = "server", since: int = -100, until: int = 100) -> tuple[Path, Path]:
        """A certificate for 127.0.0.1 and its key, valid for these days from now."""
        issued = self.authority.issue_cert("127.0.0.1", not_before=NOW + since * DAY, not_after=NOW + until * DAY)
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        for number, part in enumerate(issued.cert_chain_pems):
            part.write_to_path(str(certificate), append=number > 0)
        issued.private_key_pem.write_to_path(str(key))
        return certificate, key


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def test_a_site_with_a_certificate_speaks_https_to_whoever_trusts_it_and_nothing_else(files: Files) -> None:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    application = web.Application()
    application.router.add_get("/", hello)
    context = server_context(*files.issue())
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    site = await start_site(application, "127.0.0.1", 0, context)
    trusting = ssl.create_default_context()
    files.authority.configure_trust(trusting)
    async with aiohttp.ClientSession() as http:
        async with http.get(f"https://127.0.0.1:{site.port}/", ssl=trusting) as answer:
            assert await answer.text() == "hello"
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await http.get(f"https://127.0.0.1:{site.port}/")
        with pytest.raises(aiohttp.ClientError):
            await http.get(f"http://127.0.0.1:{site.port}/")
    await site.stop()


def refusal(certificate: Path, key: Path) -> str:
    """Why these are refused."""
    with pytest.raises(StartupError) as refused:
        server_context(certificate, key)
    assert refused.value.code is Exit.BAD_CREDENTIALS
    return str(refused.value)


def test_one_that_expired_is_refused_with_its_date(files: Files) -> None:
    certificate, key = files.issue(until=-1)
    expired = (NOW - DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert refusal(certificate, key) == f"the certificate in {certificate} expired on {expired}"


def test_one_that_is_not_valid_yet_is_refused_with_its_date(files: Files) -> None:
    certificate, key = files.issue(since=1)
    since = (NOW + DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert refusal(certificate, key) == f"the certificate in {certificate} is not valid before {since}"


def test_files_that_are_not_there_or_hold_something_else_are_named(files: Files, tmp_path: Path) -> None:
    certificate, key = files.issue()
    missing = tmp_path / "missing"
    assert refusal(missing, key) == f"{missing} cannot be read: No such file or directory"
    assert refusal(certificate, missing) == f"{missing} cannot be read: No such file or directory"
    assert refusal(certificate, tmp_path) == f"{tmp_path} cannot be read: Is a directory"
    assert refusal(key, key) == f"{key} is not a certificate in PEM"
    assert refusal(certificate, certificate) == f"{certificate} is not a private key in PEM, or it is encrypted"


def test_a_key_of_another_certificate_is_refused(files: Files) -> None:
    (certificate, _), (_, key) = files.issue(), files.issue("other")
    assert refusal(certificate, key) == f"{key} is not the key of {certificate}"


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(files: Files) -> None:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    certificate, key = files.issue()
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    form, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key.write_bytes(private.private_bytes(form, kind, serialization.BestAvailableEncryption(b"swordfish")))
    assert refusal(certificate, key) == f"{key} is not a private key in PEM, or it is encrypted"


def test_one_with_a_key_that_is_too_short_is_refused_for_that(files: Files) -> None:
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    x509 = pytest.importorskip("cryptography.x509")
    hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
    certificate, key = files.issue()
    private = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "short")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
    made = made.serial_number(1).not_valid_before(NOW - DAY).not_valid_after(NOW + 100 * DAY)
    pem, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    certificate.write_bytes(made.sign(private, hashes.SHA256()).public_bytes(pem))
    key.write_bytes(private.private_bytes(pem, kind, serialization.NoEncryption()))
    assert refusal(certificate, key) == f"{certificate} is too weak for OpenSSL: EE_KEY_TOO_SMALL"


@pytest.mark.parametrize(("days", "warned"), [(29, True), (31, False)])
def test_one_that_expires_soon_is_taken_with_a_warning(days: int, warned: bool, files: Files) -> None:
    with capture_logs() as logs:
        server_context(*files.issue(until=days))
    assert [line["event"] for line in logs] == ["certificate expires soon"] * warned
