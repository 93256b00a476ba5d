"""What clients are told of whoever leads."""

from mezzo_chassis.leadership import LeaderInfo, master_info_json
from mezzo_registry.app import master_info
from mezzo_registry.config import Config


def http_address(config: Config) -> str | None:
    parsed = LeaderInfo.parse(master_info_json(master_info(config, config.hostname, "id"), f"{config.hostname}:5060"))
    assert parsed is not None
    assert parsed.grpc_address == f"{config.hostname}:5060"
    return parsed.http_address


def test_the_advertised_address_is_where_clients_find_http_whatever_the_registry_is_called() -> None:
    config = Config(hostname="registry-0", advertise_ip="10.96.0.50", advertise_port=80)
    assert http_address(config) == "10.96.0.50:80"
    # There are clients that look at the older fields alone.
    info = master_info(config, config.hostname, "id")
    assert (info.hostname, info.pid) == ("10.96.0.50", "master@10.96.0.50:80")


def test_without_one_clients_are_sent_to_the_registry_by_its_name() -> None:
    assert http_address(Config(hostname="localhost", ip="127.0.0.1")) == "localhost:5050"
