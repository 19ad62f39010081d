"""The project's settings with a LOGGING that silences Celery's loggers, and everybody's that was there before."""

from config.settings import *  # noqa: F403

LOGGING_CONFIG = "logging.config.dictConfig"
LOGGING = {"version": 1}
