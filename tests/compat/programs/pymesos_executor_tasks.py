"""Runs tasks on an executor of its own with pymesos. Usage: pymesos_executor_tasks.py MASTER COUNT EXECUTOR_COMMAND"""

import json
import sys
import threading

from pymesos import MesosSchedulerDriver, Scheduler, decode_data, encode_data

RESOURCES = [
    {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
    {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
]


class OnExecutor(Scheduler):
    def __init__(self, count, command):
        self.waiting = [f"echo-{number}" for number in range(count)]
        self.count = count
        self.command = command
        self.ended = {}
        self.data = {}
        self.messages = []
        self.asked = False
        self.done = threading.Event()

    def resourceOffers(self, driver, offers):
        for offer in offers:
            if not self.waiting:
                driver.declineOffer(offer["id"], {"refuse_seconds": 120})
                continue
            tasks = [self.task(name, offer) for name in self.waiting]
            self.waiting = []
            driver.launchTasks(offer["id"], tasks, {"refuse_seconds": 120})

    def task(self, name, offer):
        return {
            "task_id": {"value": name},
            "agent_id": {"value": offer["agent_id"]["value"]},
            "name": name,
            "data": encode_data(name.encode()),
            "executor": {
                "executor_id": {"value": "echo"},
                "command": {"value": self.command},
                "resources": RESOURCES,
            },
            "resources": RESOURCES,
        }

    def statusUpdate(self, driver, update):
        name, state = update["task_id"]["value"], update["state"]
        if state == "TASK_RUNNING" and not self.asked:
            self.asked = True
            driver.sendFrameworkMessage(update["executor_id"], update["agent_id"], encode_data(b"a word"))
        if state in ("TASK_FINISHED", "TASK_FAILED", "TASK_LOST", "TASK_ERROR", "TASK_KILLED"):
            self.ended.setdefault(name, []).append(state)
            if "data" in update:
                self.data[name] = decode_data(update["data"]).decode()
        self.check()

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        self.messages.append(decode_data(message).decode())
        self.check()

    def check(self):
        if len(self.ended) == self.count and self.messages:
            self.done.set()


def main():
    master, count, command = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    scheduler = OnExecutor(count, command)
    driver = MesosSchedulerDriver(scheduler, {"user": "", "name": "pymesos-executor", "failover_timeout": 0}, master)
    driver.start()
    finished = scheduler.done.wait(60)
    driver.stop()
    driver.join()
    print(
        json.dumps(
            {"finished": finished, "ended": scheduler.ended, "data": scheduler.data, "messages": scheduler.messages}
        )
    )


main()
