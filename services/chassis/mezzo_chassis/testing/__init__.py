"""What tests of services need: free ports, real ZooKeepers, services as processes that can be killed."""

from mezzo_chassis.testing.files import attributes_missing
from mezzo_chassis.testing.leaders import AnnouncedLeader
from mezzo_chassis.testing.ports import free_port, free_ports
from mezzo_chassis.testing.processes import ServiceProcess
from mezzo_chassis.testing.wire import Wire
from mezzo_chassis.testing.zookeeper import ZooKeeperServer, zookeeper_missing

__all__ = [
    "AnnouncedLeader",
    "ServiceProcess",
    "Wire",
    "ZooKeeperServer",
    "attributes_missing",
    "free_port",
    "free_ports",
    "zookeeper_missing",
]
