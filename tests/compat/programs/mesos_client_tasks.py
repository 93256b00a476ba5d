"""Runs commands to their end with MesosClient of avmesos or mesoshttp.

Usage: mesos_client_tasks.py MODULE MASTER COUNT
"""

import importlib
import json
import sys
import threading


def main():
    module, master, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    MesosClient = importlib.import_module(f"{module}.client").MesosClient
    waiting = [f"{module}-{number}" for number in range(count)]
    ended = {}
    done = threading.Event()

    client = MesosClient(mesos_urls=[master], frameworkName=module, frameworkUser="")

    def offers(received):
        for offer in received:
            if not waiting:
                offer.decline({"filters": {"refuse_seconds": 120}})
                continue
            tasks = [task(name, offer.get_offer()) for name in waiting]
            waiting.clear()
            offer.accept(tasks, {"filters": {"refuse_seconds": 1.0}})

    def task(name, offer):
        return {
            "name": name,
            "task_id": {"value": name},
            "agent_id": {"value": offer["agent_id"]["value"]},
            "command": {"value": "echo hello"},
            "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}, "role": "*"},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}, "role": "*"},
            ],
        }

    def update(received):
        status = received["status"]
        if status["state"] in ("TASK_FINISHED", "TASK_FAILED", "TASK_LOST", "TASK_ERROR", "TASK_KILLED"):
            ended.setdefault(status["task_id"]["value"], []).append(status["state"])
            if len(ended) == count:
                done.set()

    def subscribed(driver):
        client.scheduler_driver = driver

    client.on(MesosClient.OFFERS, offers)
    client.on(MesosClient.UPDATE, update)
    client.on(MesosClient.SUBSCRIBED, subscribed)
    thread = threading.Thread(target=client.register, daemon=True)
    thread.start()
    finished = done.wait(60)
    client.scheduler_driver.tearDown()
    print(json.dumps({"finished": finished, "ended": ended}))


main()
