{{/* Names and labels. Most templates here take a scope: dict "root" $ "component" "registry". */}}

{{- define "mezzo.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* What all names begin with. Short enough that "-zookeeper-headless" and a pod's ordinal still fit in 63 characters. */}}
{{- define "mezzo.fullname" -}}
{{- $name := include "mezzo.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "mezzo.component" -}}
{{- printf "%s-%s" (include "mezzo.fullname" .root) .component }}
{{- end }}

{{- define "mezzo.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "mezzo.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* What selects the pods of a component. It may never change: selectors are immutable. */}}
{{- define "mezzo.selector" -}}
app.kubernetes.io/name: {{ include "mezzo.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* `more` of the scope goes before commonLabels: a key stands there once. */}}
{{- define "mezzo.labels" -}}
{{- with merge (dict) (default (dict) .more) .root.Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{ include "mezzo.selector" . }}
app.kubernetes.io/part-of: mezzo
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The image of a component: its own settings before those of all. A digest wins over a tag. */}}
{{- define "mezzo.image" -}}
{{- $all := .root.Values.image }}
{{- $own := (index .root.Values .component).image }}
{{- $registry := default $all.registry $own.registry }}
{{- $name := ternary (printf "%s/%s" $registry $own.repository) $own.repository (not (empty $registry)) }}
{{- if $own.digest }}
{{- printf "%s@%s" $name $own.digest }}
{{- else }}
{{- printf "%s:%s" $name (coalesce $own.tag $all.tag .root.Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "mezzo.imagePullPolicy" -}}
{{- default .root.Values.image.pullPolicy (index .root.Values .component).image.pullPolicy }}
{{- end }}
