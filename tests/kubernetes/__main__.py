"""A Kubernetes to try the chart on, until it is interrupted: `make kubernetes`."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress

from tests.charts.helm import CHART, HELM
from tests.kubernetes.cluster import kubernetes
from tests.kubernetes.images import REGISTRY, image_archive
from tests.kubernetes.machine import kubernetes_missing


def main() -> int:
    """Start it, say how it is reached, and wait."""
    if missing := kubernetes_missing():
        print(f"No Kubernetes can be started here: {missing}", file=sys.stderr)
        return 1
    with image_archive() as archive, kubernetes() as running:
        running.import_images(archive)
        inside = " ".join(
            running.inside.command("env", f"KUBECONFIG={running.kubeconfig}", f"PATH={running.programs}:$PATH")
        )
        print(
            f"A Kubernetes of two nodes runs. In another terminal:\n\n"
            f"  {inside} sh\n\n"
            f"and there, for example:\n\n"
            f"  kubectl get nodes\n"
            f"  {HELM} install mezzo {CHART} --namespace mezzo --create-namespace --values {CHART}/profiles/small.yaml"
            f" --set image.registry={REGISTRY}\n\n"
            f"Ctrl-C ends it and removes all of it.",
            flush=True,
        )
        signal.pause()
    return 0


if __name__ == "__main__":
    # However it is interrupted, and whenever: what runs by then is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        sys.exit(main())
