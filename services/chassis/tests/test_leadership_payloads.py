"""What stands in ZooKeeper, and in the URL that leads there."""

from pathlib import Path

import pytest
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE

from mezzo_chassis.leadership import LeaderInfo, ZooKeeperUrl, master, master_text
from mezzo_chassis.leadership.payload import ALLOCATORS_FOLDER, address_json


@pytest.mark.parametrize(
    ("text", "hosts", "path", "credential"),
    [
        ("zk://h:2181/mezzo", "h:2181", "/mezzo", None),
        ("zk://a:1,b:2,c:3/deep/er/", "a:1,b:2,c:3", "/deep/er", None),
        ("zk://user:pass@h:1/m", "h:1", "/m", "user:pass"),
        ("zk://user:p@ss%2Fword@h:1/m", "h:1", "/m", "user:p@ss/word"),
    ],
)
def test_a_url_is_read_as_mesos_writes_it(text: str, hosts: str, path: str, credential: str | None) -> None:
    assert ZooKeeperUrl.parse(text) == ZooKeeperUrl(hosts, path, credential)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must begin with zk://"),
        ("http://user:swordfish@h:1/m", "must begin with zk://"),
        ("zk://", "'' must be host:port"),
        ("zk:///m", "'' must be host:port"),
        ("zk://user:swordfish@/m", "'' must be host:port"),
        ("zk://user:swordfish@h/m", "'h' must be host:port"),
        ("zk://a:1,b/m", "'b' must be host:port"),
        ("zk://a:x/m", "'a:x' must be host:port"),
        ("zk://user@h:1/m", "must have user:password"),
        ("zk://:swordfish@h:1/m", "must have user:password"),
        ("zk://user:swordfish@h:1", "must have a path"),
        ("zk://h:1//", "must have a path"),
    ],
)
def test_a_url_that_is_wrong_is_refused_without_repeating_its_credential(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as refused:
        ZooKeeperUrl.parse(text)
    assert "swordfish" not in str(refused.value)


def test_a_credential_is_never_shown_and_makes_nodes_ones_own() -> None:
    url = ZooKeeperUrl.parse("zk://user:swordfish@h:1/m").below(ALLOCATORS_FOLDER)
    assert str(url) == "zk://h:1/m/mezzo_allocators"
    assert "swordfish" not in f"{url} {url!r}"
    assert url.acl == [*CREATOR_ALL_ACL, *READ_ACL_UNSAFE]
    assert ZooKeeperUrl.parse("zk://h:1/m").acl == OPEN_ACL_UNSAFE


@pytest.mark.parametrize("text", ["host:5060", "[::1]:5060", "zk://h1:2181,h2:2181/mezzo"])
def test_where_the_leader_is_found_is_told_as_it_is_given(text: str) -> None:
    assert master_text(master(text)) == text


@pytest.mark.parametrize("text", ["host:5060", "zk://h1:2181,h2:2181/mezzo"])
def test_where_the_leader_is_found_may_stand_in_a_file(text: str, tmp_path: Path) -> None:
    file = tmp_path / "zk"
    file.write_text(f"{text}\n")
    assert master(f"file://{file}") == master(text)
    if text.startswith("zk:"):
        assert ZooKeeperUrl.parse(f"file://{file}") == ZooKeeperUrl.parse(text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{tmp_path}/zk cannot be read: No such file or directory"):
        master(f"file://{tmp_path}/zk")
    (tmp_path / "zk").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="it is not text"):
        ZooKeeperUrl.parse(f"file://{tmp_path}/zk")


def test_allocators_stand_behind_the_leader_for_clients_that_take_the_first_child() -> None:
    assert min([ALLOCATORS_FOLDER, "json.info_9999999999"]) == "json.info_9999999999"


def test_a_service_without_http_is_known_by_its_grpc_address_alone() -> None:
    assert LeaderInfo.parse(address_json("10.0.0.1:5061")) == LeaderInfo("10.0.0.1:5061", {})
    assert LeaderInfo("10.0.0.1:5061", {}).http_address is None


@pytest.mark.parametrize(
    ("info", "address"),
    [
        ({"address": {"hostname": "h", "ip": "10.0.0.1", "port": 80}, "port": 5050}, "h:80"),
        ({"address": {"ip": "10.0.0.1", "port": 80}, "hostname": "h", "port": 5050}, "10.0.0.1:80"),
        ({"hostname": "h", "port": 5050}, "h:5050"),
        ({"address": None, "hostname": "h", "port": 5050}, "h:5050"),
        ({"hostname": "h"}, None),
        ({"port": 5050}, None),
        ({"address": "h:80", "hostname": "h", "port": 5050}, "h:5050"),
        ({"address": ["h"], "hostname": ["h"], "port": 5050}, None),
        ({"hostname": "h", "port": "5050"}, None),
        ({"hostname": 5, "port": 5050}, None),
        ({"address": {"ip": "fd00::1", "port": 80}}, "[fd00::1]:80"),
        # Clients are sent there by a header.
        ({"hostname": "h/path?", "port": 5050}, None),
        ({"hostname": "h\r\nSet-Cookie: x", "port": 5050}, None),
        ({"hostname": "user@h", "port": 5050}, None),
        ({"hostname": "h", "port": 70000}, None),
    ],
)
def test_a_leaders_http_address_is_the_best_that_its_node_tells(info: dict[str, object], address: str | None) -> None:
    assert LeaderInfo("10.0.0.1:5060", info).http_address == address


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[]", b"[" * 100_000, b"\xff", b'{"hostname":"other"}', b'{"grpc_address":5}']
)
def test_a_node_that_is_not_of_mezzo_names_no_leader(payload: bytes) -> None:
    assert LeaderInfo.parse(payload) is None
