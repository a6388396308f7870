"""Spans and measures by OpenTelemetry. Imported only if a setting asks for them."""
