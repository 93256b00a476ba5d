"""A Kubernetes to try the chart on, until it is interrupted: `make kubernetes`."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress

from tests.charts.helm import CHART, HELM
from tests.kubernetes.cluster import kubernetes
from tests.kubernetes.images import REGISTRY, image_archive
from tests.kubernetes.machine import kubernetes_missing
from tests.mezzo_command import MEZZO

HOW_IT_IS_REACHED = """\
A Kubernetes of two nodes runs. In another terminal:

  {inside} sh

and there, for example:

  kubectl get nodes
  {helm} install mezzo {chart} --namespace mezzo --create-namespace --wait \\
      --values {chart}/profiles/small.yaml --set image.registry={registry}
  export MEZZO_API=$(kubectl --namespace mezzo get service mezzo-gateway -o jsonpath={{.spec.clusterIP}}):5050
  mezzo run echo hello

Ctrl-C ends it and removes all of it."""


def main() -> int:
    """Start it, say how it is reached, and wait."""
    if missing := kubernetes_missing():
        print(f"No Kubernetes can be started here: {missing}", file=sys.stderr)
        return 1
    print("Building the images, and starting a Kubernetes: this takes some minutes.", flush=True)
    with image_archive() as archive, kubernetes() as running:
        running.import_images(archive)
        path = f"PATH={running.programs}:{MEZZO.parent}:$PATH"
        inside = " ".join(running.inside.command("env", f"KUBECONFIG={running.kubeconfig}", path))
        print(HOW_IT_IS_REACHED.format(inside=inside, helm=HELM, chart=CHART, registry=REGISTRY), flush=True)
        signal.pause()
    return 0


if __name__ == "__main__":
    # However it is interrupted, and whenever: what runs by then is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        sys.exit(main())
