"""The files that the parts of a Kubernetes read. Its network is 10.244.0.0/24, and its Services are in 10.96.0.0/16."""

from __future__ import annotations

import json
from pathlib import Path

GATEWAY = "10.244.0.1"
"""The bridge's address: where the API server, DNS and both nodes are."""
PODS = "10.244.0.0/24"
SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"
PAUSE_IMAGE = "registry.example/pause:3"


def network(folder: Path) -> str:
    """For CNI: a bridge, and the ports that pods ask of their node."""
    return json.dumps(
        {
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isGateway": True,
                    "hairpinMode": True,
                    "ipMasq": False,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": str(folder / "addresses"),
                        "ranges": [[{"subnet": PODS, "gateway": GATEWAY}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }
    )


def containerd(folder: Path, plugins: Path, networks: Path) -> str:
    """For the containerd of one node, below `folder`. A root without CAP_SYS_RESOURCE cannot lower oom_score_adj."""
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{folder}/images"
state = "{folder}/state"
[grpc]
address = "{folder}/containerd.sock"
[{cri}]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true
[{cri}.cni]
bin_dir = "{plugins}"
conf_dir = "{networks}"
[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def kubelet(folder: Path, ca: Path, cgroup: str, number: int) -> str:
    """For the kubelet of the node of that number, below `folder`."""
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(ca)},
            },
            "authorization": {"mode": "Webhook"},
            "port": 10250 + 10 * number,
            "healthzPort": 10248 + 10 * number,
            "readOnlyPort": 0,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": cgroup,
            "failCgroupV1": False,
            "failSwapOn": False,
            "clusterDNS": [GATEWAY],
            "clusterDomain": "cluster.local",
            "resolvConf": str(folder / "resolv.conf"),
            "containerRuntimeEndpoint": f"unix://{folder}/containerd.sock",
            "podLogsDir": str(folder / "logs"),
            "evictionHard": {"memory.available": "1%", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            # Pods are told of their node's state sooner than a person would need.
            "nodeStatusUpdateFrequency": "2s",
        }
    )


def proxy(kubeconfig: Path) -> str:
    """For kube-proxy. It leaves the machine's settings of connection tracking alone."""
    return json.dumps(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "hostnameOverride": "node-1",
            "clusterCIDR": PODS,
            "iptables": {"masqueradeAll": True},
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        }
    )


def names(kubeconfig: Path) -> str:
    """For CoreDNS."""
    return f""".:53 {{
    bind {GATEWAY}
    errors
    ready 127.0.0.1:8181
    cache 5
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
    }}
}}
"""


def volume(name: str, folder: Path, node: str) -> str:
    """A PersistentVolume of a node, for the first claim that asks for no class."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "8Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "local": {"path": str(folder)},
                "nodeAffinity": {
                    "required": {
                        "nodeSelectorTerms": [
                            {
                                "matchExpressions": [
                                    {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
                                ]
                            }
                        ]
                    }
                },
            },
        }
    )
