"""Prints who may do what with a node of a ZooKeeper: python acls.py ADDRESS PATH."""

from __future__ import annotations

import sys

from kazoo.client import KazooClient


def main(address: str, path: str) -> None:
    """Print `SCHEME ID PERMISSIONS`, one line for each access rule."""
    client = KazooClient(hosts=address)
    client.start()
    try:
        for acl in client.get_acls(path)[0]:
            print(acl.id.scheme, acl.id.id, acl.perms)
    finally:
        client.stop()
        client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
