"""Five jobs with Toil: one, three below it, and one that follows. Prints what the last one collected, as JSON.

Usage: toil_workflow.py [--seconds N] OPTIONS_OF_TOIL JOB_STORE
"""

import json
import os
import time

from toil.common import Toil
from toil.job import Job

NEEDED = {"cores": 0.1, "memory": "64Mi", "disk": "10Mi"}


def start(job, seconds):
    answers = [job.addChildJobFn(answer, number, seconds, **NEEDED).rv() for number in range(3)]
    return job.addFollowOnJobFn(collect, answers, **NEEDED).rv()


def answer(job, number, seconds):
    time.sleep(seconds)
    return {"number": number, "executor": os.environ["MESOS_EXECUTOR_ID"]}


def collect(job, answers):
    return answers


if __name__ == "__main__":
    parser = Job.Runner.getDefaultArgumentParser()
    parser.add_argument("--seconds", type=float, default=0)
    options = parser.parse_args()
    with Toil(options) as toil:
        print(json.dumps(toil.start(Job.wrapJobFn(start, options.seconds, **NEEDED))))
