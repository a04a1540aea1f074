{{- define "hourglass.name" -}}
{{- if contains "hourglass" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-hourglass" .Release.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}
{{- define "hourglass.selector" -}}
app.kubernetes.io/name: hourglass
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "hourglass.labels" -}}
{{ include "hourglass.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
{{- define "hourglass.keysSecret" -}}
{{- if .Values.apiKeys.existingSecret }}{{ .Values.apiKeys.existingSecret }}{{ else if .Values.apiKeys.lines }}{{ include "hourglass.name" . }}-keys{{ end }}
{{- end }}
{{- define "hourglass.cacheMib" -}}
{{- $size := .Values.models.cacheSize }}
{{- if hasSuffix "Gi" $size }}{{ mul (trimSuffix "Gi" $size | int) 1024 }}{{ else if hasSuffix "Mi" $size }}{{ trimSuffix "Mi" $size | int }}{{ else }}{{ fail "models.cacheSize must be a whole number of Mi or Gi, such as 4Gi" }}{{ end }}
{{- end }}
