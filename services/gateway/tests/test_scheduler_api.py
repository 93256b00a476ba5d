"""The scheduler API over HTTP, against a registry that plays its part."""

from __future__ import annotations

import asyncio
import logging
import math

import aiohttp
import pytest
from structlog.testing import capture_logs

from mesos.v1.mesos_pb2 import TASK_RUNNING, Offer
from mesos.v1.scheduler.scheduler_pb2 import Call, Event
from mezzo import jsonpb
from mezzo.errors import (
    Conflict,
    Forbidden,
    InternalError,
    InvalidRequest,
    MezzoError,
    NotFound,
    Unavailable,
    Unimplemented,
)
from mezzo.scheduler.v1.scheduler_pb2 import CallRequest
from mezzo_gateway.testing.changes import FRAMEWORK_ID, status
from mezzo_gateway.testing.client import PATIENCE_SECONDS, GatewayClient
from mezzo_gateway.testing.registry import ScriptedRegistry, refuse

PATH = "/api/v1/scheduler"
JSON, PROTOBUF = "application/json", "application/x-protobuf"
SUBSCRIBE = {"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "root", "name": "ünïcode", "roles": ["*"]}}}
REVIVE = {"type": "REVIVE", "framework_id": {"value": FRAMEWORK_ID}}
WITH_STREAM = {"Content-Type": JSON, "Accept": JSON, "Mesos-Stream-Id": "s"}


def update() -> Event:
    event = Event(type=Event.UPDATE)
    event.update.status.CopyFrom(status(TASK_RUNNING, "tâsk"))
    return event


async def test_a_framework_subscribes_and_is_told_what_happens(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    async with gateway.records(PATH, SUBSCRIBE) as records:
        stream = await registry.streams.get()
        response = records.response
        assert response.status == 200
        assert response.headers["Content-Type"] == JSON
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert response.headers["Mesos-Stream-Id"] == stream.stream_id
        assert stream.request.call.subscribe.framework_info.name == "ünïcode"
        assert stream.request.client_address.startswith("127.0.0.1:")
        assert (await records.next_message(Event)).subscribed.framework_id.value == FRAMEWORK_ID
        assert await records.next() == b'{"type":"HEARTBEAT"}'
        stream.say(update())
        record = await records.next()
        assert record.isascii()
        assert b"\n" not in record
        assert jsonpb.parse(Event, record) == update()
        stream.end()
        with pytest.raises(EOFError):
            await records.next()


async def test_what_an_event_follows_from_is_logged_when_it_is_passed_on(
    gateway: GatewayClient, registry: ScriptedRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="mezzo_gateway.http.scheduler")
    with capture_logs() as logs:
        async with gateway.records(PATH, SUBSCRIBE) as records:
            stream = await registry.streams.get()
            await records.next()
            await records.next()
            stream.say(update(), update(), Event(type=Event.HEARTBEAT), causes=["term-1/task_updated/7", "\n" * 1000])
            for _ in range(3):
                await records.next()
    passed = [(line["event_type"], line["cause"]) for line in logs if line["event"] == "event passed on"]
    assert passed[-3:] == [("UPDATE", "term-1/task_updated/7"), ("UPDATE", ""), ("HEARTBEAT", "")]


@pytest.mark.parametrize("request_type", [JSON, PROTOBUF])
@pytest.mark.parametrize("answer_type", [JSON, PROTOBUF])
async def test_requests_and_streams_are_json_or_protobuf_independently(
    gateway: GatewayClient, registry: ScriptedRegistry, request_type: str, answer_type: str
) -> None:
    body = SUBSCRIBE if request_type == JSON else jsonpb.from_dict(Call, SUBSCRIBE).SerializeToString()
    async with gateway.records(PATH, body, {"Content-Type": request_type, "Accept": answer_type}) as records:
        assert records.response.headers["Content-Type"] == answer_type
        record = await records.next()
        event = jsonpb.parse(Event, record) if answer_type == JSON else Event.FromString(record)
        assert event.type == Event.SUBSCRIBED


async def test_the_stream_of_a_framework_that_leaves_ends_at_once(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    async with gateway.records(PATH, SUBSCRIBE) as records:
        stream = await registry.streams.get()
        await records.next()
        assert not stream.ended.is_set()
        records.response.close()
    await asyncio.wait_for(stream.ended.wait(), PATIENCE_SECONDS)


async def test_a_framework_that_the_registry_does_not_take_gets_an_error_event(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    registry.on_subscribe = refuse("framework_info.roles: nope")
    async with gateway.records(PATH, SUBSCRIBE) as records:
        assert records.response.status == 200
        event = await records.next_message(Event)
        assert (event.type, event.error.message) == (Event.ERROR, "framework_info.roles: nope")
        with pytest.raises(EOFError):
            await records.next()


async def test_a_subscription_that_the_registry_calls_wrong_is_a_bad_request(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    def fail(_: object) -> None:
        raise InvalidRequest("subscribe.framework_info.id", "is not framework_id")

    registry.on_subscribe = fail
    answer = await gateway.post(PATH, SUBSCRIBE)
    assert (answer.status, answer.content_type) == (400, "text/plain; charset=utf-8")
    assert "subscribe.framework_info.id" in answer.text


async def test_a_call_reaches_the_registry_with_its_stream_and_is_accepted(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    answer = await gateway.post(PATH, REVIVE, {"Content-Type": JSON, "Mesos-Stream-Id": "mine"})
    assert (answer.status, answer.body, answer.content_type) == (202, b"", None)
    assert answer.headers["Content-Length"] == "0"
    (call,) = registry.calls
    assert call.stream_id == "mine"
    assert call.call.type == Call.REVIVE


async def test_an_update_of_the_framework_is_answered_once_the_registry_has_applied_it(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    call = {"type": "UPDATE_FRAMEWORK", "framework_id": {"value": FRAMEWORK_ID}, "update_framework": {}}
    call["update_framework"] = {"framework_info": {"id": {"value": FRAMEWORK_ID}, "user": "root", "name": "anew"}}
    answer = await gateway.post(PATH, call, WITH_STREAM)
    assert (answer.status, answer.body) == (200, b"")
    assert [each.call.update_framework.framework_info.name for each in registry.calls] == ["anew"]


async def test_calls_take_effect_in_the_order_in_which_they_were_made(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    def decline(number: int) -> CallRequest:
        call = Call(type=Call.DECLINE)
        call.framework_id.value = FRAMEWORK_ID
        call.decline.offer_ids.add(value=str(number))
        return CallRequest(stream_id="s", call=call)

    registry_link = gateway.gateway.registry
    await asyncio.gather(*(registry_link.scheduler_call(decline(number)) for number in range(2000)))
    assert [int(call.call.decline.offer_ids[0].value) for call in registry.calls] == list(range(2000))


@pytest.mark.parametrize(
    ("error", "http_status"),
    [
        (InvalidRequest("kill.task_id", "is required"), 400),
        (NotFound("no such framework"), 400),
        (Conflict("a stream that is not yours"), 400),
        (Forbidden("framework is not subscribed"), 403),
        (Unimplemented("call REQUEST"), 501),
        (Unavailable("starting"), 503),
    ],
)
async def test_what_the_registry_says_against_a_call_becomes_the_status_that_mesos_gives(
    gateway: GatewayClient, registry: ScriptedRegistry, error: MezzoError, http_status: int
) -> None:
    registry.on_call = lambda _: error
    answer = await gateway.post(PATH, REVIVE, WITH_STREAM)
    assert (answer.status, answer.content_type) == (http_status, "text/plain; charset=utf-8")
    assert str(error) in answer.text


async def test_a_framework_whose_call_ended_a_term_is_told_which_and_until_when(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    """As an error of HTTP, for SUBSCRIBE too: an event ERROR would have it give up for good, and it is let in again."""
    reason = "framework f is refused until 2026-11-30T16:32:20+00:00: its framework_called REQUEST led to a defect"

    def fail(_: object) -> None:
        raise InternalError(reason)

    registry.on_subscribe = fail
    registry.on_call = lambda _call: InternalError(reason)
    for answer in (await gateway.post(PATH, SUBSCRIBE), await gateway.post(PATH, REVIVE, WITH_STREAM)):
        assert answer.status == 500
        assert reason in answer.text


async def test_a_refused_call_does_not_disturb_the_others(gateway: GatewayClient, registry: ScriptedRegistry) -> None:
    registry.on_call = lambda call: InvalidRequest("", "no") if call.stream_id == "bad" else None
    answers = await asyncio.gather(
        *(gateway.post(PATH, REVIVE, {**WITH_STREAM, "Mesos-Stream-Id": name}) for name in ("good", "bad", "good"))
    )
    assert [answer.status for answer in answers] == [202, 400, 202]


async def test_strings_stand_for_numbers_and_unknown_keys_are_passed_over(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    call = {
        "type": "DECLINE",
        "framework_id": {"value": "F"},
        "decline": {"offer_ids": [{"value": "O1"}], "filters": {"refuse_seconds": "120"}, "frob": {"x": 1}},
    }
    assert (await gateway.post(PATH, call, WITH_STREAM)).status == 202
    assert registry.calls[0].call.decline.filters.refuse_seconds == 120.0


async def test_a_lone_value_stands_for_a_list_of_one_as_dpark_sends_it(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    call = {
        "type": "ACCEPT",
        "framework_id": {"value": "F"},
        "accept": {
            "offer_ids": {"value": "O1"},
            "operations": {"type": "UNRESERVE", "unreserve": {"resources": [None]}},
            "filters": {"refuse_seconds": "Infinity"},
        },
    }
    assert (await gateway.post(PATH, call, WITH_STREAM)).status == 202
    accept = registry.calls[0].call.accept
    assert [offer_id.value for offer_id in accept.offer_ids] == ["O1"]
    assert [operation.type for operation in accept.operations] == [Offer.Operation.UNRESERVE]
    assert accept.filters.refuse_seconds == math.inf


async def test_a_list_of_what_it_cannot_hold_is_refused_with_its_place(gateway: GatewayClient) -> None:
    call = {"type": "ACCEPT", "framework_id": {"value": "F"}, "accept": {"offer_ids": ["O1"]}}
    answer = await gateway.post(PATH, call, WITH_STREAM)
    assert (answer.status, answer.text) == (400, "accept.offer_ids[0]: expected an object, found 'O1'")


async def test_a_body_that_is_too_large_is_refused(gateway: GatewayClient, registry: ScriptedRegistry) -> None:
    answer = await gateway.post(PATH, {**REVIVE, "padding": "x" * (1 << 16)}, WITH_STREAM)
    assert answer.status == 413
    assert not registry.calls


async def test_the_streams_of_frameworks_end_when_the_registry_goes(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    async with gateway.records(PATH, SUBSCRIBE) as records:
        await registry.streams.get()
        await records.next()
        await registry.stop()
        assert await records.rest() == [b'{"type":"HEARTBEAT"}']


async def test_a_call_under_way_when_the_registry_goes_breaks_off_with_its_connection(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    heard = asyncio.Event()

    async def stay_silent(*_: object) -> None:
        heard.set()
        await asyncio.Event().wait()

    registry.before_results = stay_silent
    call = asyncio.create_task(gateway.post(PATH, REVIVE, WITH_STREAM))
    await asyncio.wait_for(heard.wait(), PATIENCE_SECONDS)
    await registry.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await call


async def test_a_call_to_a_registry_that_leads_no_longer_is_told_so(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    registry.leader = "10.0.0.9:5060"  # where its successor speaks gRPC: nothing for a client of HTTP
    with pytest.raises(aiohttp.ClientConnectionError):
        await gateway.post(PATH, REVIVE, WITH_STREAM)
    assert (await gateway.post(PATH, SUBSCRIBE)).status == 503
    registry.leader = None
    assert (await gateway.post(PATH, REVIVE, WITH_STREAM)).status == 202


async def test_the_correlation_id_of_a_request_comes_back_and_goes_on_to_the_registry(
    gateway: GatewayClient, registry: ScriptedRegistry
) -> None:
    headers = {**WITH_STREAM, "X-Correlation-Id": "corr-1"}
    assert (await gateway.post(PATH, REVIVE, headers)).headers["X-Correlation-Id"] == "corr-1"
    del headers["Mesos-Stream-Id"]
    async with gateway.records(PATH, SUBSCRIBE, headers) as records:
        await records.next()
        assert records.response.headers["X-Correlation-Id"] == "corr-1"
    assert registry.correlation_ids == ["corr-1"]
