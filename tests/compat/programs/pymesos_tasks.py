"""Runs commands to their end with pymesos' scheduler driver. Usage: pymesos_tasks.py MASTER COUNT

Prints one JSON object: how each task ended, in the order of their ends, and what else was seen.
"""

import json
import sys
import threading

from pymesos import MesosSchedulerDriver, Scheduler


class Counting(Scheduler):
    def __init__(self, count):
        self.waiting = [f"pymesos-{number}" for number in range(count)]
        self.running = set()
        self.ended = {}
        self.states = []
        self.offer_keys = set()
        self.done = threading.Event()

    def registered(self, driver, framework_id, master_info):
        self.framework_id = framework_id["value"]
        self.master = master_info

    def resourceOffers(self, driver, offers):
        for offer in offers:
            self.offer_keys.update(offer)
            cpus = sum(r["scalar"]["value"] for r in offer["resources"] if r["name"] == "cpus")
            tasks = []
            while self.waiting and cpus >= 0.1 * (len(tasks) + 1):
                tasks.append(self.task(self.waiting.pop(), offer))
            if tasks:
                driver.launchTasks(offer["id"], tasks, {"refuse_seconds": 0})
            else:
                driver.declineOffer(offer["id"], {"refuse_seconds": 120})

    def task(self, name, offer):
        return {
            "task_id": {"value": name},
            "agent_id": {"value": offer["agent_id"]["value"]},
            "name": name,
            "command": {
                "shell": "true",
                "value": "echo $GREETING",
                "environment": {"variables": [{"name": "GREETING", "value": "hello"}]},
            },
            "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
            ],
        }

    def statusUpdate(self, driver, update):
        name, state = update["task_id"]["value"], update["state"]
        self.states.append((name, state, update.get("message", "")))
        if state in ("TASK_FINISHED", "TASK_FAILED", "TASK_LOST", "TASK_ERROR", "TASK_KILLED"):
            self.ended.setdefault(name, []).append(state)
            if not self.waiting and len(self.ended) == self.count:
                self.done.set()


def main():
    master, count = sys.argv[1], int(sys.argv[2])
    scheduler = Counting(count)
    scheduler.count = count
    framework = {"user": "", "name": "pymesos", "hostname": "test", "failover_timeout": 0}
    driver = MesosSchedulerDriver(scheduler, framework, master, use_addict=False)
    driver.start()
    finished = scheduler.done.wait(60)
    driver.stop()
    driver.join()
    print(
        json.dumps(
            {
                "finished": finished,
                "ended": scheduler.ended,
                "states": scheduler.states,
                "offer_keys": sorted(scheduler.offer_keys),
                "version": driver.version,
            }
        )
    )


main()
