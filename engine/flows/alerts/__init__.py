"""Alerts: decided each minute from the figures that are there, written with what must be sent."""
