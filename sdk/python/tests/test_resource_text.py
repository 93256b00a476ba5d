"""Resources, quantities and attributes as flags take them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos.v1 import mesos_pb2 as mesos
from mezzo import attributes
from mezzo.resources import ResourceError, Resources, parse, parse_limits, parse_quantities


def test_the_text_form_reads_back() -> None:
    value = parse("cpus:8;mem(ads):4096;ports:[31000-32000, 40000-40000];disks:{sda1,sdb1}")
    assert value.cpus == 8
    assert value.gpus is None
    assert value.reserved("ads").mem == 4096
    assert value.ports == ((31000, 32000), (40000, 40000))
    assert (
        str(value)
        == "cpus:8; mem(reservations: [(STATIC,ads)]):4096; ports:[31000-32000, 40000-40000]; disks:{sda1, sdb1}"
    )


def test_the_examples_of_both_forms_in_the_documentation_of_mesos_are_one_value() -> None:
    text = "cpus:24;mem:24576;disk:409600;ports:[21000-24000,30000-34000];bugs(debug_role):{a,b,c}"
    json = """ [
      {"name": "cpus", "type": "SCALAR", "scalar": {"value": 24}},
      {"name": "mem", "type": "SCALAR", "scalar": {"value": 24576}},
      {"name": "disk", "type": "SCALAR", "scalar": {"value": 409600}},
      {"name": "ports", "type": "RANGES",
       "ranges": {"range": [{"begin": 21000, "end": 24000}, {"begin": 30000, "end": 34000}]}},
      {"name": "bugs", "type": "SET", "set": {"item": ["a", "b", "c"]}, "role": "debug_role"}
    ] """
    assert parse(json) == parse(text)


def test_white_space_and_empty_parts_mean_nothing() -> None:
    assert parse(" cpus : 1 ;; mem( ads ) : 2 ; ports : [ 1 - 2 , 3-4 ] ; ") == parse("cpus:1;mem(ads):2;ports:[1-4]")
    assert parse("") == parse(" ; ") == parse("[]") == Resources.EMPTY


def test_what_is_said_twice_adds_up() -> None:
    assert parse("cpus:1;cpus:0.5;ports:[1-2];ports:[2-5]") == parse("cpus:1.5;ports:[1-5]")


@pytest.mark.parametrize(("text", "thousandths"), [("1", 1000), (".5", 500), ("2.", 2000), ("1e2", 100_000), ("0", 0)])
def test_a_number_may_be_written_in_the_usual_ways(text: str, thousandths: int) -> None:
    assert parse(f"cpus:{text}").thousandths_of("cpus") == thousandths


def test_the_json_form_may_name_a_source_of_disk_and_what_is_reserved() -> None:
    value = parse(
        """[{"name": "disk", "type": "SCALAR", "scalar": {"value": 2048},
             "disk": {"source": {"type": "PATH", "path": {"root": "/mnt/1"}}},
             "reservations": [{"type": "STATIC", "role": "ads"}]}]"""
    )
    assert value.reserved("ads") == value
    assert str(value) == "disk(reservations: [(STATIC,ads)])[PATH:/mnt/1]:2048"


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ('"revocable": {}', "revocable resources are estimated, not set by a flag"),
        (
            '"role": "ads", "reservation": {"principal": "ops"}',
            "a dynamic reservation is made by RESERVE, not by a flag",
        ),
        (
            """"role": "ads", "disk": {"persistence": {"id": "v"}, "volume": {"container_path": "p", "mode": "RW"}}""",
            "a persistent volume is created by CREATE, not by a flag",
        ),
    ],
)
def test_what_only_operations_make_is_not_stated(more: str, complaint: str) -> None:
    with pytest.raises(ResourceError, match=complaint):
        parse(f'[{{"name": "disk", "type": "SCALAR", "scalar": {{"value": 2}}, {more}}}]')


@pytest.mark.parametrize(
    "text",
    [
        "pandas(a):1;pandas(b):[0-1]",
        """[{"name": "pandas", "type": "SCALAR", "scalar": {"value": 14}},
            {"name": "pandas", "type": "SET", "set": {"item": ["yun_zi"]}}]""",
    ],
)
def test_a_name_is_of_one_type(text: str) -> None:
    with pytest.raises(ResourceError, match="pandas: has more than one type"):
        parse(text)


PANDAS = '{"name": "pandas", "type": "SET", "set": {"item": ["lun_lun", "yang_yang"]}}'


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(PANDAS, id="no list"),
        pytest.param(f"[{PANDAS} {PANDAS}]", id="no comma"),
        pytest.param(f"[[{PANDAS}]]", id="a list in a list"),
        pytest.param(f"{PANDAS},{PANDAS}", id="no brackets"),
        pytest.param(f"[{PANDAS}]once upon a time", id="more than a list"),
        pytest.param(f"[{PANDAS}".replace("]}", "}}") + "]", id="a bracket closed by a brace"),
        pytest.param(f"[{PANDAS}]".replace('"type": "SET", ', ""), id="no type"),
        pytest.param(f"[{PANDAS}]".replace("SET", "FLOATINGPOINT"), id="no such type"),
        pytest.param(f"[{PANDAS}]".replace('"pandas"', '""'), id="no name"),
    ],
)
def test_json_that_is_no_list_of_resources_is_refused(text: str) -> None:
    assert parse(f"[{PANDAS}]").names() == {"pandas"}
    with pytest.raises(ResourceError):
        parse(text)


def test_a_default_role_reserves_what_names_none() -> None:
    assert parse("cpus:1;mem(eng):32", default_role="ads").reserved_by_role().keys() == {"ads", "eng"}
    with pytest.raises(ResourceError, match=r"resources\[0\].role: '-x'"):
        parse("cpus:1", default_role="-x")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("cpus", "cpus: expected name:value"),
        ("cpus:", "expected name:value"),
        ("cpus\udcff:1", "is not Unicode text"),
        (":1", "expected name:value"),
        ("(ads):1", "expected a name"),
        ("cpus:-1", r"resources\[0\].scalar.value: -1 is negative"),
        ("cpus:many", "cpus: 'many' is neither a number"),
        ("cpus:1_000", "cpus: '1_000' is neither a number"),
        ("cpus:0x10", "cpus: '0x10' is neither a number"),
        ("cpus:nan", "is not a number"),
        ("cpus:inf", "is not a number"),
        ("cpus:1e99", "is larger than"),
        ("gpus:0.5", "not a whole number of gpus"),
        ("ports:[1-", "no closing bracket"),
        ("ports:[5-1]", "ports: '5-1' ends before it begins"),
        ("ports:[1-99999999999999999999]", "ports: '1-99999999999999999999' goes beyond"),
        ("ports:[a-b]", "'a-b' is not a range"),
        ("ports:[1]", "'1' is not a range"),
        ("cpus(ads:1", "expected a name"),
        ("cpus():1", r"resources\[0\].role: '' is empty"),
        ("cpus(a/../b):1", r"resources\[0\].role: 'a/../b' has a part"),
        ("cpus(/a):1", r"resources\[0\].role: '/a' is empty, or has an empty part"),
        ("cpus)(ads:1", "expected a name"),
        ("cpus(ads)", "expected name:value"),
        ("ports:[1-2]]", "'1-2]' is not a range"),
        ("ports:[1-2b]", "'1-2b' is not a range"),
        ("disks:{a", "no closing brace"),
        ("disks:{aa,b}}", "has braces or brackets among its items"),
        ("disks:{a,a}", "an item is given twice"),
        ("[", "."),
        ('[{"name":"cpus"}]', r"\[0\].type: is required"),
        ('[ {"name":"cpus","type":"SCALAR"}]', r"resources\[0\].scalar: is required"),
        ('[{"name":"","type":"SCALAR","scalar":{"value":1}}]', r"resources\[0\].name: is required"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_field(text: str, complaint: str) -> None:
    with pytest.raises(ResourceError, match=complaint):
        parse(text)


# Mostly the characters that mean something, so that much of it nearly makes sense.
scribble = st.text(st.sampled_from('cpus:;()[]{},-.*/019 "\\') | st.characters(exclude_categories=()), max_size=40)


@given(scribble | st.builds("cpus:{}".format, scribble) | st.builds("[{}]".format, scribble))
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    for read in (parse, parse_quantities, parse_limits, attributes.parse):
        with suppress(ResourceError):  # anything else fails the test
            read(text)


def test_what_is_not_contained_cannot_be_taken() -> None:
    with pytest.raises(ResourceError, match="does not contain cpus:2"):
        parse("cpus:1") - parse("cpus:2")
    assert parse("cpus:1;mem:32").minus_what_is_there(parse("cpus:2;gpus:1")) == parse("mem:32")


def test_attributes_are_text_numbers_and_ranges() -> None:
    parsed = attributes.parse("rack:abc;level:10;keys:[1000-1500];zone:west:1")
    assert [mesos.Value.Type.Name(each.type) for each in parsed] == ["TEXT", "SCALAR", "RANGES", "TEXT"]
    assert parsed[3].text.value == "west:1"
    assert [attributes.parse(text) for text in ("", " ; ")] == [[], []]


def test_attributes_with_equal_values_are_equal_and_the_type_is_part_of_the_value() -> None:
    parsed = attributes.parse("cpus:45.55;ports:[1-2, 4-5];rack:r1,r2")
    assert parsed == attributes.parse(" cpus: 45.55; ports : [1-2,4-5];rack:r1,r2 ")
    assert parsed != attributes.parse("cpus:45.55;ports:45.55;rack:45.55")
    assert parsed[2].text.value == "r1,r2"
    assert attributes.parse("a:foo:bar;b:baz:qux:")[1].text.value == "baz:qux:"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("colours:{red,green}", "colours: a set cannot be an attribute"),
        ("rack", "rack: expected name:value"),
        (":x", "expected name:value"),
        ("keys:[1-x]", "keys: '1-x' is not a range"),
    ],
)
def test_an_attribute_that_makes_no_sense_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ResourceError, match=complaint):
        attributes.parse(text)


def test_what_is_for_no_role_by_name_stays_unreserved() -> None:
    assert parse("cpus(*):1;mem:32", default_role="ads") == parse("cpus:1;mem(ads):32")
