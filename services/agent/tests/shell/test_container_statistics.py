"""What a pod uses: the sum of what the containers of its tasks use."""

from mesos.v1.mesos_pb2 import ResourceStatistics
from mezzo_agent.http.containers import together


def test_a_pod_uses_what_its_tasks_use() -> None:
    first = ResourceStatistics(timestamp=1, cpus_limit=0.5, mem_rss_bytes=10, mem_limit_bytes=100)
    second = ResourceStatistics(timestamp=2, cpus_limit=1.5, mem_rss_bytes=20, mem_limit_bytes=200)
    assert together([first, second]) == ResourceStatistics(
        timestamp=2, cpus_limit=2.0, mem_rss_bytes=30, mem_limit_bytes=300
    )


def test_a_pod_with_a_task_that_has_no_limit_has_none() -> None:
    bounded = ResourceStatistics(timestamp=1, mem_rss_bytes=10, mem_limit_bytes=100)
    boundless = ResourceStatistics(timestamp=1, mem_rss_bytes=20)
    assert together([bounded, boundless]) == ResourceStatistics(timestamp=1, mem_rss_bytes=30)


def test_a_pod_of_which_no_task_runs_uses_nothing() -> None:
    assert together([]) is None
