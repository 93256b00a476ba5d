{{/* zoo.cfg. The members know each other by the names of their pods. */}}
{{- define "mezzo.zookeeper.config" -}}
{{- $zookeeper := .root.Values.zookeeper -}}
{{- $name := include "mezzo.component" (dict "root" .root "component" "zookeeper") -}}
{{- $domain := printf "%s-headless.%s.svc.%s" $name .root.Release.Namespace .root.Values.clusterDomain -}}
dataDir=/data
clientPort={{ $zookeeper.ports.client }}
tickTime=2000
initLimit=30
syncLimit=5
admin.enableServer=false
4lw.commands.whitelist=ruok,srvr,mntr
autopurge.snapRetainCount={{ $zookeeper.snapshots.retain }}
autopurge.purgeInterval={{ $zookeeper.snapshots.purgeHours }}
{{- if gt (int $zookeeper.replicas) 1 }}
quorumListenOnAllIPs=true
{{- range $ordinal := until (int $zookeeper.replicas) }}
server.{{ add1 $ordinal }}={{ $name }}-{{ $ordinal }}.{{ $domain }}:{{ $zookeeper.ports.peer }}:{{ $zookeeper.ports.election }}
{{- end }}
{{- end }}
{{- range $name, $value := $zookeeper.extraConfig }}
{{- /* As JSON a number has no exponent. */}}
{{ $name }}={{ kindIs "string" $value | ternary $value (toJson $value) }}
{{- end }}
{{- end }}

{{/* Not one of ours: neither the registry nor the tag of ours goes for it. */}}
{{- define "mezzo.zookeeper.image" -}}
{{- with .Values.zookeeper.image }}
{{- $name := ternary (printf "%s/%s" .registry .repository) .repository (not (empty .registry)) }}
{{- ternary (printf "%s@%s" $name .digest) (printf "%s:%s" $name .tag) (not (empty .digest)) }}
{{- end }}
{{- end }}
