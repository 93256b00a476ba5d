"""A job: its instances, what they wait for, and what became of them. Pure: offers and updates in, tasks out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mesos.v1 import mesos_pb2 as mesos
from mezzo import jsonpb
from mezzo.cli.jobs.constraints import Constraint, Placed, values_of
from mezzo.cli.jobs.restarts import RestartDelays, RestartPolicy
from mezzo.cli.jobs.spec import JobSpec
from mezzo.cli.jobs.tasks import task_info
from mezzo.scheduler.tracker import Launch, LaunchTracker, Received


@dataclass(slots=True)
class Instance:
    """One of the `--count` tasks of a job, across its restarts."""

    number: int
    launch: Launch
    """The newest."""
    restarts: int = 0
    over: bool = False
    """Whether nothing is left to happen: it has ended, and is not started again."""
    taken: dict[str, str] = field(default_factory=dict)
    """Of each attribute that is unique among the instances, the value where this one is."""
    delays: RestartDelays = field(default_factory=RestartDelays)

    @property
    def end(self) -> mesos.TaskStatus | None:
        """How the newest launch ended."""
        return self.launch.end

    @property
    def ran_seconds(self) -> float:
        """How long the newest launch ran, by its agent's clock."""
        running = next((each for each in self.launch.statuses if each.state == mesos.TASK_RUNNING), None)
        return self.end.timestamp - running.timestamp if running is not None and self.end is not None else 0.0


class Job:
    """The instances of one run, and the offers that are of no use to them."""

    def __init__(self, spec: JobSpec, run_id: str) -> None:
        """Raises `typer.BadParameter` for what cannot be run, with the option that is wrong."""
        self.spec = spec
        self.run_id = run_id
        self.policy = RestartPolicy(spec.restart, spec.max_restarts)
        self.constraints = [Constraint.parse(text) for text in spec.constraints]
        self.tracker = LaunchTracker()
        self.instances: list[Instance] = []
        self.stopping = False
        self.unanswered: list[mesos.OfferID] = []
        """Offers that are of no use, and that no call has given back yet."""
        self.mismatches: dict[str, str] = {}
        """Why offers were not taken, by host."""
        for number in range(spec.count):
            task = task_info(spec, run_id if spec.count == 1 else f"{run_id}-{number}")
            self.instances.append(Instance(number, self.tracker.add(task)))

    # ------------------------------------------------------------------------------------------------- what it is at

    @property
    def ended(self) -> bool:
        """Whether every instance is over."""
        return all(instance.over for instance in self.instances)

    @property
    def launched(self) -> bool:
        """Whether any instance has ever taken an offer, as far as is known."""
        return any(instance.launch.attempts or instance.restarts for instance in self.instances)

    def waiting(self) -> list[Instance]:
        """Those that wait for an offer."""
        return [instance for instance in self.instances if instance.launch.waiting and not instance.over]

    def unfinished(self) -> Iterator[Launch]:
        """What was launched and has not ended, as far as was heard."""
        return self.tracker.unfinished()

    # ----------------------------------------------------------------------------------------------- what comes to it

    def take(self, offer: mesos.Offer) -> list[mesos.TaskInfo]:
        """The tasks to launch on an offer; without any, the offer is to be given back."""
        mismatch = self.mismatch(offer) if self.tracker.any_waiting else ""
        if mismatch:
            self.mismatches[offer.hostname] = mismatch
        # Of what is unique, one task fills the place.
        unique = any(each.operator == "unique" for each in self.constraints)
        tasks = [] if mismatch else self.tracker.take(offer, tasks_max=1 if unique else None)
        for task in tasks:
            self.mismatches.clear()
            instance = self._instance_of(task.task_id.value)
            instance.taken = {
                each.attribute: values_of(offer, each.attribute)[0]
                for each in self.constraints
                if each.operator == "unique"
            }
        if not tasks:
            self.unanswered.append(offer.id)
        elif self.tracker.any_waiting and (mismatch := self.mismatch(offer)):
            self.mismatches[offer.hostname] = mismatch  # of what is left of the offer, which is given back
        return tasks

    def mismatch(self, place: Placed) -> str:
        """Which constraint does not hold there, and why; or nothing."""
        for each in self.constraints:
            if refusal := each.refusal(place, self._taken(each.attribute)):
                return refusal
        return ""

    def _taken(self, attribute: str) -> set[str]:
        active = (each for each in self.instances if not each.launch.waiting and each.end is None)
        return {each.taken[attribute] for each in active if attribute in each.taken}

    def receive(self, status: mesos.TaskStatus) -> tuple[Received, Instance | None]:
        """Record an update: what it was, and the instance that is to be started again because of it, if one is."""
        received = self.tracker.receive(status)
        launch = self.tracker.launch_of(status.task_id.value)
        if received is Received.LAUNCH_LOST and launch is not None:
            # It may be held still: nobody has heard that it was taken.
            self.unanswered.append(launch.offer_id)
            if self.stopping:
                self._withdraw(self._instance_of(launch.task_id))
        if received is not Received.NEW or launch is None or launch.end is None:
            return received, None
        instance = self._instance_of(launch.task_id)
        if instance.launch is not launch or instance.over:
            return received, None
        if self.stopping or not self.policy.restarts(launch.end, instance.restarts):
            instance.over = True
            return received, None
        return received, instance

    def restart(self, instance: Instance) -> None:
        """Let it wait for an offer again, as another task; not where the job is being stopped."""
        if instance.over or instance.end is None:
            return
        instance.restarts += 1
        first = self.run_id if self.spec.count == 1 else f"{self.run_id}-{instance.number}"
        instance.launch = self.tracker.add(task_info(self.spec, f"{first}.r{instance.restarts}"))

    def stop(self) -> None:
        """Launch nothing more, and start nothing again. What runs is to be killed."""
        self.stopping = True
        for instance in self.instances:
            if instance.launch.waiting:
                self._withdraw(instance)
            elif instance.end is not None:
                instance.over = True

    def _withdraw(self, instance: Instance) -> None:
        self.tracker.withdraw(instance.launch)
        instance.over = True

    def _instance_of(self, task_id: str) -> Instance:
        return next(each for each in self.instances if each.launch.task_id == task_id)

    # --------------------------------------------------------------------------------------------------- kept on disk

    def document(self) -> dict[str, Any]:
        """All of it as JSON, for `Job.of`."""
        return {
            "spec": self.spec.document(),
            "run_id": self.run_id,
            "stopping": self.stopping,
            "instances": [self._document(each) for each in self.instances],
        }

    @staticmethod
    def _document(instance: Instance) -> dict[str, Any]:
        launch = instance.launch
        return {
            "task": launch.name,
            "task_id": launch.task_id,
            "agent_id": launch.task.agent_id.value,
            "waiting": launch.waiting,
            "attempts": launch.attempts,
            "restarts": instance.restarts,
            "over": instance.over,
            "taken": instance.taken,
            "statuses": [jsonpb.to_dict(status) for status in launch.statuses],
        }

    @classmethod
    def of(cls, document: dict[str, Any]) -> Job:
        """A job as it was kept. Raises `KeyError`, `TypeError` or `ValueError` for what another version has kept."""
        job = cls(JobSpec.of(document["spec"]), document["run_id"])
        job.tracker = LaunchTracker()
        job.stopping = document["stopping"]
        job.instances = [job._restored(number, kept) for number, kept in enumerate(document["instances"])]
        return job

    def _restored(self, number: int, kept: dict[str, Any]) -> Instance:
        task = task_info(self.spec, kept["task"])
        launch = self.tracker.add(task)
        if not kept["waiting"]:
            statuses = [_status(each) for each in kept["statuses"]]
            self.tracker.restore(launch, kept["task_id"], kept["agent_id"], kept["attempts"], statuses)
        elif kept["over"]:
            self.tracker.withdraw(launch)
        return Instance(number, launch, kept["restarts"], kept["over"], kept["taken"])


def _status(document: dict[str, Any]) -> mesos.TaskStatus:
    return jsonpb.from_dict(mesos.TaskStatus, document)


def unheard(launches: Iterable[Launch]) -> list[tuple[str, str | None]]:
    """Of launches, those of which nothing was heard, as `SchedulerClient.reconcile` takes them."""
    return [(each.task_id, each.task.agent_id.value) for each in launches if each.status is None]
