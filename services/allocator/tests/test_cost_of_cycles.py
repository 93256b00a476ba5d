"""What a cycle does not do, since nothing has changed that would need it."""

from __future__ import annotations

from mezzo_allocator.testing import Conversation

AGENT = "cpus:4;mem:4096"


def test_what_one_framework_holds_moves_its_path_alone_however_small_the_tree_is() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", AGENT)
    (offer,) = cluster.cycle()
    orders = cluster.core.state.tree.orders
    for _ in range(10):
        cluster.release(offer)
        (offer,) = cluster.cycle()
    assert cluster.core.state.tree.orders == orders


def test_nobody_is_put_in_order_when_nobody_wants_an_offer() -> None:
    cluster = Conversation()
    cluster.framework("f")
    cluster.agent("a", AGENT)
    (offer,) = cluster.cycle()
    orders = cluster.core.state.tree.orders
    cluster.suppress("f")
    cluster.release(offer)
    assert cluster.cycle() == []
    assert cluster.core.state.tree.orders == orders
    cluster.revive("f")
    assert len(cluster.cycle()) == 1
