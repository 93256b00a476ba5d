"""One Kubernetes for all tests of the guide, with the images of this tree in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kubernetes.cluster import Kubernetes, kubernetes
from tests.kubernetes.footprint import footprint
from tests.kubernetes.images import image_archive
from tests.kubernetes.machine import kubernetes_missing


@pytest.fixture(scope="session")
def cluster() -> Iterator[Kubernetes]:
    if missing := kubernetes_missing():
        pytest.skip(missing)
    before = footprint()
    with image_archive() as archive, kubernetes() as running:
        running.import_images(archive)
        yield running
    assert sorted(footprint() - before) == [], "left on this machine"
