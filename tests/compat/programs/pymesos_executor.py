"""An executor written with pymesos: runs each task as a thread, echoes its data and every message back."""

import threading
import time

from pymesos import Executor, MesosExecutorDriver, decode_data, encode_data


class Echo(Executor):
    def launchTask(self, driver, task):
        threading.Thread(target=self.run, args=(driver, task), daemon=True).start()

    def run(self, driver, task):
        for state in ("TASK_RUNNING", "TASK_FINISHED"):
            update = {"task_id": task["task_id"], "state": state, "timestamp": time.time()}
            if state == "TASK_FINISHED":
                update["data"] = encode_data(b"did " + decode_data(task["data"]))
            driver.sendStatusUpdate(update)

    def frameworkMessage(self, driver, message):
        driver.sendFrameworkMessage(encode_data(b"heard " + decode_data(message)))


driver = MesosExecutorDriver(Echo())
driver.run()
