"""Quotes for a newspaper: a Celery application without Django, database models or settings of its own broker."""
