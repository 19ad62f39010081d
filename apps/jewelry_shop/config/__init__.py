"""The project. Importing it binds shared tasks to the Celery app; the settings are read on first use."""

from .celery import app

__all__ = ["app"]
