"""What operators see: telemetry."""
