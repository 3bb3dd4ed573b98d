"""What Prometheus is told: counters and gauges of the application, and of the newest answers."""

from service.metrics.registry import Metrics

__all__ = ["Metrics"]
