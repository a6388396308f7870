"""Spans and metrics by OpenTelemetry. Imported only if a setting enables telemetry."""
