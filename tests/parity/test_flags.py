"""`/flags` tells what Mesos' own tells, where it has a meaning here; what is left out is listed with the reason."""

from __future__ import annotations

from pathlib import Path

from mezzo_agent.config import Config as AgentConfig
from mezzo_allocator.app import MASTER_FLAGS as OF_ALLOCATORS
from mezzo_allocator.config import Config as AllocatorConfig
from mezzo_chassis.config import as_text, load
from mezzo_gateway.app import MASTER_FLAGS as OF_GATEWAYS
from mezzo_gateway.config import Config as GatewayConfig
from mezzo_registry.config import Config as RegistryConfig


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# As recorded from Apache Mesos 1.12, each process started with no more flags than it needs.
MASTER = words("""
    agent_ping_timeout agent_reregister_timeout allocation_interval allocator allocator_agent_recovery_factor
    allocator_recovery_timeout authenticate_agents authenticate_frameworks authenticate_http_frameworks
    authenticate_http_readonly authenticate_http_readwrite authentication_v0_timeout authenticators authorizers
    filter_gpu_resources framework_sorter help hostname hostname_lookup http_authenticators initialize_driver_logging ip
    log_auto_initialize log_dir logbufsecs logging_level max_agent_ping_timeouts max_completed_frameworks
    max_completed_tasks_per_framework max_operator_event_stream_subscribers max_unreachable_tasks_per_framework
    memory_profiling min_allocatable_resources offer_constraints_re2_max_mem offer_constraints_re2_max_program_size port
    publish_per_framework_metrics quiet recovery_agent_removal_limit registry registry_fetch_timeout
    registry_gc_interval registry_max_agent_age registry_max_agent_count registry_store_timeout registry_strict
    require_agent_domain role_sorter root_submissions version webui_dir work_dir zk_session_timeout
""")
AGENT = words("""
    appc_simple_discovery_uri_prefix appc_store_dir authenticate_http_readonly authenticate_http_readwrite authenticatee
    authentication_backoff_factor authentication_timeout_max authentication_timeout_min authorizer
    cgroups_cpu_enable_pids_and_tids_count cgroups_destroy_timeout cgroups_enable_cfs cgroups_hierarchy
    cgroups_limit_swap cgroups_root container_disk_watch_interval containerizers default_role
    disallow_sharing_agent_ipc_namespace disallow_sharing_agent_pid_namespace disk_watch_interval docker
    docker_ignore_runtime docker_kill_orphans docker_registry docker_remove_delay docker_socket docker_stop_timeout
    docker_store_dir docker_volume_checkpoint_dir docker_volume_chown enforce_container_disk_quota
    executor_registration_timeout executor_reregistration_timeout executor_shutdown_grace_period fetcher_cache_dir
    fetcher_cache_size fetcher_stall_timeout frameworks_home gc_delay gc_disk_headroom
    gc_non_executor_container_sandboxes help hostname hostname_lookup http_command_executor http_executor_domain_sockets
    http_heartbeat_interval initialize_driver_logging ip isolation launcher launcher_dir log_dir logbufsecs
    logging_level master max_completed_executors_per_framework memory_profiling network_cni_metrics
    network_cni_root_dir_persist oversubscribed_resources_interval perf_duration perf_interval port
    qos_correction_interval_min quiet reconfiguration_policy recover recovery_timeout registration_backoff_factor
    revocable_cpu_low_priority runtime_dir sandbox_directory strict switch_user systemd_enable_support
    systemd_runtime_directory version work_dir zk_session_timeout
""")

OF_LIBPROCESS = {
    "of glog, libprocess and the command line": words("""
        help version initialize_driver_logging log_auto_initialize log_dir logbufsecs quiet memory_profiling
        hostname_lookup
    """),
}
LEFT_OUT_BY_MASTER = OF_LIBPROCESS | {
    "modules for authentication, of which there are none": words("""
        authentication_v0_timeout authenticators authorizers http_authenticators
    """),
    "the allocator waits for no share of the agents after an election": words("""
        allocator_agent_recovery_factor allocator_recovery_timeout
    """),
    "the store's time-outs are constants; every write is stored before it is acted upon": words("""
        registry_fetch_timeout registry_store_timeout registry_strict
    """),
    "no web interface is served from files": words("webui_dir"),
}
LEFT_OUT_BY_AGENT = OF_LIBPROCESS | {
    "modules for authentication, of which there are none": words("""
        authenticatee authentication_backoff_factor authentication_timeout_max authentication_timeout_min authorizer
    """),
    "no images, no Docker": words("""
        appc_simple_discovery_uri_prefix appc_store_dir docker docker_ignore_runtime docker_kill_orphans docker_registry
        docker_remove_delay docker_socket docker_stop_timeout docker_store_dir docker_volume_checkpoint_dir
        docker_volume_chown sandbox_directory
    """),
    "no cgroups, namespaces, networks, perf, or systemd": words("""
        cgroups_cpu_enable_pids_and_tids_count cgroups_destroy_timeout cgroups_enable_cfs cgroups_hierarchy
        cgroups_limit_swap cgroups_root disallow_sharing_agent_ipc_namespace disallow_sharing_agent_pid_namespace
        network_cni_metrics network_cni_root_dir_persist perf_duration perf_interval systemd_enable_support
        systemd_runtime_directory container_disk_watch_interval
    """),
    "no oversubscription": words("""
        oversubscribed_resources_interval qos_correction_interval_min revocable_cpu_low_priority
    """),
    "no executor process for commands, no containers that operators launch": words("""
        launcher_dir http_command_executor gc_non_executor_container_sandboxes
    """),
    "attributes may change, and resources while what runs fits in: none of Mesos' policies": words("""
        reconfiguration_policy
    """),
}


def check(told: frozenset[str], recorded: frozenset[str], left_out: dict[str, frozenset[str]]) -> None:
    missing = recorded - told
    explained: frozenset[str] = frozenset().union(*left_out.values())
    assert missing - explained == frozenset(), "recorded, not told, and no reason given"
    assert (explained & recorded) - missing == frozenset(), "told, though a reason is given for leaving it out"


def test_flags_of_the_master_are_told_by_registry_allocator_and_gateway_together() -> None:
    told = RegistryConfig().as_mesos_flags().keys() | set(OF_ALLOCATORS) | set(OF_GATEWAYS)
    check(frozenset(told), MASTER, LEFT_OUT_BY_MASTER)


def test_flags_of_the_agent_are_told() -> None:
    check(frozenset(AgentConfig().as_mesos_flags()), AGENT, LEFT_OUT_BY_AGENT)


def test_what_is_told_of_a_flag_can_be_given_again() -> None:
    for config_class in (AgentConfig, AllocatorConfig, GatewayConfig, RegistryConfig):
        told = as_text(config_class())
        assert (
            load(config_class, [f"--{name}={value}" for name, value in told.items()], service="any") == config_class()
        )


def test_values_are_those_that_are_in_force() -> None:
    agent = AgentConfig(work_dir=Path("/w"), log_level="warning").as_mesos_flags()
    assert (agent["runtime_dir"], agent["fetcher_cache_dir"]) == ("/w/run", "/w/fetch")
    assert (agent["logging_level"], agent["http_heartbeat_interval"]) == ("WARNING", "30secs")
    assert RegistryConfig().as_mesos_flags()["registry"] == "sqlite"
