{{- define "budget-engine.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "budget-engine.secret" -}}
{{- .Values.secrets.existing | default (include "budget-engine.name" .) }}
{{- end }}

{{- define "budget-engine.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* Labels of one part: dict "root" . "part" "web" */ -}}
{{- define "budget-engine.selector" -}}
app.kubernetes.io/name: budget-engine
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "budget-engine.labels" -}}
{{ include "budget-engine.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- /* Above the containers of a pod: dict "root" . "secrets" (list "REDIS_URL") */ -}}
{{- define "budget-engine.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 64Mi}
  - name: secrets
    secret:
      secretName: {{ include "budget-engine.secret" .root }}
      defaultMode: 0440
      items:
        {{- range .secrets }}
        - {key: {{ . }}, path: {{ . }}}
        {{- end }}
  {{- with .root.Values.caConfigMap }}
  - name: ca
    configMap: {name: {{ . }}}
  {{- end }}
{{- end }}

{{- /* Inside a container: dict "root" . "secrets" (list "REDIS_URL") "env" (dict "NAME" "value") */ -}}
{{- define "budget-engine.container" -}}
image: {{ include "budget-engine.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
  {{- range .secrets }}
  - {name: {{ . }}_FILE, value: /run/secrets/budget-engine/{{ . }}}
  {{- end }}
  {{- range $name, $value := .env }}
  {{- if ne (toString $value) "" }}
  - {name: {{ $name }}, value: {{ $value | toString | quote }}}
  {{- end }}
  {{- end }}
  {{- range $name, $value := .root.Values.settings }}
  {{- if ne (toString $value) "" }}
  - {name: {{ $name }}, value: {{ $value | toString | quote }}}
  {{- end }}
  {{- end }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: secrets, mountPath: /run/secrets/budget-engine, readOnly: true}
  {{- if .root.Values.caConfigMap }}
  - {name: ca, mountPath: /etc/budget-engine/ca, readOnly: true}
  {{- end }}
{{- end }}

{{- define "budget-engine.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with .affinity }}
affinity: {{ toJson . }}
{{- end }}
{{- end }}
