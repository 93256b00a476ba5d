"""Labels: free text on many things, kept in memory and shown by every read, so kept small."""

from mesos.v1 import mesos_pb2 as mesos
from mezzo.errors import InvalidRequest

LABEL_BYTES_MAX = 256 * 1024
"""All labels of one thing together, keys and values."""


def check_labels(labels: mesos.Labels, field: str) -> None:
    """Refuse labels that are too large together.

    Raises:
        InvalidRequest: they are.
    """
    if labels.labels and labels.ByteSize() > LABEL_BYTES_MAX:
        raise InvalidRequest(field, f"has {labels.ByteSize()} bytes; at most {LABEL_BYTES_MAX} are allowed")
