"""What a leader's node says of it: Mesos' `MasterInfo` as JSON, and where its gRPC server is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from mesos.v1 import mesos_pb2 as mesos
from mezzo import addresses, jsonpb

GRPC_ADDRESS_KEY = "grpc_address"
# Below the registries' folder. There are clients that take its first child for the leading master, so that everything
# else there has to sort behind `json.info_…`.
ALLOCATORS_FOLDER = "mezzo_allocators"


def master_info_json(info: mesos.MasterInfo, grpc_address: str) -> bytes:
    """The node of a registry. Clients written for Mesos ignore the key that they do not know."""
    return orjson.dumps({**jsonpb.to_dict(info), GRPC_ADDRESS_KEY: grpc_address})


def address_json(grpc_address: str) -> bytes:
    """The node of a service that only speaks gRPC."""
    return orjson.dumps({GRPC_ADDRESS_KEY: grpc_address})


@dataclass(frozen=True, slots=True)
class LeaderInfo:
    """Who leads, as its node says."""

    # host:port
    grpc_address: str
    # As JSON; empty where the leader is no registry, or is known by its address alone.
    master_info: dict[str, Any]

    @classmethod
    def parse(cls, payload: bytes) -> LeaderInfo | None:
        """None for a node that is none of ours."""
        try:
            value = orjson.loads(payload)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(value, dict) or not isinstance(value.get(GRPC_ADDRESS_KEY), str):
            return None
        address = value.pop(GRPC_ADDRESS_KEY)
        return cls(address, value)

    @property
    def http_address(self) -> str | None:
        """`host:port` of the HTTP API that it advertises."""
        if not self.master_info:
            return None
        advertised = self.master_info.get("address")
        known = advertised if isinstance(advertised, dict) else {}
        host = known.get("hostname") or known.get("ip") or self.master_info.get("hostname")
        port = known.get("port") or self.master_info.get("port")
        if not isinstance(host, str) or type(port) is not int:
            return None
        # Clients are sent there by a header: what is no address is none at all.
        address = addresses.of(host, port)
        return None if address is None else str(address)

    @property
    def hostnames(self) -> list[str]:
        """The names among all that it advertises; clients take one or the other."""
        advertised = self.master_info.get("address")
        inner = advertised.get("hostname") if isinstance(advertised, dict) else None
        known = (self.master_info.get("hostname"), inner)
        return [name for name in known if isinstance(name, str)]
