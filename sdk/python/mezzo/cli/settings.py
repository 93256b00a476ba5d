"""What the options before the verb say."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import typer

DEFAULT_API = "127.0.0.1:5050"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the cluster is asked."""

    urls: tuple[str, ...]
    """Of gateways, in the order in which they are tried."""

    @property
    def url(self) -> str:
        """All of them, as the SDK's transports take them."""
        return ",".join(self.urls)

    @classmethod
    def of(cls, api: str) -> Settings:
        """Take `host:port` or a URL, or several with commas between. Raises `typer.BadParameter` for anything else."""
        return cls(tuple(cls._url_of(each) for each in api.split(",")))

    @staticmethod
    def _url_of(api: str) -> str:
        url = (api if "://" in api else f"http://{api}").rstrip("/")
        try:
            parsed = urlsplit(url)
            port = parsed.port or {"http": 80, "https": 443}.get(parsed.scheme)
            if parsed.scheme not in ("http", "https") or not parsed.hostname or not port:
                raise ValueError("expected host:port, or a URL that begins with http:// or https://")
        except ValueError as error:
            raise typer.BadParameter(f"{api!r}: {error}", param_hint="--api") from None
        return url
