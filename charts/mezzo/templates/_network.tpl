{{/* Rules of NetworkPolicies. A list `from` or `to` that is empty would be everybody: a rule without peers is left out. */}}

{{/* The pods of components as peers: dict "root" $ "components" (list …). Agents in their nodes' network are addresses. */}}
{{- define "mezzo.peers" -}}
{{- range .components }}
{{- if and (eq . "agent") $.root.Values.agent.hostNetwork }}
{{- range $.root.Values.networkPolicy.nodeCIDRs }}
- ipBlock:
    cidr: {{ . }}
{{- end }}
{{- else }}
- podSelector:
    matchLabels:
      {{- include "mezzo.selector" (dict "root" $.root "component" .) | nindent 6 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "mezzo.policy.head" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "mezzo.component" . }}
  labels:
    {{- include "mezzo.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "mezzo.selector" . | nindent 6 }}
{{- end }}

{{- define "mezzo.policy.types" -}}
policyTypes: {{ ternary "[Ingress, Egress]" "[Ingress]" .Values.networkPolicy.egress }}
{{- end }}

{{/* Prometheus, for each service. */}}
{{- define "mezzo.policy.metrics" -}}
{{- with .root.Values.networkPolicy.metricsFrom }}
- from:
    {{- toYaml . | nindent 4 }}
  ports:
    - port: metrics
{{- end }}
{{- end }}

{{/* Ways out that all have: names, and ZooKeeper where there is one. */}}
{{- define "mezzo.policy.out" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- if .Values.zookeeper.enabled }}
- to:
    {{- include "mezzo.peers" (dict "root" . "components" (list "zookeeper")) | trim | nindent 4 }}
  ports:
    - port: client
{{- else if .Values.zookeeper.hosts }}
- ports:
    {{- $ports := list }}
    {{- range .Values.zookeeper.hosts }}
    {{- $ports = append $ports (splitList ":" . | last) }}
    {{- end }}
    {{- range uniq $ports }}
    - port: {{ . }}
    {{- end }}
{{- end }}
{{- end }}
