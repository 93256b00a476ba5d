"""The few forms of PromQL that the dashboards are made of."""

from __future__ import annotations

from dataclasses import dataclass

CLUSTER = 'namespace=~"$namespace"'
"""Which cluster: all that share a namespace. Where nothing sets that label there is one, and `.*` finds it."""
INSTANCE = 'instance=~"$instance"'
ROLE = 'role=~"$role"'


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics of one service, of the cluster and what else a dashboard's variables choose."""

    service: str
    chosen: tuple[str, ...] = (CLUSTER,)

    def __call__(self, name: str, *conditions: str) -> str:
        """`mezzo_<service>_<name>{…}`."""
        return f"mezzo_{self.service}_{name}{{{', '.join((*self.chosen, *conditions))}}}"

    def process(self, name: str) -> str:
        """What Prometheus' client tells of the process."""
        job = f'job="mezzo-{self.service}"'
        return f"{name}{{{', '.join((job, *self.chosen))}}}"


def rate(selector: str) -> str:
    """Per second."""
    return f"rate({selector}[$__rate_interval])"


def total(expression: str, *labels: str) -> str:
    """The sum, by labels or over everything."""
    return f"sum{_by(labels)} ({expression})"


def highest(expression: str, *labels: str) -> str:
    """The maximum, by labels or over everything."""
    return f"max{_by(labels)} ({expression})"


def share(part: str, whole: str) -> str:
    """`part` of `whole`, from 0 to 1; what has a whole of nothing is left out."""
    return f"{part} / ({whole} > 0)"


def or_zero(expression: str) -> str:
    """0 where there is nothing to tell."""
    return f"{expression} or vector(0)"


def quantile(part: float, histogram: str, *labels: str) -> str:
    """Of a selector of `…_bucket`."""
    return f"histogram_quantile({part}, {total(rate(histogram), 'le', *labels)})"


def mean(metrics: Metrics, histogram: str, *conditions: str) -> str:
    """Of all that a histogram has observed."""
    return share(
        total(rate(metrics(f"{histogram}_sum", *conditions))), total(rate(metrics(f"{histogram}_count", *conditions)))
    )


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""
