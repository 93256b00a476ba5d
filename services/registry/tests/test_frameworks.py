"""How frameworks subscribe, come back, fail over and end."""

from collections.abc import Callable

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.offer_constraints import RegexLimits
from mezzo_registry.core import Settings, effects, events
from mezzo_registry.testing import REGISTRY_ID, Cluster

Event = scheduler.Event
Call = scheduler.Call
MakeCluster = Callable[..., Cluster]


def types(sent: list[scheduler.Event]) -> list[str]:
    return [Event.Type.Name(event.type) for event in sent]


def test_subscription_is_answered_with_an_id_and_a_heartbeat_at_once(cluster: Cluster) -> None:
    stream = cluster.subscribe(cluster.framework_info())
    subscribed, heartbeat = cluster.on_stream(stream)
    assert subscribed.subscribed.framework_id.value == f"{REGISTRY_ID}-0000"
    assert subscribed.subscribed.heartbeat_interval_seconds == 15.0
    assert subscribed.subscribed.master_info.id == REGISTRY_ID
    assert heartbeat.type == Event.HEARTBEAT


def test_allocator_is_told_of_a_new_framework(cluster: Cluster) -> None:
    framework = cluster.framework()
    (message,) = cluster.to_allocator()
    assert message.framework_update.framework_info.id.value == framework.id
    assert message.framework_update.active


def test_framework_with_an_id_that_nobody_knows_is_taken_as_it_is(cluster: Cluster) -> None:
    stream = cluster.subscribe(cluster.framework_info(id=mesos.FrameworkID(value="never-seen")))
    assert cluster.on_stream(stream)[0].subscribed.framework_id.value == "never-seen"


@pytest.mark.parametrize("gone", [False, True], ids=["live", "completed"])
def test_id_that_somebody_has_guessed_is_given_to_nobody_else(cluster: Cluster, gone: bool) -> None:
    guessed = f"{REGISTRY_ID}-0000"
    stream = cluster.subscribe(cluster.framework_info(id=mesos.FrameworkID(value=guessed)))
    if gone:
        call = Call(type=Call.TEARDOWN, framework_id=mesos.FrameworkID(value=guessed))
        cluster.handle(events.FrameworkCalled(1, stream, call))
    assert cluster.framework().id == f"{REGISTRY_ID}-0001"
    cluster.validate()


def test_second_subscription_closes_the_older_stream_with_an_error(cluster: Cluster) -> None:
    framework = cluster.framework()
    older = framework.stream_id
    cluster.resubscribe(framework)
    (error,) = cluster.on_stream(older)
    assert error.error.message == "Framework failed over"
    assert [one.stream_id for one in cluster.of(effects.CloseFrameworkStream)] == [older]
    assert types(cluster.to_framework(framework)) == ["SUBSCRIBED", "HEARTBEAT"]


def test_end_of_the_older_stream_does_not_touch_the_newer(cluster: Cluster) -> None:
    framework = cluster.framework()
    older = framework.stream_id
    cluster.resubscribe(framework)
    assert cluster.handle(events.FrameworkStreamClosed(older)) == []
    assert cluster.registry.state.frameworks[framework.id].connected


def test_offers_do_not_survive_a_new_subscription(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.offer(framework, agent)
    cluster.resubscribe(framework)
    assert cluster.recovered() == ["cpus(allocated: *):2; mem(allocated: *):1024"]
    assert cluster.registry.state.offers == {}


def test_update_that_is_not_acknowledged_comes_again_with_a_new_subscription(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework(failover_timeout=60.0)
    cluster.launched(framework, agent)
    identifier, _ = cluster.update(framework, agent, "t1", "TASK_RUNNING")
    cluster.close(framework)
    cluster.resubscribe(framework)
    assert [one.uuid for one in cluster.statuses(framework)] == [identifier]


def test_framework_that_stays_away_for_its_failover_timeout_is_removed(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework(failover_timeout=60.0)
    cluster.running(framework, agent)
    cluster.close(framework)
    cluster.advance(59)
    assert framework.id in cluster.registry.state.frameworks
    cluster.advance(2)
    assert framework.id in cluster.registry.state.completed
    assert [one.WhichOneof("message") for one in cluster.to_agent(agent)] == ["shutdown_framework"]
    assert cluster.recovered() == ["cpus(allocated: *):1; mem(allocated: *):128"]
    assert cluster.to_allocator()[-1].HasField("framework_removed")


def test_framework_that_comes_back_in_time_is_kept(cluster: Cluster) -> None:
    framework = cluster.framework(failover_timeout=60.0)
    cluster.close(framework)
    cluster.advance(30)
    cluster.resubscribe(framework)
    cluster.advance(60)
    assert cluster.registry.state.frameworks[framework.id].connected


def test_framework_without_a_failover_timeout_is_removed_when_its_stream_ends(cluster: Cluster) -> None:
    framework = cluster.framework()
    cluster.close(framework)
    cluster.advance(0)
    assert framework.id in cluster.registry.state.completed


def test_removed_framework_cannot_come_back(cluster: Cluster) -> None:
    framework = cluster.framework()
    cluster.call(framework, Call(type=Call.TEARDOWN))
    cluster.resubscribe(framework)
    (error,) = cluster.to_framework(framework)
    assert error.error.message == "Framework has been removed"


def test_teardown_kills_everything_and_closes_the_stream(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.running(framework, agent)
    cluster.offer(framework, agent, "cpus:1")
    cluster.call(framework, Call(type=Call.TEARDOWN))
    assert cluster.states(framework) == [("t1", "TASK_KILLED")]
    assert cluster.statuses(framework)[0].reason == mesos.TaskStatus.REASON_FRAMEWORK_REMOVED
    assert [one.WhichOneof("message") for one in cluster.to_agent(agent)] == ["shutdown_framework"]
    assert [one.stream_id for one in cluster.of(effects.CloseFrameworkStream)] == [framework.stream_id]
    assert cluster.recovered() == ["cpus(allocated: *):1", "cpus(allocated: *):1; mem(allocated: *):128"]


def test_oldest_completed_framework_is_forgotten(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(Settings(max_completed_frameworks=2))
    frameworks = [cluster.framework() for _ in range(3)]
    for framework in frameworks:
        cluster.call(framework, Call(type=Call.TEARDOWN))
    assert list(cluster.registry.state.completed) == [one.id for one in frameworks[1:]]


@pytest.mark.parametrize(
    ("info", "field"),
    [
        ({"roles": ["a", "a"], "capabilities": ["MULTI_ROLE"]}, "roles[1]"),
        ({"role": "a", "capabilities": ["MULTI_ROLE"]}, "role"),
        ({"roles": ["."], "capabilities": ["MULTI_ROLE"]}, "roles[0]"),
        ({"roles": ["a b"], "capabilities": ["MULTI_ROLE"]}, "roles[0]"),
        ({"roles": ["a"], "capabilities": []}, "roles"),
        ({"role": "a//b", "capabilities": []}, "role"),
        ({"role": "/a", "capabilities": []}, "role"),
        ({"role": "a/*", "capabilities": []}, "role"),
        ({"role": "-a", "capabilities": []}, "role"),
        ({"role": "", "capabilities": []}, "role"),
        ({"failover_timeout": -1.0, "capabilities": []}, "failover_timeout"),
        ({"failover_timeout": 1e12, "capabilities": []}, "failover_timeout"),
        ({"id": mesos.FrameworkID(value="a/b"), "capabilities": []}, "id.value"),
        ({"offer_filters": {"b": mesos.OfferFilters()}, "role": "a", "capabilities": []}, "offer_filters['b']"),
    ],
)
def test_framework_that_makes_no_sense_gets_an_error_event(
    cluster: Cluster, info: dict[str, object], field: str
) -> None:
    capabilities = info.pop("capabilities")
    assert isinstance(capabilities, list)
    stream = cluster.subscribe(cluster.framework_info(*capabilities, **info))
    (error,) = cluster.on_stream(stream)
    assert error.error.message.startswith(f"subscribe.framework_info.{field}: ")
    assert [one.stream_id for one in cluster.of(effects.CloseFrameworkStream)] == [stream]
    assert cluster.registry.state.frameworks == {}


def test_framework_may_filter_the_offers_of_its_roles(cluster: Cluster) -> None:
    filters = {role: mesos.OfferFilters() for role in ("a", "b")}
    framework = cluster.framework("MULTI_ROLE", roles=["a", "b"], offer_filters=filters)
    assert set(cluster.registry.state.frameworks[framework.id].info.offer_filters) == {"a", "b"}


@pytest.mark.parametrize(("user", "name"), [("", "x"), ("root", ""), ("", "")])
def test_empty_user_and_name_are_fine(cluster: Cluster, user: str, name: str) -> None:
    stream = cluster.subscribe(mesos.FrameworkInfo(user=user, name=name))
    assert types(cluster.on_stream(stream)) == ["SUBSCRIBED", "HEARTBEAT"]


def subscribe_call(**fields: object) -> scheduler.Call:
    call = Call(type=Call.SUBSCRIBE)
    call.subscribe.framework_info.user = "root"
    call.subscribe.framework_info.name = "x"
    return call


@pytest.mark.parametrize("framework_id", ["€" * 200, "x" * 256, "a/b", "..", "a\nb"])
def test_framework_with_an_id_that_no_folder_could_have_gets_an_error(cluster: Cluster, framework_id: str) -> None:
    stream_id = cluster.subscribe(cluster.framework_info(id=mesos.FrameworkID(value=framework_id)))
    (event,) = cluster.on_stream(stream_id)
    assert event.type == Event.ERROR
    assert event.error.message.startswith("subscribe.framework_info.id.value: ")


def test_subscription_with_two_different_ids_is_refused(cluster: Cluster) -> None:
    call = subscribe_call()
    call.framework_id.value = "a"
    cluster.handle(events.FrameworkSubscribing(1, "s", call))
    assert cluster.refusal().startswith("InvalidRequest: subscribe.framework_info.id.value")


def test_subscription_without_a_name_is_refused(cluster: Cluster) -> None:
    call = subscribe_call()
    call.subscribe.framework_info.ClearField("name")
    cluster.handle(events.FrameworkSubscribing(1, "s", call))
    assert cluster.refusal() == "InvalidRequest: subscribe.framework_info.name: is required"


def test_subscription_without_a_body_is_refused(cluster: Cluster) -> None:
    cluster.handle(events.FrameworkSubscribing(1, "s", Call(type=Call.SUBSCRIBE)))
    assert cluster.refusal().startswith("InvalidRequest: subscribe: is required")


def test_suppressed_role_that_is_not_the_frameworks_gets_an_error_event(cluster: Cluster) -> None:
    stream = cluster.subscribe(cluster.framework_info(), suppressed_roles=["other"])
    (error,) = cluster.on_stream(stream)
    assert error.error.message.startswith("subscribe.suppressed_roles[0]: ")


def test_framework_cannot_come_back_under_another_principal(cluster: Cluster) -> None:
    framework = cluster.framework(principal="alice", failover_timeout=60.0)
    framework.info.principal = "bob"
    cluster.resubscribe(framework)
    assert cluster.to_framework(framework)[0].error.message.startswith("subscribe.framework_info.principal: ")


def test_user_and_checkpoint_do_not_change_with_a_new_subscription(cluster: Cluster) -> None:
    framework = cluster.framework(checkpoint=True)
    framework.info.user, framework.info.checkpoint, framework.info.webui_url = "other", False, "http://x"
    cluster.resubscribe(framework)
    kept = cluster.registry.state.frameworks[framework.id].info
    assert (kept.user, kept.checkpoint, kept.webui_url) == ("root", True, "http://x")


def test_agents_that_run_its_tasks_are_told_how_a_framework_describes_itself_now(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.agent()
    cluster.running(framework, agent)
    framework.info.webui_url = "http://x"
    cluster.resubscribe(framework)
    (sent,) = cluster.of(effects.SendToAgent)
    assert sent.session == agent.session
    assert sent.message.framework_update.framework_info.webui_url == "http://x"


def update_call(framework_info: mesos.FrameworkInfo) -> scheduler.Call:
    call = Call(type=Call.UPDATE_FRAMEWORK)
    call.update_framework.framework_info.CopyFrom(framework_info)
    return call


def test_removed_role_takes_its_offers_with_it(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework("MULTI_ROLE", roles=["a", "b"])
    offers = [cluster.offer(framework, agent, "cpus:1", role) for role in ("a", "b")]
    del framework.info.roles[1]
    cluster.call(framework, update_call(framework.info))
    assert [one.rescind.offer_id for one in cluster.to_framework(framework)] == [offers[1].id]
    assert cluster.recovered() == ["cpus(allocated: b):1"]
    assert cluster.registry.state.roles == {"a": 1}
    del framework.info.roles[:]
    cluster.call(framework, update_call(framework.info))
    assert [one.rescind.offer_id for one in cluster.to_framework(framework)] == [offers[0].id]
    assert cluster.recovered() == ["cpus(allocated: a):1"]
    assert cluster.registry.state.roles == {}


def described_anew(info: mesos.FrameworkInfo) -> mesos.FrameworkInfo:
    """All of it that may change while the framework lives is another."""
    anew = mesos.FrameworkInfo()
    anew.CopyFrom(info)
    anew.name, anew.hostname, anew.webui_url, anew.failover_timeout = "anew", "other.example.com", "http://x", 1000.0
    anew.capabilities.add(type=mesos.FrameworkInfo.Capability.REGION_AWARE)
    anew.labels.labels.add(key="key", value="value")
    anew.roles.append("new")
    anew.offer_filters["new"].SetInParent()
    return anew


def test_update_of_all_that_may_change_is_told_to_agents_and_observers(cluster: Cluster) -> None:
    cluster.handle(events.ObserverJoined(1))
    agent, framework = cluster.agent(), cluster.framework("MULTI_ROLE", roles=["*"])
    cluster.running(framework, agent)
    cluster.call(framework, update_call(described_anew(framework.info)))
    assert cluster.registry.state.frameworks[framework.id].info == described_anew(framework.info)
    (message,) = cluster.to_agent(agent)
    assert message.framework_update.framework_info == described_anew(framework.info)
    (published,) = cluster.published("framework_changed")
    assert published.framework.framework_info == described_anew(framework.info)


def test_update_that_changes_nothing_is_told_to_no_agent_and_no_observer(cluster: Cluster) -> None:
    cluster.handle(events.ObserverJoined(1))
    agent, framework = cluster.agent(), cluster.framework("MULTI_ROLE", roles=["*"])
    cluster.running(framework, agent)
    cluster.call(framework, update_call(framework.info))
    assert not cluster.of(effects.Refuse)
    assert cluster.to_agent(agent) == []
    assert cluster.published("framework_changed") == []
    call = update_call(framework.info)
    call.update_framework.suppressed_roles.append("*")
    cluster.call(framework, call)
    assert len(cluster.published("framework_changed")) == 1
    assert cluster.to_agent(agent) == []


@pytest.mark.parametrize(("field", "value"), [("user", "other"), ("checkpoint", True), ("principal", "bob")])
def test_update_of_what_cannot_change_is_refused_and_changes_nothing_else(
    cluster: Cluster, field: str, value: object
) -> None:
    framework = cluster.framework("MULTI_ROLE", roles=["a"])
    anew = described_anew(framework.info)
    setattr(anew, field, value)
    cluster.call(framework, update_call(anew))
    assert cluster.refusal().startswith(f"InvalidRequest: update_framework.framework_info.{field}: ")
    assert cluster.to_allocator() == []
    assert cluster.registry.state.frameworks[framework.id].info == framework.info


def test_update_with_constraints_for_a_role_that_it_takes_away_is_refused_as_a_whole(cluster: Cluster) -> None:
    framework = cluster.framework("MULTI_ROLE", roles=["a"])
    anew = described_anew(framework.info)
    anew.roles[:] = ["new"]
    call = update_call(anew)
    call.update_framework.offer_constraints.CopyFrom(constraints("r1", "a"))
    cluster.call(framework, call)
    assert cluster.refusal().startswith("InvalidRequest: update_framework.offer_constraints.role_constraints['a']: ")
    assert cluster.registry.state.frameworks[framework.id].info == framework.info


def test_suppress_and_revive_reach_the_allocator(cluster: Cluster) -> None:
    framework = cluster.framework("MULTI_ROLE", roles=["a", "b"])
    suppress = Call(type=Call.SUPPRESS)
    suppress.suppress.roles.append("a")
    cluster.call(framework, suppress)
    assert [list(one.suppress.roles) for one in cluster.to_allocator()] == [["a"]]
    cluster.call(framework, Call(type=Call.REVIVE))
    assert [one.WhichOneof("message") for one in cluster.to_allocator()] == ["revive"]


def test_a_framework_revives_in_vain_that_has_launched_nothing_since_it_last_did(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()

    def revive() -> bool:
        cluster.call(framework, Call(type=Call.REVIVE))
        (message,) = cluster.to_allocator()
        return message.revive.in_vain

    assert [revive(), revive()] == [False, True]
    cluster.launched(framework, agent)
    assert [revive(), revive()] == [False, True]


@pytest.mark.parametrize("kind", ["revive", "suppress"])
@pytest.mark.parametrize("roles", [["other"], ["*", "other"], ["not/../a role"]])
def test_call_for_a_role_that_is_not_the_frameworks_is_dropped(cluster: Cluster, kind: str, roles: list[str]) -> None:
    framework = cluster.framework()
    call = Call(type=Call.Type.Value(kind.upper()))
    getattr(call, kind).roles.extend(roles)
    cluster.call(framework, call)
    assert (cluster.of(effects.Refuse), cluster.to_allocator()) == ([], [])
    assert [(note.level, note.event) for note in cluster.of(effects.Note)] == [("warning", "call dropped")]
    assert cluster.registry.measure(now=cluster.now)["master/dropped_messages"] == 1
    assert cluster.registry.state.frameworks[framework.id].suppressed == set()


# --- who may call -----------------------------------------------------------------------------------------------------


def test_call_without_a_stream_id_is_refused(cluster: Cluster) -> None:
    cluster.call(cluster.framework(), Call(type=Call.REVIVE), stream_id="")
    assert cluster.refusal() == "InvalidRequest: All non-subscribe calls should include the 'Mesos-Stream-Id' header"


def test_call_with_anothers_stream_id_is_refused(cluster: Cluster) -> None:
    framework, other = cluster.framework(), cluster.framework()
    cluster.call(framework, Call(type=Call.TEARDOWN), stream_id=other.stream_id)
    assert cluster.refusal() == (
        f"InvalidRequest: The stream ID '{other.stream_id}' included in this request didn't match the stream ID "
        f"currently associated with framework ID {framework.id}"
    )
    assert framework.id in cluster.registry.state.frameworks


def test_call_of_an_unknown_framework_is_refused(cluster: Cluster) -> None:
    framework = cluster.framework()
    call = Call(type=Call.TEARDOWN)
    call.framework_id.value = "nope"
    cluster.call(framework, call)
    assert cluster.refusal() == "InvalidRequest: Framework cannot be found"


def test_call_without_a_framework_id_is_refused(cluster: Cluster) -> None:
    cluster.handle(events.FrameworkCalled(1, "s", Call(type=Call.TEARDOWN)))
    assert cluster.refusal() == "InvalidRequest: framework_id.value: is required"


def test_call_of_a_framework_that_is_not_subscribed_is_forbidden(cluster: Cluster) -> None:
    framework = cluster.framework(failover_timeout=60.0)
    cluster.close(framework)
    cluster.call(framework, Call(type=Call.REVIVE))
    assert cluster.refusal().startswith("Forbidden: ")


def test_call_without_its_body_is_refused(cluster: Cluster) -> None:
    cluster.call(cluster.framework(), Call(type=Call.KILL))
    assert cluster.refusal() == "InvalidRequest: kill: is required for a call of type KILL"


def test_call_without_a_required_field_is_refused(cluster: Cluster) -> None:
    call = Call(type=Call.KILL)
    call.kill.SetInParent()
    cluster.call(cluster.framework(), call)
    assert cluster.refusal() == "InvalidRequest: kill.task_id: is required"


def test_call_without_a_type_is_refused(cluster: Cluster) -> None:
    cluster.call(cluster.framework(), Call())
    assert cluster.refusal() == "InvalidRequest: type: missing or unknown"


@pytest.mark.parametrize("name", sorted(set(Call.Type.keys()) - {"UNKNOWN", "SUBSCRIBE"}))
def test_every_call_that_mesos_knows_is_carried_out(cluster: Cluster, name: str) -> None:
    cluster.call(cluster.framework(), Call(type=Call.Type.Value(name)))
    assert all("type" not in str(refused.error).partition(":")[0] for refused in cluster.of(effects.Refuse))
    assert cluster.effects


def test_text_that_is_no_text_is_refused_with_its_field(cluster: Cluster) -> None:
    framework = cluster.framework()
    call = Call(type=Call.KILL)
    call.kill.task_id.value = "abcd"
    call.framework_id.value = framework.id
    spoiled = Call.FromString(call.SerializeToString().replace(b"abcd", b"ab\xff\xfe"))
    cluster.call(framework, spoiled)
    assert cluster.refusal() == "InvalidRequest: kill.task_id.value: is not UTF-8"


def constraints(regex: str, role: str = "*") -> scheduler.OfferConstraints:
    made = scheduler.OfferConstraints()
    constraint = made.role_constraints[role].groups.add().attribute_constraints.add()
    constraint.selector.attribute_name = "rack"
    constraint.predicate.text_matches.regex = regex
    return made


@pytest.mark.parametrize(
    ("wrong", "words"),
    [(constraints("("), "missing )"), (constraints("[a-z]{100}"), "too complex"), (constraints("a", "web"), "role")],
)
def test_malformed_offer_constraints_are_refused(
    cluster: Cluster, wrong: scheduler.OfferConstraints, words: str
) -> None:
    stream = cluster.subscribe(cluster.framework_info(), offer_constraints=wrong)
    (event,) = cluster.on_stream(stream)
    assert event.error.message.startswith("subscribe.offer_constraints.role_constraints")
    assert words in event.error.message
    framework = cluster.framework()
    call = update_call(framework.info)
    call.update_framework.offer_constraints.CopyFrom(wrong)
    cluster.call(framework, call)
    assert cluster.refusal().startswith("InvalidRequest: update_framework.offer_constraints.role_constraints")
    assert words in cluster.refusal()


def test_limits_of_regular_expressions_are_the_flags(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(Settings(offer_constraints=RegexLimits(1_000_000, 5000)))
    cluster.allocator()
    stream = cluster.subscribe(cluster.framework_info(), offer_constraints=constraints("[a-z]{100}"))
    assert cluster.on_stream(stream)[0].type == scheduler.Event.SUBSCRIBED
    (sent,) = [one.framework_update for one in cluster.to_allocator()]
    assert sent.offer_constraints == constraints("[a-z]{100}")


def test_update_replaces_roles_suppression_and_constraints(cluster: Cluster) -> None:
    agent, framework = cluster.agent("cpus:4"), cluster.framework("MULTI_ROLE", roles=["web", "eng"])
    offer = cluster.offer(framework, agent, "cpus:1", "eng")
    del framework.info.roles[:]
    framework.info.roles.extend(["web", "ops"])
    call = update_call(framework.info)
    call.update_framework.suppressed_roles.append("ops")
    call.update_framework.offer_constraints.CopyFrom(constraints("r1", "web"))
    cluster.call(framework, call)
    assert [one.rescind.offer_id for one in cluster.to_framework(framework)] == [offer.id]
    (sent,) = [one.framework_update for one in cluster.to_allocator() if one.HasField("framework_update")]
    assert list(sent.framework_info.roles) == ["web", "ops"]
    assert list(sent.suppressed_roles) == ["ops"]
    assert sent.offer_constraints == constraints("r1", "web")
