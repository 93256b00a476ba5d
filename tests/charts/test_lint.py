"""The chart as `helm lint` sees it."""

from tests.charts.helm import lint, needs_helm


@needs_helm
def test_lint_finds_nothing_wrong_with_the_defaults() -> None:
    assert "0 chart(s) failed" in lint()
