"""Why something is not traced, or not as it could be: facts are gathered once, checks look at them, findings say it.

:func:`~causal_otel.doctor.examination.examine` runs the checks; ``causal-otel doctor`` is the command.
"""
