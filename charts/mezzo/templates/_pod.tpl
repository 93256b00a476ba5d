{{/* What the pods of all components share. The scope is dict "root" $ "component" "registry". */}}

{{- define "mezzo.pod.metadata" -}}
{{- $own := index .root.Values .component -}}
annotations:
  {{- /* Another configuration, other pods. */}}
  checksum/config: {{ include (ternary "mezzo.zookeeper.config" "mezzo.flags" (eq .component "zookeeper")) . | sha256sum }}
  {{- with $own.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
labels:
  {{- with merge (dict) $own.podLabels .root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- include "mezzo.selector" . | nindent 2 }}
  app.kubernetes.io/part-of: mezzo
{{- end }}

{{/* Everything of a pod's spec but its containers and volumes. */}}
{{- define "mezzo.pod.settings" -}}
{{- $own := index .root.Values .component -}}
serviceAccountName: {{ include "mezzo.serviceAccount" .root }}
automountServiceAccountToken: false
{{- /* The variables of Services could be taken for flags. They are there only where the gateways' cluster IP is needed. */}}
enableServiceLinks: {{ and (has .component (list "registry" "gateway")) (not .root.Values.gateway.advertise.ip) }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
terminationGracePeriodSeconds: {{ $own.terminationGracePeriodSeconds }}
{{- with $own.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.topologySpread }}
topologySpreadConstraints:
  {{- range $key, $otherwise := . }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    whenUnsatisfiable: {{ $otherwise }}
    labelSelector:
      matchLabels:
        {{- include "mezzo.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Everything of a service's container but its volume mounts. */}}
{{- define "mezzo.container" -}}
{{- $own := index .root.Values .component -}}
name: {{ .component }}
image: {{ include "mezzo.image" . }}
imagePullPolicy: {{ include "mezzo.imagePullPolicy" . }}
env:
  {{- include "mezzo.environment" . | nindent 2 }}
{{- with $own.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  {{- range $name, $number := $own.ports }}
  - name: {{ $name }}
    containerPort: {{ $number }}
    protocol: TCP
  {{- end }}
{{- include "mezzo.probes" . }}
resources:
  {{- toYaml $own.resources | nindent 2 }}
securityContext:
  {{- if and (eq .component "agent") $own.privileged }}
  {{- /* It has all capabilities then, and may not be refused more. */}}
  {{- toYaml (merge (dict "privileged" true) (omit $own.securityContext "allowPrivilegeEscalation" "capabilities")) | nindent 2 }}
  {{- else }}
  {{- toYaml $own.securityContext | nindent 2 }}
  {{- end }}
{{- end }}

{{/*
Ready is what gRPC health says: SERVING, for a registry or allocator that stands by as well. Alive is whoever answers HTTP:
a service that cannot reach ZooKeeper or a leader says NOT_SERVING, and a restart would not help it. An agent has started
when it has recovered, and serves executors; as a whole it waits for a registry, as a gateway does.
*/}}
{{- define "mezzo.probes" -}}
{{- $own := index .root.Values .component }}
{{- $health := dict "grpc" (dict "port" (int $own.ports.grpc)) }}
{{- $recovered := dict "grpc" (dict "port" (int $own.ports.grpc) "service" "mezzo.executor.v1.Executor") }}
{{- $answers := dict "httpGet" (dict "path" "/metrics" "port" "metrics") }}
{{- if has .component (list "gateway" "agent") }}
{{- $answers = dict "httpGet" (dict "path" "/health" "port" "http") }}
{{- end }}
{{- if hasKey $own.flags "ssl_cert_file" }}
{{- $_ := set $answers.httpGet "scheme" "HTTPS" }}
{{- end }}
{{- $actions := dict "startupProbe" (ternary $recovered $answers (eq .component "agent")) "readinessProbe" $health "livenessProbe" $answers }}
{{- range $probe, $action := $actions }}
{{- $settings := index $own $probe }}
{{- if $settings.enabled }}
{{ $probe }}:
  {{- toYaml (merge (dict) $action (omit $settings "enabled")) | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* Mounts and volumes that every service has: flags, a place for temporary files, and what is given. */}}
{{- define "mezzo.volumeMounts" -}}
{{- $own := index .root.Values .component -}}
- name: flags
  mountPath: /etc/mezzo
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- range $number, $mount := $own.secretMounts }}
- name: secret-{{ $number }}
  mountPath: {{ $mount.mountPath }}
  readOnly: true
{{- end }}
{{- with $own.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "mezzo.volumes" -}}
{{- $own := index .root.Values .component -}}
- name: flags
  configMap:
    name: {{ include "mezzo.component" . }}-flags
- name: tmp
  emptyDir: {}
{{- range $number, $mount := $own.secretMounts }}
- name: secret-{{ $number }}
  secret:
    secretName: {{ $mount.secretName }}
    {{- with $mount.items }}
    items:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- /* Not for everybody in the container: a task of an agent is another user. */}}
    defaultMode: 0440
{{- end }}
{{- with $own.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A budget for whatever has more than one pod. */}}
{{- define "mezzo.podDisruptionBudget" -}}
{{- $own := index .root.Values .component -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "mezzo.component" . }}
  labels:
    {{- include "mezzo.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ $own.podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "mezzo.selector" . | nindent 6 }}
{{- end }}

{{/* The spec of a PersistentVolumeClaim; the scope is a `persistence` of the values. */}}
{{- define "mezzo.claim" -}}
accessModes: {{ toJson .accessModes }}
{{- with .storageClass }}
storageClassName: {{ ternary "\"\"" . (eq . "-") }}
{{- end }}
resources:
  requests:
    storage: {{ .size }}
{{- end }}
