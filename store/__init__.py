"""Shared vocabulary and shared memory: tables, the log, the registry, durable cycles. Imports nothing of ours, no torch."""
