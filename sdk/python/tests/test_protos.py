"""The protos are Mesos' wire format to the last field, and say what each message is for."""

import csv
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor

REPOSITORY = Path(__file__).resolve().parents[3]
PROTOS = REPOSITORY / "protos"
TABLE = Path(__file__).parent / "data" / "mesos-v1-wire.tsv"

SCALAR_TYPES = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}


def table() -> list[dict[str, str]]:
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def pool() -> descriptor_pool.DescriptorPool:
    for file in {row["file"] for row in table()}:
        importlib.import_module(file.removesuffix(".proto").replace("/", ".") + "_pb2")
    return descriptor_pool.Default()


def default_of(field: FieldDescriptor) -> str:
    if not field.has_default_value:
        return ""
    if field.enum_type:
        return field.enum_type.values_by_number[field.default_value].name
    if isinstance(field.default_value, bool):
        return str(field.default_value).lower()
    if isinstance(field.default_value, float):
        return f"{field.default_value:g}"
    return str(field.default_value)


def row_of(field: FieldDescriptor) -> dict[str, str]:
    label = "required" if field.is_required else "repeated" if field.is_repeated else "optional"
    reference = field.message_type or field.enum_type
    message = field.containing_type
    assert message is not None
    return {
        "kind": "field",
        "file": message.file.name,
        "scope": message.full_name,
        "number": str(field.number),
        "name": field.name,
        "label": label,
        "type": reference.full_name if reference else SCALAR_TYPES[field.type],
        "default": default_of(field),
        "oneof": field.containing_oneof.name if field.containing_oneof else "",
        "note": "deprecated" if field.GetOptions().deprecated else "",
    }


def rows_of_file(descriptor: FileDescriptor) -> list[dict[str, str]]:
    """Every field, enum value and empty message of a file, in the form of the table's rows."""
    rows: list[dict[str, str]] = []

    def enum(enum_type: EnumDescriptor) -> None:
        for value in enum_type.values:
            note = "deprecated" if value.GetOptions().deprecated else ""
            rows.append(blank("enum", enum_type, number=str(value.number), name=value.name, note=note))

    def message(message_type: Descriptor) -> None:
        rows.extend(row_of(field) for field in message_type.fields)
        for nested_enum in message_type.enum_types:
            enum(nested_enum)
        for nested in message_type.nested_types:
            message(nested)
        if not message_type.fields:
            rows.append(blank("message", message_type))

    for message_type in descriptor.message_types_by_name.values():
        message(message_type)
    for enum_type in descriptor.enum_types_by_name.values():
        enum(enum_type)
    return rows


def blank(kind: str, scope: Descriptor | EnumDescriptor, **given: str) -> dict[str, str]:
    row = dict.fromkeys(("number", "name", "label", "type", "default", "oneof", "note"), "")
    return {**row, "kind": kind, "file": scope.file.name, "scope": scope.full_name, **given}


def as_set(rows: list[dict[str, str]]) -> set[tuple[tuple[str, str], ...]]:
    return {tuple(sorted(row.items())) for row in rows}


@pytest.mark.parametrize("file", sorted({row["file"] for row in table()}))
def test_a_file_defines_exactly_what_the_wire_table_names(file: str) -> None:
    ours = as_set(rows_of_file(pool().FindFileByName(file)))
    named = as_set([row for row in table() if row["file"] == file])
    assert ours == named


def comments_of(proto: str, tmp_path: Path) -> tuple[descriptor_pb2.FileDescriptorProto, set[tuple[int, ...]]]:
    """The file's descriptor, and the paths of all its elements that carry a leading comment."""
    out = tmp_path / "set.bin"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={PROTOS}", f"--descriptor_set_out={out}"]
    subprocess.run([*command, "--include_source_info", proto], check=True)
    file = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[-1]
    return file, {tuple(place.path) for place in file.source_code_info.location if place.leading_comments.strip()}


@pytest.mark.parametrize("proto", sorted(str(file.relative_to(PROTOS)) for file in PROTOS.rglob("mesos/**/*.proto")))
def test_every_message_of_the_public_api_says_what_it_is_for(proto: str, tmp_path: Path) -> None:
    file, commented = comments_of(proto, tmp_path)
    silent = []

    def walk(message: descriptor_pb2.DescriptorProto, path: tuple[int, ...]) -> None:
        if path not in commented and not message.options.map_entry:
            silent.append(message.name)
        for index, nested in enumerate(message.nested_type):
            walk(nested, (*path, 3, index))

    for index, message in enumerate(file.message_type):
        walk(message, (4, index))
    assert silent == []


@pytest.mark.parametrize("proto", sorted(str(file.relative_to(PROTOS)) for file in PROTOS.rglob("mezzo/**/*.proto")))
def test_every_service_and_call_of_our_own_says_what_it_is_for(proto: str, tmp_path: Path) -> None:
    file, commented = comments_of(proto, tmp_path)
    for number, service in enumerate(file.service):
        assert (6, number) in commented, service.name
        for index, method in enumerate(service.method):
            assert (6, number, 2, index) in commented, method.name
