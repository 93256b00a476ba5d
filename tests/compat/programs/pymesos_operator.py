"""Asks a master and an agent with pymesos' operator drivers. Usage: pymesos_operator.py MASTER AGENT"""

import json
import sys
import threading

from pymesos import MesosOperatorAgentDriver, MesosOperatorMasterDriver
from pymesos.interface import OperatorMaster


class Subscriber(OperatorMaster):
    def __init__(self):
        self.subscribed = threading.Event()
        self.info = None

    def taskAdded(self, task_info):
        pass

    def taskUpdated(self, task_info):
        pass

    def frameworkAdded(self, framework_info):
        pass

    def frameworkUpdated(self, framework_info):
        pass

    def frameworkRemoved(self, framework_info):
        pass

    def agentAdded(self, agent_info):
        pass

    def agentRemoved(self, agent_info):
        pass


def main():
    master = MesosOperatorMasterDriver(sys.argv[1], Subscriber())
    agent = MesosOperatorAgentDriver(sys.argv[2])
    master.start()
    answers = {}
    both = ("getHealth", "getFlags", "getVersion", "getState", "getFrameworks", "getExecutors", "getTasks")
    for side, driver, calls in (
        ("master", master, (*both, "getAgents", "getRoles", "getWeights", "getMaster")),
        ("agent", agent, (*both, "getContainers")),
    ):
        for call in calls:
            answers[f"{side} {call}"] = sorted(getattr(driver, call)())
    answers["master getMetrics"] = sorted(master.getMetrics(5_000_000_000))
    master.stop()
    print(json.dumps(answers))


main()
