"""The chart as `helm lint` sees it."""

from pathlib import Path

from tests.charts.helm import CHART, KUBERNETES_VERSION, helm, needs_helm


@needs_helm
def test_lint_finds_nothing_wrong(case: Path) -> None:
    said = helm("lint", "--strict", "--kube-version", KUBERNETES_VERSION, "--values", case, CHART)
    assert "0 chart(s) failed" in said
