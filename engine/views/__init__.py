"""The read side: `overview` the figures, `health` and `alarms` what is wrong, `metrics` for Prometheus, `doctor` what
to do. It changes nothing.
"""
