{{/*
What services are told. Flags stand in a file of each service (a ConfigMap); what is known only when the pod runs, and what
is secret, comes by the environment, which wins over the file.
*/}}

{{/* Whether services find each other through ZooKeeper, the chart's own or a given one. */}}
{{- define "mezzo.elected" -}}
{{- if or .Values.zookeeper.enabled .Values.zookeeper.hosts }}true{{ end }}
{{- end }}

{{- define "mezzo.zookeeper.hosts" -}}
{{- if .Values.zookeeper.enabled }}
{{- $name := include "mezzo.component" (dict "root" . "component" "zookeeper") }}
{{- $hosts := list }}
{{- range $ordinal := until (int .Values.zookeeper.replicas) }}
{{- $hosts = append $hosts (printf "%s-%d.%s-headless:%d" $name $ordinal $name (int $.Values.zookeeper.ports.client)) }}
{{- end }}
{{- join "," $hosts }}
{{- else }}
{{- join "," .Values.zookeeper.hosts }}
{{- end }}
{{- end }}

{{/* zk://…, with names of variables for user and password: Kubernetes puts them in when the container starts. */}}
{{- define "mezzo.zookeeper.url" -}}
{{- $who := ternary "$(MEZZO_ZOOKEEPER_USER):$(MEZZO_ZOOKEEPER_PASSWORD)@" "" (not (empty .Values.zookeeper.auth.existingSecret)) }}
{{- printf "zk://%s%s%s" $who (include "mezzo.zookeeper.hosts" .) .Values.zookeeper.path }}
{{- end }}

{{/* The flag by which a component is told where the registry is, or where registries stand for election. */}}
{{- define "mezzo.zookeeper.flag" -}}
{{- ternary "master" "zk" (has .component (list "gateway" "agent")) }}
{{- end }}

{{/* Flags that the chart sets, and what a person does instead. */}}
{{- define "mezzo.flags.reserved" -}}
{{- $agent := eq .component "agent" -}}
config: use {{ .component }}.flags
ip: use {{ .component }}.ports
port: use {{ .component }}.ports.http
grpc_port: use {{ .component }}.ports.grpc
metrics_port: use {{ .component }}.ports.metrics
zk: use zookeeper
master: use zookeeper
zk_session_timeout: use zookeeper.sessionTimeout
allocator: use allocator.ports
hostname: {{ ternary "use agent.hostname" "it is the address of the pod" $agent | quote }}
advertise_ip: {{ ternary "use gateway.advertise.ip" "it is the address of the pod" (has .component (list "registry" "gateway")) | quote }}
advertise_port: use {{ ternary "gateway.advertise.port" "agent.ports.http" (not $agent) }}
work_dir: use {{ ternary "agent.workDir" "registry.persistence" $agent }}
resources: use agent.offers
log_level: use logs.level
log_format: use logs.format
{{- end }}

{{/* The file of flags, as JSON. */}}
{{- define "mezzo.flags" -}}
{{- $values := .root.Values }}
{{- $own := index $values .component }}
{{- $reserved := include "mezzo.flags.reserved" . | fromYaml }}
{{- range $name, $_ := $own.flags }}
{{- with index $reserved (replace "-" "_" $name) }}
{{- fail (printf "%s.flags.%s is set by the chart: %s" $.component $name .) }}
{{- end }}
{{- end }}
{{- $flags := dict "grpc_port" (int $own.ports.grpc) "metrics_port" (int $own.ports.metrics) }}
{{- $_ := set $flags "log_level" $values.logs.level }}
{{- $_ := set $flags "log_format" $values.logs.format }}
{{- if has .component (list "gateway" "agent") }}
{{- $_ := set $flags "port" (int $own.ports.http) }}
{{- end }}
{{- if has .component (list "registry" "gateway") }}
{{- $_ := set $flags "advertise_port" (int (default $values.gateway.service.port $values.gateway.advertise.port)) }}
{{- end }}
{{- if include "mezzo.elected" .root }}
{{- $_ := set $flags "zk_session_timeout" $values.zookeeper.sessionTimeout }}
{{- if not $values.zookeeper.auth.existingSecret }}
{{- $_ := set $flags (include "mezzo.zookeeper.flag" .) (include "mezzo.zookeeper.url" .root) }}
{{- end }}
{{- else if eq .component "registry" }}
{{- $allocator := include "mezzo.component" (dict "root" .root "component" "allocator") }}
{{- $_ := set $flags "allocator" (printf "%s:%d" $allocator (int $values.allocator.ports.grpc)) }}
{{- else if has .component (list "gateway" "agent") }}
{{- $registry := include "mezzo.component" (dict "root" .root "component" "registry") }}
{{- $_ := set $flags "master" (printf "%s:%d" $registry (int $values.registry.ports.grpc)) }}
{{- end }}
{{- if eq .component "registry" }}
{{- $_ := set $flags "work_dir" "/var/lib/mezzo/registry" }}
{{- else if eq .component "agent" }}
{{- $_ := set $flags "work_dir" $own.workDir }}
{{- $_ := set $flags "resources" $own.offers }}
{{- end }}
{{- $merged := mergeOverwrite $flags (deepCopy $own.flags) }}
{{- if eq .component "gateway" }}
{{- $_ := set $merged "allowed_hosts" (include "mezzo.allowedHosts" .root) }}
{{- end }}
{{- $merged | toPrettyJson }}
{{- end }}

{{/* Names by which clients reach the gateways: those of their Service and of the Ingress, and those in gateway.flags. */}}
{{- define "mezzo.allowedHosts" -}}
{{- $service := include "mezzo.component" (dict "root" . "component" "gateway") }}
{{- $names := list (printf "%s.%s" $service .Release.Namespace) (printf "%s.%s.svc" $service .Release.Namespace) }}
{{- if .Values.ingress.enabled }}
{{- range .Values.ingress.hosts }}
{{- with .host }}
{{- $names = append $names . }}
{{- end }}
{{- end }}
{{- end }}
{{- with index .Values.gateway.flags "allowed_hosts" }}
{{- $names = append $names . }}
{{- end }}
{{- join "," (uniq $names) }}
{{- end }}

{{/* A ConfigMap with them. */}}
{{- define "mezzo.flags.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "mezzo.component" . }}-flags
  labels:
    {{- include "mezzo.labels" . | nindent 4 }}
data:
  flags.json: |
    {{- include "mezzo.flags" . | nindent 4 }}
  {{- if and (eq .component "agent") (eq .root.Values.agent.onStop "leave") }}
  leave.py: |
    {{- .root.Files.Get "files/leave.py" | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Where gateways are reached from outside, as clients that look into ZooKeeper are told. */}}
{{- define "mezzo.advertisedIp" -}}
{{- if .Values.gateway.advertise.ip }}
{{- .Values.gateway.advertise.ip }}
{{- else }}
{{- /* The cluster IP of the gateways' Service, by the variable that Kubernetes sets for every Service. */}}
{{- $name := include "mezzo.component" (dict "root" . "component" "gateway") }}
{{- printf "$(%s_SERVICE_HOST)" ($name | upper | replace "-" "_") }}
{{- end }}
{{- end }}

{{/* All of it is called MEZZO_…: that is what an agent keeps from its tasks. */}}
{{- define "mezzo.environment" -}}
{{- $prefix := printf "MEZZO_%s" (upper .component) -}}
- name: {{ $prefix }}_CONFIG
  value: /etc/mezzo/flags.json
- name: MEZZO_POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- if eq .component "agent" }}
- name: MEZZO_NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: {{ $prefix }}_HOSTNAME
  value: {{ ternary "$(MEZZO_NODE_NAME)" "$(MEZZO_POD_IP)" (eq .root.Values.agent.hostname "nodeName") | quote }}
- name: {{ $prefix }}_ADVERTISE_IP
  value: $(MEZZO_POD_IP)
{{- else }}
- name: {{ $prefix }}_HOSTNAME
  value: $(MEZZO_POD_IP)
{{- end }}
{{- if has .component (list "registry" "gateway") }}
- name: {{ $prefix }}_ADVERTISE_IP
  value: {{ include "mezzo.advertisedIp" .root }}
{{- /* These pods have the variables of Services, and one that is called mezzo-gateway makes MEZZO_GATEWAY_PORT. */}}
{{- range $name, $number := (index .root.Values .component).ports }}
- name: {{ $prefix }}_{{ ternary "PORT" (printf "%s_PORT" (upper $name)) (eq $name "http") }}
  value: {{ $number | quote }}
{{- end }}
{{- end }}
{{- with .root.Values.zookeeper }}
{{- if and .auth.existingSecret (include "mezzo.elected" $.root) }}
- name: MEZZO_ZOOKEEPER_USER
  valueFrom:
    secretKeyRef:
      name: {{ .auth.existingSecret }}
      key: {{ .auth.userKey }}
- name: MEZZO_ZOOKEEPER_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .auth.existingSecret }}
      key: {{ .auth.passwordKey }}
- name: {{ $prefix }}_{{ include "mezzo.zookeeper.flag" $ | upper }}
  value: {{ include "mezzo.zookeeper.url" $.root }}
{{- end }}
{{- end }}
{{- with (index .root.Values .component).extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
