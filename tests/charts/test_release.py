"""What `make release` gives to others of the chart."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.charts.helm import ROOT, Refused, helm, needs_helm

pytestmark = [
    needs_helm,
    pytest.mark.skipif(shutil.which("gpg") is None, reason="not installed: gnupg"),
]
OWNER = "release@mezzo.example"


def test_a_signed_chart_is_verified_and_a_changed_one_is_not(tmp_path: Path) -> None:
    home, dist, keyring = tmp_path / "gnupg", tmp_path / "dist", tmp_path / "keys.gpg"
    home.mkdir(0o700)
    environment = {**os.environ, "GNUPGHOME": str(home), "SIGN_KEY": OWNER, "DIST": str(dist)}

    def run(*command: object) -> None:
        subprocess.run([str(word) for word in command], cwd=ROOT, env=environment, check=True, capture_output=True)

    try:
        # helm asks for the passphrase of a key that has one.
        run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", OWNER, "rsa2048", "sign")
        run("sh", "scripts/release.sh", "chart")
        run("gpg", "--output", keyring, "--export", OWNER)
        run("gpg", "--verify", dist / "SHA256SUMS.asc", dist / "SHA256SUMS")
    finally:
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=environment, check=True)
    (chart,) = dist.glob("mezzo-*.tgz")
    assert OWNER in helm("verify", chart, "--keyring", keyring)
    chart.write_bytes(chart.read_bytes() + b"changed")
    with pytest.raises(Refused, match="sha256 sum does not match"):
        helm("verify", chart, "--keyring", keyring)
