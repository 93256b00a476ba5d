"""What makes one disk another (docs/persistent-volume.md and multiple-disk.md of apache/mesos)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mesos.v1 import mesos_pb2 as mesos

Source: TypeAlias = mesos.Resource.DiskInfo.Source


@dataclass(frozen=True, slots=True)
class Disk:
    """Where the space comes from, and which persistent volume it is; how that is mounted makes no difference."""

    source: bytes = b""  # a serialised `DiskInfo.Source`
    source_type: int = Source.UNKNOWN
    source_id: str | None = None
    persistence_id: str | None = None
    persistence_principal: str | None = None

    @classmethod
    def of(cls, message: mesos.Resource.DiskInfo) -> Disk:
        source = message.source
        kept = message.persistence
        return cls(
            source=source.SerializePartialToString(deterministic=True) if message.HasField("source") else b"",
            source_type=source.type if message.HasField("source") else Source.UNKNOWN,
            source_id=source.id if source.HasField("id") else None,
            persistence_id=kept.id if message.HasField("persistence") else None,
            persistence_principal=kept.principal if kept.HasField("principal") else None,
        )

    @property
    def indivisible(self) -> bool:
        """Whether it is given out whole: a persistent volume, a mount, a device, a piece of raw disk with a name."""
        if self.persistence_id is not None or self.source_type in (Source.MOUNT, Source.BLOCK):
            return True
        return self.source_type == Source.RAW and self.source_id is not None


def text_of(message: mesos.Resource.DiskInfo) -> str:
    """As Mesos writes it: `[MOUNT:/mnt/1,volume-id:container/path:rw]`, empty where there is nothing to tell."""
    parts = []
    if message.HasField("source"):
        parts.append(_text_of_source(message.source))
    if message.HasField("persistence"):
        parts.append(message.persistence.id)
    text = ",".join(parts)
    if message.HasField("volume"):
        text += f":{_text_of_volume(message.volume)}"
    return f"[{text}]" if text else ""


def _text_of_source(source: Source) -> str:
    text = Source.Type.Name(source.type)
    if source.HasField("id") or source.HasField("profile"):
        return f"{text}({source.vendor},{source.id},{source.profile})"
    root = {Source.PATH: source.path.root, Source.MOUNT: source.mount.root}.get(source.type)
    return f"{text}:{root}" if root else text


def _text_of_volume(volume: mesos.Volume) -> str:
    steps = [volume.container_path]
    if volume.HasField("host_path"):
        steps.insert(0, volume.host_path)
    if volume.HasField("mode"):
        steps.append(mesos.Volume.Mode.Name(volume.mode).lower())
    return ":".join(steps)
