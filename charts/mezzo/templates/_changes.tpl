{{/* What may not change in a release that exists. It is looked up, since Kubernetes would refuse it halfway, or not at all. */}}

{{- define "mezzo.bytes" -}}
{{- $unit := regexFind "[A-Za-z]+$" . }}
{{- $factors := dict "" 1.0 "m" 0.001 "k" 1e3 "K" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0 }}
{{- mulf (float64 (trimSuffix $unit .)) (get $factors $unit) }}
{{- end }}

{{/* Refuses other names than those of the release. With other names, Helm makes a second, empty cluster and removes the first. */}}
{{- define "mezzo.changes.names" -}}
{{- $scope := dict "root" . "component" "gateway" }}
{{- $name := include "mezzo.component" $scope }}
{{- $selector := fromYaml (include "mezzo.selector" $scope) }}
{{- range (lookup "apps/v1" "Deployment" .Release.Namespace "").items }}
{{- $labels := default (dict) .metadata.labels }}
{{- $ours := and (eq (toString (get $labels "app.kubernetes.io/instance")) $.Release.Name) (eq (toString (get $labels "app.kubernetes.io/part-of")) "mezzo") (eq (toString (get $labels "app.kubernetes.io/component")) "gateway") }}
{{- if $ours }}
{{- if ne .metadata.name $name }}
{{- fail (printf "the names of this release begin with %q, and would begin with %q: another nameOverride or fullnameOverride makes a second, empty cluster, and ends this one with all its tasks. Give the names that it was installed with, or install another release" (trimSuffix "-gateway" .metadata.name) (include "mezzo.fullname" $)) }}
{{- end }}
{{- $installed := toString (get $labels "app.kubernetes.io/name") }}
{{- if ne $installed (get $selector "app.kubernetes.io/name") }}
{{- fail (printf "nameOverride would make the label app.kubernetes.io/name %q, and this release has %q: the pods of a release are selected by it, and selectors cannot be changed. Give the nameOverride that it was installed with" (get $selector "app.kubernetes.io/name") $installed) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Refuses other volumes than a StatefulSet has. Of: root, component, persistence (its values), volumes (whether it has any). */}}
{{- define "mezzo.changes.volumes" -}}
{{- $name := include "mezzo.component" . }}
{{- with lookup "apps/v1" "StatefulSet" .root.Release.Namespace $name }}
{{- $claims := default (list) .spec.volumeClaimTemplates }}
{{- if ne (empty $claims) (not $.volumes) }}
{{- $has := ternary "has no volume" "has a volume" (empty $claims) }}
{{- fail (printf "%s %s, and with these values it would be otherwise: Kubernetes cannot change that, and what is stored stays where it was. %s" $name $has (ternary "registry.persistence.enabled and zookeeper stay as they were installed" (printf "%s.persistence.enabled stays as it was installed" $.component) (eq $.component "registry"))) }}
{{- end }}
{{- range $claims }}
{{- $size := toString .spec.resources.requests.storage }}
{{- if ne (include "mezzo.bytes" $size) (include "mezzo.bytes" (toString $.persistence.size)) }}
{{- fail (printf "%s.persistence.size is %s and the volumes of %s have %s: Kubernetes cannot change that of a StatefulSet. Larger volumes are made by editing the claims; this value stays as it was installed" $.component (toString $.persistence.size) $name $size) }}
{{- end }}
{{- $wanted := fromYaml (include "mezzo.claim" $.persistence) }}
{{- if ne (toJson .spec.accessModes) (toJson $wanted.accessModes) }}
{{- fail (printf "%s.persistence.accessModes are %s and the volumes of %s have %s: Kubernetes cannot change that of a StatefulSet. They stay as they were installed" $.component (join ", " $wanted.accessModes) $name (join ", " .spec.accessModes)) }}
{{- end }}
{{- if ne (toString (get .spec "storageClassName")) (toString (get $wanted "storageClassName")) }}
{{- fail (printf "%s.persistence.storageClass is %q and the volumes of %s have %q: Kubernetes cannot change that of a StatefulSet. It stays as it was installed" $.component (toString $.persistence.storageClass) $name (toString (get .spec "storageClassName"))) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
