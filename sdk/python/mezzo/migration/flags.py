"""Each flag of Mesos' master and agent, and what it is here.

A test holds the table against the flags of the services, and against a list of all that Mesos 1.11 documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Program(StrEnum):
    """Whose flags they are."""

    MASTER = "master"
    AGENT = "agent"


class Fate(StrEnum):
    """What becomes of a flag."""

    SAME = "same"
    """One of our services has it, under its name."""
    RENAMED = "renamed"
    """One of our services has it, under another name."""
    MEANINGLESS = "means nothing here"
    """What it configures does not exist."""
    NOT_YET = "not yet"
    """What it configures is planned, and missing."""
    UNKNOWN = "unknown"
    """Mesos does not document it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a flag of Mesos is here."""

    fate: Fate
    targets: tuple[tuple[str, str], ...] = ()
    """The services that take it, each with its flag there."""
    note: str = ""
    """What to know, or why it means nothing."""
    harmless: frozenset[str] | None = frozenset()
    """Values with which it asks for nothing that would be missed, also with commas between them; None: any."""

    def needs_attention(self, value: str) -> bool:
        """Whether somebody has to decide something, since the flag has this value."""
        return self.harmless is not None and not self.harmless.issuperset(each.strip() for each in value.split(","))


ANY_VALUE: Final = None


def _same(*services: str, note: str = "") -> Entry:
    """The flag's name is filled in by `_table`."""
    return Entry(Fate.SAME, tuple((service, "") for service in services), note, ANY_VALUE)


def _renamed(note: str = "", /, **flags: str) -> Entry:
    """`flags`: service = the name of its flag."""
    return Entry(Fate.RENAMED, tuple(flags.items()), note, ANY_VALUE)


def _meaningless(because: str) -> Entry:
    return Entry(Fate.MEANINGLESS, note=because, harmless=ANY_VALUE)


def _missed(because: str, *harmless: str) -> Entry:
    """It will not come, and whoever relies on it has to do something else."""
    return Entry(Fate.MEANINGLESS, note=because, harmless=frozenset(harmless))


def _not_yet(what: str, *harmless: str) -> Entry:
    return Entry(Fate.NOT_YET, note=f"{what} is not there yet", harmless=frozenset(harmless))


AUTHENTICATION, AUTHORIZATION = "authentication", "authorization"
LINUX, IMAGES, NETWORKS = "isolation in Linux containers", "running images", "container networking"
PORT_MAPPING = "there is no port mapping isolator"
MODULES = "there are no modules: what is to be replaced is a process that speaks gRPC"
NO_LOG = "there is no replicated log: with --zk the state is in ZooKeeper, otherwise in SQLite in --work_dir"
LOGS = "logs go to standard output alone: systemd, Docker or Kubernetes keep them"
NO_V0 = "the v0 protocol of libprocess is not served"
DOCKER = "there is no Docker containerizer"
APPC = "there are no Appc images"
SYSTEMD = "executors outlive the agent by themselves; its unit has KillMode=process"
OVERSUBSCRIPTION = "there are no modules that estimate or correct oversubscription"

_BOTH: Final = {
    "authenticate_http_readonly": _not_yet(AUTHENTICATION, "false"),
    "authenticate_http_readwrite": _not_yet(AUTHENTICATION, "false"),
    "external_log_file": _meaningless(LOGS),
    "firewall_rules": _missed("no endpoint can be switched off: put a proxy in front that refuses it"),
    "hooks": _missed(MODULES),
    "http_authenticators": _not_yet(AUTHENTICATION, "basic"),
    "initialize_driver_logging": _meaningless(NO_V0),
    "ip_discovery_command": _missed('give --ip what the command prints: --ip="$(command)"'),
    "log_dir": _meaningless(LOGS),
    "logbufsecs": _meaningless(LOGS),
    "modules": _missed(MODULES),
    "modules_dir": _missed(MODULES),
    "quiet": _meaningless(LOGS),
}

_MASTER: Final = {
    **_BOTH,
    "acls": _not_yet(AUTHORIZATION),
    "advertise_ip": _same("registry", note="of a gateway, or of what balances between them: clients are led there"),
    "advertise_port": _same("registry", note="of a gateway, or of what balances between them: clients are led there"),
    "agent_ping_timeout": _same("registry"),
    "agent_removal_rate_limit": _same("registry"),
    "agent_reregister_timeout": _same("registry"),
    "allocation_interval": _same("allocator"),
    "allocator": _missed(
        "the allocator is a service, not a module; a registry's --allocator is the address of it", "HierarchicalDRF"
    ),
    "authenticate_agents": _not_yet(AUTHENTICATION, "false"),
    "authenticate_frameworks": _not_yet(AUTHENTICATION, "false"),
    "authenticate_http_frameworks": _not_yet(AUTHENTICATION, "false"),
    "authentication_v0_timeout": _meaningless(NO_V0),
    "authenticators": _not_yet(AUTHENTICATION, "crammd5"),
    "authorizers": _not_yet(AUTHORIZATION, "local"),
    "cluster": _meaningless("no page shows the cluster's name"),
    "credentials": _not_yet(AUTHENTICATION),
    "domain": _same("registry"),
    "fair_sharing_excluded_resource_names": _same("allocator"),
    "filter_gpu_resources": _same("allocator"),
    "framework_sorter": _same("allocator"),
    "help": _same("registry", "allocator", "gateway"),
    "hostname": _same("gateway"),
    "hostname_lookup": _meaningless("no address is looked up: --hostname is taken, or else --ip"),
    "http_framework_authenticators": _not_yet(AUTHENTICATION, "basic"),
    "ip": _same("gateway", note="registry and allocator listen as well, and have --ip, too"),
    "log_auto_initialize": _meaningless(NO_LOG),
    "logging_level": _renamed("in lower case", registry="log_level", allocator="log_level", gateway="log_level"),
    "master_contender": _missed(MODULES),
    "master_detector": _missed(MODULES),
    "max_agent_ping_timeouts": _same("registry"),
    "max_completed_frameworks": _same("registry"),
    "max_completed_tasks_per_framework": _same("registry"),
    "max_executors_per_agent": _meaningless(PORT_MAPPING),
    "max_operator_event_stream_subscribers": _same("gateway", note="of each gateway"),
    "max_unreachable_tasks_per_framework": _same("registry"),
    "min_allocatable_resources": _same("allocator"),
    "offer_constraints_re2_max_mem": _same("registry"),
    "offer_constraints_re2_max_program_size": _same("registry"),
    "offer_timeout": _same("registry", note="10mins where it is not given; 0 for none, as in Mesos"),
    "port": _same("gateway"),
    "publish_per_framework_metrics": _same("registry"),
    "quorum": _meaningless(NO_LOG),
    "rate_limits": _not_yet("limiting the rate of a framework's calls"),
    "recovery_agent_removal_limit": _not_yet("a limit on the agents that are removed after a fail-over", "100%"),
    "registry": _meaningless(NO_LOG),
    "registry_fetch_timeout": _meaningless(NO_LOG),
    "registry_gc_interval": _same("registry"),
    "registry_max_agent_age": _same("registry"),
    "registry_max_agent_count": _same("registry"),
    "registry_store_timeout": _meaningless(NO_LOG),
    "require_agent_domain": _same("registry"),
    "role_sorter": _same("allocator"),
    "roles": _missed("any role can be used: the list of roles was deprecated in Mesos, too"),
    "root_submissions": _not_yet("refusing frameworks of root", "true"),
    "version": _same("registry", "allocator", "gateway"),
    "webui_dir": _meaningless("there is no web UI to serve files of"),
    "weights": _same("registry", note="while the store has none; later they are changed by mezzo weights set"),
    "whitelist": _same("registry"),
    "work_dir": _same("registry", note="a folder of its own: the replicated log of Mesos is not read"),
    "zk": Entry(
        Fate.RENAMED,
        (("registry", "zk"), ("allocator", "zk"), ("gateway", "master")),
        "with a path of its own, beside that of Mesos",
        ANY_VALUE,
    ),
    "zk_session_timeout": _same("registry", "allocator", "gateway"),
}

_AGENT: Final = {
    **_BOTH,
    "acls": _not_yet(AUTHORIZATION),
    "advertise_ip": _same("agent"),
    "advertise_port": _same("agent"),
    "agent_features": _meaningless("an agent's features cannot be switched off"),
    "agent_subsystems": _meaningless("the agent stays in the cgroup in which systemd, or a shell, starts it"),
    "allowed_devices": _not_yet(LINUX),
    "appc_simple_discovery_uri_prefix": _meaningless(APPC),
    "appc_store_dir": _meaningless(APPC),
    "attributes": _same("agent"),
    "authenticate_http_executors": _same("agent"),
    "authenticatee": _not_yet(AUTHENTICATION, "crammd5"),
    "authentication_backoff_factor": _meaningless("an agent does not authenticate yet"),
    "authentication_timeout_max": _meaningless("an agent does not authenticate yet"),
    "authentication_timeout_min": _meaningless("an agent does not authenticate yet"),
    "authorizer": _not_yet(AUTHORIZATION, "local"),
    "bounding_capabilities": _not_yet(LINUX),
    "cgroups_cpu_enable_pids_and_tids_count": _not_yet(LINUX, "false"),
    "cgroups_destroy_timeout": _not_yet(LINUX),
    "cgroups_enable_cfs": _not_yet(LINUX, "false"),
    "cgroups_hierarchy": _not_yet(LINUX),
    "cgroups_limit_swap": _not_yet(LINUX, "false"),
    "cgroups_net_cls_primary_handle": _not_yet(LINUX),
    "cgroups_net_cls_secondary_handles": _not_yet(LINUX),
    "cgroups_root": _not_yet(LINUX),
    "check_agent_port_range_only": _not_yet(NETWORKS, "false"),
    "container_disk_watch_interval": _not_yet("a limit on the disk of a container"),
    "container_logger": _missed(
        "there are no modules: stdout and stderr are rotated, by --max_stdout_size and its like",
        "org_apache_mesos_LogrotateContainerLogger",
    ),
    "container_ports_watch_interval": _not_yet(NETWORKS),
    "containerizers": _missed(f"{DOCKER}: the agent's own runs all containers", "mesos"),
    "credential": _not_yet(AUTHENTICATION),
    "default_container_dns": _not_yet(NETWORKS),
    "default_container_info": _not_yet(LINUX),
    "default_role": _same("agent"),
    "disallow_sharing_agent_pid_namespace": _not_yet(LINUX, "false"),
    "disk_profile_adaptor": _missed(MODULES),
    "disk_watch_interval": _same("agent"),
    "docker": _meaningless(DOCKER),
    "docker_config": _not_yet(IMAGES),
    "docker_kill_orphans": _meaningless(DOCKER),
    "docker_mesos_image": _meaningless(DOCKER),
    "docker_registry": _not_yet(IMAGES),
    "docker_remove_delay": _meaningless(DOCKER),
    "docker_socket": _meaningless(DOCKER),
    "docker_stop_timeout": _meaningless(DOCKER),
    "docker_store_dir": _not_yet(IMAGES),
    "docker_volume_checkpoint_dir": _not_yet("a volume of a Docker volume driver"),
    "domain": _same("agent"),
    "effective_capabilities": _not_yet(LINUX),
    "egress_flow_classifier_parent": _meaningless(PORT_MAPPING),
    "egress_rate_limit_per_container": _missed(PORT_MAPPING, "0"),
    "egress_unique_flow_per_container": _missed(PORT_MAPPING, "false"),
    "enforce_container_disk_quota": _not_yet("a limit on the disk of a container", "false"),
    "enforce_container_ports": _not_yet(NETWORKS, "false"),
    "ephemeral_ports_per_container": _meaningless(PORT_MAPPING),
    "eth0_name": _meaningless(PORT_MAPPING),
    "executor_environment_variables": _same("agent"),
    "executor_registration_timeout": _same("agent"),
    "executor_reregistration_retry_interval": _meaningless(NO_V0),
    "executor_reregistration_timeout": _same("agent"),
    "executor_shutdown_grace_period": _same("agent"),
    "fetcher_cache_dir": _same("agent"),
    "fetcher_cache_size": _same("agent"),
    "fetcher_stall_timeout": _same("agent"),
    "frameworks_home": _same("agent"),
    "gc_delay": _same("agent"),
    "gc_disk_headroom": _same("agent"),
    "hadoop_home": _missed("hdfs:// and what else Hadoop's client fetches is not fetched: a task's own program can"),
    "help": _same("agent"),
    "hostname": _same("agent"),
    "hostname_lookup": _missed("no address is looked up: give --hostname the address, or the name", "true"),
    "http_command_executor": _meaningless("a command has a monitor, not an executor"),
    "http_credentials": _not_yet(AUTHENTICATION),
    "http_heartbeat_interval": _meaningless("it is 30secs"),
    "image_gc_config": _not_yet(IMAGES),
    "image_providers": _not_yet(IMAGES),
    "image_provisioner_backend": _not_yet(IMAGES),
    "ip": _same("agent"),
    "ip6": _meaningless("it is advertised nowhere; --ip takes an IPv6 address"),
    "ip6_discovery_command": _meaningless("an IPv6 address is advertised nowhere"),
    "isolation": Entry(
        Fate.SAME,
        (("agent", ""),),
        "of the isolators posix/cpu, posix/mem and posix/rlimits are there; another ends the start",
        frozenset({"posix", "process", "posix/cpu", "posix/mem", "posix/rlimits"}),
    ),
    "jwt_secret_key": _meaningless("the agent makes a key of its own for the tokens of executors"),
    "launcher": _missed("containers are started by the agent's own launcher, as by posix", "posix"),
    "launcher_dir": _meaningless("there are no binaries beside the agent"),
    "lo_name": _meaningless(PORT_MAPPING),
    "logging_level": _renamed("in lower case", agent="log_level"),
    "master": _same("agent", note="a registry's port for gRPC (5060), not 5050; zk:// and file:// as in Mesos"),
    "master_detector": _missed(MODULES),
    "max_completed_executors_per_framework": _same("agent"),
    "network_cni_config_dir": _not_yet(NETWORKS),
    "network_cni_metrics": _not_yet(NETWORKS, "false"),
    "network_cni_plugins_dir": _not_yet(NETWORKS),
    "network_enable_snmp_statistics": _missed(PORT_MAPPING, "false"),
    "network_enable_socket_statistics_details": _missed(PORT_MAPPING, "false"),
    "network_enable_socket_statistics_summary": _missed(PORT_MAPPING, "false"),
    "nvidia_gpu_devices": _not_yet(LINUX),
    "oversubscribed_resources_interval": _meaningless(OVERSUBSCRIPTION),
    "perf_duration": _meaningless("there is no perf_event isolator"),
    "perf_events": _missed("there is no perf_event isolator"),
    "perf_interval": _meaningless("there is no perf_event isolator"),
    "port": _same("agent"),
    "qos_controller": _missed(OVERSUBSCRIPTION),
    "qos_correction_interval_min": _meaningless(OVERSUBSCRIPTION),
    "reconfiguration_policy": _not_yet("choosing which changes of an agent's flags are accepted", "equal"),
    "recover": _same("agent"),
    "recovery_timeout": _same("agent"),
    "registration_backoff_factor": _same("agent"),
    "resource_estimator": _missed(OVERSUBSCRIPTION),
    "resource_provider_config_dir": _not_yet("a resource provider of an agent"),
    "resources": _same("agent"),
    "revocable_cpu_low_priority": _not_yet(LINUX),
    "runtime_dir": _same("agent"),
    "sandbox_directory": _not_yet(LINUX),
    "secret_resolver": _missed(MODULES),
    "strict": _same("agent"),
    "switch_user": _same("agent"),
    "systemd_enable_support": _meaningless(SYSTEMD),
    "systemd_runtime_directory": _meaningless(SYSTEMD),
    "version": _same("agent"),
    "work_dir": _same("agent", note="a folder of its own: the checkpoints of Mesos are not read"),
    "xfs_project_range": _not_yet("a limit on the disk of a container"),
    "zk_session_timeout": _same("agent"),
}

FORMER_NAMES: Final = {
    "authenticate": "authenticate_frameworks",
    "authenticate_slaves": "authenticate_agents",
    "max_executors_per_slave": "max_executors_per_agent",
    "max_slave_ping_timeouts": "max_agent_ping_timeouts",
    "recovery_slave_removal_limit": "recovery_agent_removal_limit",
    "slave_ping_timeout": "agent_ping_timeout",
    "slave_removal_rate_limit": "agent_removal_rate_limit",
    "slave_reregister_timeout": "agent_reregister_timeout",
    "slave_subsystems": "agent_subsystems",
}
"""Names from when an agent was called a slave, which Mesos takes to this day."""

_LIBPROCESS: Final = {
    "LIBPROCESS_SSL_CERT_FILE": ("ssl_cert_file", ""),
    "LIBPROCESS_SSL_KEY_FILE": ("ssl_key_file", ""),
    "LIBPROCESS_SSL_ENABLED": ("ssl_cert_file", "a certificate turns HTTPS on"),
}


def _table(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """With the flag's own name where a service has it under that."""
    return {
        name: Entry(
            entry.fate,
            tuple((service, flag or name) for service, flag in entry.targets),
            entry.note,
            entry.harmless,
        )
        for name, entry in sorted(entries.items())
    }


TABLES: Final = {Program.MASTER: _table(_MASTER), Program.AGENT: _table(_AGENT)}
"""By the names of the flags, without dashes before them."""


def entry_of(program: Program, name: str) -> Entry:
    """What the flag is here, by any of its names, or by that of a variable of libprocess."""
    if name.startswith("LIBPROCESS_"):
        return _entry_of_libprocess(program, name)
    known = TABLES[program].get(FORMER_NAMES.get(name, name))
    if known is not None:
        return known
    return Entry(Fate.UNKNOWN, note=f"Mesos' {program} does not document it")


def _entry_of_libprocess(program: Program, name: str) -> Entry:
    if name not in _LIBPROCESS:
        return _missed("there is no libprocess; if it limits who may connect, a firewall has to")
    if program is Program.AGENT:
        return _missed("an agent has no HTTPS: put a proxy in front of it", "false", "0")
    flag, note = _LIBPROCESS[name]
    return Entry(Fate.RENAMED, (("gateway", flag),), note, ANY_VALUE)
