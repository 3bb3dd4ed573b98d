{{- define "music-genre.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels that never change, by which pods are selected: (list $ component). */}}
{{- define "music-genre.selector" -}}
app.kubernetes.io/name: {{ (index . 0).Chart.Name }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* All labels of an object: (list $ component). */}}
{{- define "music-genre.labels" -}}
{{ include "music-genre.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* name:tag of an image: (list $ image). */}}
{{- define "music-genre.image" -}}
{{ (index . 1).repository }}:{{ (index . 1).tag | default (index . 0).Chart.AppVersion }}
{{- end -}}

{{/* "true" where the cluster chooses the user id of a pod. */}}
{{- define "music-genre.openshift" -}}
{{- if kindIs "bool" .Values.openshift -}}
{{- .Values.openshift -}}
{{- else -}}
{{- .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- end -}}
{{- end -}}

{{/* The images belong to 10001:0. OpenShift refuses a pod that asks for ids outside of its namespace's range, and gives
     it an id of its own with group 0, which may write what the images write. */}}
{{- define "music-genre.podSecurity" -}}
runAsNonRoot: true
{{- if ne (include "music-genre.openshift" .) "true" }}
runAsUser: 10001
runAsGroup: 0
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "music-genre.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What both pods need of the cluster: (list $ values), the values being those with nodeSelector and so on. */}}
{{- define "music-genre.placement" -}}
{{- with (index . 0).Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with (index . 1).runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with (index . 1).nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (index . 1).tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (index . 1).affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The variables of both programs. */}}
{{- define "music-genre.commonEnv" -}}
{{- with .Values.secrets.huggingFace }}
{{- if .name }}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef: {name: {{ .name }}, key: {{ .key }}}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The value of a variable: JSON, as Go would write a million as 1e+06. */}}
{{- define "music-genre.envValue" -}}
{{- if kindIs "string" . }}{{ . | quote }}{{ else }}{{ . | toJson | quote }}{{ end -}}
{{- end -}}

{{- define "music-genre.cacheClaim" -}}
{{- if .Values.cache.existingClaim -}}
{{- .Values.cache.existingClaim -}}
{{- else if .Values.cache.persistent -}}
{{- include "music-genre.fullname" . }}-cache
{{- end -}}
{{- end -}}

{{- define "music-genre.cacheVolume" -}}
- name: cache
{{- with include "music-genre.cacheClaim" . }}
  persistentVolumeClaim: {claimName: {{ . }}}
{{- else }}
  emptyDir: {sizeLimit: {{ .Values.cache.size }}}
{{- end }}
{{- end -}}

{{- define "music-genre.runsClaim" -}}
{{- .Values.runs.existingClaim | default (printf "%s-runs" (include "music-genre.fullname" .)) -}}
{{- end -}}

{{/* "true" when the service reads its model from what training left. */}}
{{- define "music-genre.servesRuns" -}}
{{- and .Values.serve (hasPrefix "/runs/" (.Values.settings.MODEL_ID | default "")) -}}
{{- end -}}

{{/* "true" when one pod alone may use a claim of the service: its cache, or the output of training. */}}
{{- define "music-genre.isAlone" -}}
{{- $cache := and (include "music-genre.cacheClaim" . | empty | not) (eq .Values.cache.accessMode "ReadWriteOnce") -}}
{{- $runs := and (eq (include "music-genre.servesRuns" .) "true") (eq .Values.runs.accessMode "ReadWriteOnce") -}}
{{- or $cache $runs -}}
{{- end -}}

{{/* A claim: (list $ suffix values). */}}
{{- define "music-genre.claim" -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ include "music-genre.fullname" (index . 0) }}-{{ index . 1 }}
  labels:
    {{- include "music-genre.labels" (list (index . 0) (index . 1)) | nindent 4 }}
spec:
  accessModes: [{{ (index . 2).accessMode }}]
  {{- with (index . 2).storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ (index . 2).size }}
{{- end -}}
