"""Shared vocabulary and shared memory: tables, the log, the registry, durable cycles. It imports no torch."""
