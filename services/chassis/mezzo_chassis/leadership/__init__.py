"""Who leads: standing for election, and finding out who was elected, through ZooKeeper."""

from mezzo_chassis.leadership.candidate import Candidate, Epoch, Leadership, Session, StandaloneCandidate
from mezzo_chassis.leadership.contender import Contender
from mezzo_chassis.leadership.detector import (
    Detector,
    FixedDetector,
    LeaderDetector,
    detector_of,
    master,
    master_text,
)
from mezzo_chassis.leadership.following import Superseded, while_leading
from mezzo_chassis.leadership.health import Health
from mezzo_chassis.leadership.payload import ALLOCATORS_FOLDER, LeaderInfo, master_info_json
from mezzo_chassis.leadership.zookeeper import ZooKeeperUrl, connect

__all__ = [
    "ALLOCATORS_FOLDER",
    "Candidate",
    "Contender",
    "Detector",
    "Epoch",
    "FixedDetector",
    "Health",
    "LeaderDetector",
    "LeaderInfo",
    "Leadership",
    "Session",
    "StandaloneCandidate",
    "Superseded",
    "ZooKeeperUrl",
    "connect",
    "detector_of",
    "master",
    "master_info_json",
    "master_text",
    "while_leading",
]
