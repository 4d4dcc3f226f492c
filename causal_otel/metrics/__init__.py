"""Metrics of operations, under the conventions' names: what each patch measures, and where it goes.

``conventions`` has the instruments, ``cells`` what has been measured, ``observer`` what notes it at the end of each
operation. ``reader`` exports it through OpenTelemetry's SDK, ``feed`` hands it to a ``MeterProvider`` of the user's
own. Where metrics are off, only ``conventions`` of these is imported, by the patches.
"""
