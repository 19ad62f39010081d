"""Settings, all from the environment; README.md lists the variables."""

import logging.config
import os
from pathlib import Path

from kombu import Queue

from config.env import Environment, tls_of
from config.priorities import DEFAULT, STEPS, redis_priority
from config.sentry import start_sentry

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment(os.environ)

SECRET_KEY = env.secret_key("DJANGO_SECRET_KEY")
FIELD_ENCRYPTION_KEY = env.fernet_key("FIELD_ENCRYPTION_KEY")
SENTRY_DSN = env.text("SENTRY_DSN", "")
DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django_celery_beat",
    "apps.core",
    "apps.backups",
    "apps.pricing",
    "apps.reporting",
    "apps.notifications",
    "apps.accounting",
]

# Files. With several pods each has its own store unless the directory is a shared volume.
DATA_DIR = Path(env.text("DATA_DIR", str(BASE_DIR / "data")))
BACKUP_DIR = Path(env.text("BACKUP_DIR", str(DATA_DIR / "backups")))
REPORT_DIR = Path(env.text("REPORT_DIR", str(DATA_DIR / "reports")))
OUTBOX_DIR = Path(env.text("OUTBOX_DIR", str(DATA_DIR / "outbox")))
BACKUP_KEEP = env.integer("BACKUP_KEEP", 7, minimum=1)

# Database. `default` goes through PgBouncer in transaction mode, which hands each transaction another
# session: no server-side cursors, no server-side binding, no prepared statements. `direct` is the primary
# itself, for what needs a session of its own: migrations, locks, dumps.
_credentials = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": env.text("DATABASE_NAME"),
    "USER": env.text("DATABASE_USER"),
    "PASSWORD": env.text("DATABASE_PASSWORD"),
    "CONN_HEALTH_CHECKS": True,
}
_connection = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30000,
}
DATABASES = {
    "default": {
        **_credentials,
        "HOST": env.text("DATABASE_HOST"),
        "PORT": env.integer("DATABASE_PORT", 5432, minimum=1),
        "DISABLE_SERVER_SIDE_CURSORS": True,
        "OPTIONS": {**_connection, "server_side_binding": False, "prepare_threshold": None},
    },
    "direct": {
        **_credentials,
        "HOST": env.text("DATABASE_DIRECT_HOST"),
        "PORT": env.integer("DATABASE_DIRECT_PORT", 5432, minimum=1),
        "OPTIONS": dict(_connection),
    },
}

# Where pg_dump and pg_restore are found
COMMAND_PATH = env.text("PATH", os.defpath)

# Mail goes to a server when there is one, else into files.
EMAIL_HOST = env.text("EMAIL_HOST", "")
EMAIL_PORT = env.integer("EMAIL_PORT", 25, minimum=1)
EMAIL_TIMEOUT = 5
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'filebased'}.EmailBackend"
EMAIL_FILE_PATH = OUTBOX_DIR / "mail"
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "shop@example.com")
OPERATIONS_EMAIL = env.text("OPERATIONS_EMAIL", "operations@example.com")

# Logging. disable_existing_loggers defaults to true in logging.config and would silence Celery's own
# loggers: a worker would then die without a word.
LOG_LEVEL = env.text("LOG_LEVEL", "INFO").upper()
LOGGING_CONFIG = None  # applied below, so that a warning about Sentry is already seen
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "line"}},
    "root": {"handlers": ["stdout"], "level": LOG_LEVEL},
}
if LOG_LEVEL not in logging.getLevelNamesMapping():
    env.problems.append("LOG_LEVEL must be one of " + ", ".join(logging.getLevelNamesMapping()))

# Celery: where
_redis_login = (env.text("REDIS_PASSWORD", ""), env.text("REDIS_USERNAME", ""))
CELERY_BROKER_URL = env.redis_url("CELERY_BROKER_URL", *_redis_login)
CELERY_RESULT_BACKEND = env.redis_url("CELERY_RESULT_BACKEND", *_redis_login)
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"

# Celery: what goes where. A queue that is not in this list is an error at the sender, not a list in Redis
# that nobody reads.
QUEUES = (
    "celery",
    "backups",
    "pricing",
    "reports",
    "notifications",
    "accounting",
    "monitoring",
    "webhooks",
)
CELERY_TASK_QUEUES = [Queue(name, routing_key=name) for name in QUEUES]
CELERY_TASK_DEFAULT_QUEUE = "celery"
CELERY_TASK_CREATE_MISSING_QUEUES = False
# The last route is the default priority. task_default_priority cannot be it: it becomes an attribute of
# every task, which takes precedence over the routes.
CELERY_TASK_ROUTES = {
    "apps.backups.tasks.*": {"queue": "backups", "priority": redis_priority(10)},
    "apps.notifications.tasks.*": {"queue": "notifications", "priority": redis_priority(5)},
    "apps.pricing.tasks.*": {"queue": "pricing", "priority": redis_priority(8)},
    "apps.reporting.tasks.*": {"queue": "reports", "priority": redis_priority(7)},
    "apps.accounting.tasks.*": {"queue": "accounting", "priority": redis_priority(8)},
    "apps.core.alert_tasks.*": {"queue": "monitoring", "priority": redis_priority(9)},
    "apps.core.webhook_tasks.*": {"queue": "webhooks", "priority": redis_priority(8)},
    "*": {"queue": CELERY_TASK_DEFAULT_QUEUE, "priority": redis_priority(DEFAULT)},
}

# Celery: connections. Without timeouts a black hole is silent for minutes and the worker ignores SIGTERM.
SOCKET_TIMEOUT = env.integer("REDIS_SOCKET_TIMEOUT", 5, minimum=1)
VISIBILITY_TIMEOUT = env.integer("CELERY_VISIBILITY_TIMEOUT", 600, minimum=10)
# Only sentinel:// URLs make use of it. The Sentinels want the password themselves, which is not taken from the URL; and
# what the URL says of TLS reaches neither them nor the result backend.
_tls = tls_of(CELERY_RESULT_BACKEND) if CELERY_RESULT_BACKEND.startswith("sentinel:") else {}
_sentinel: dict[str, object] = {
    "master_name": env.text("REDIS_SENTINEL_MASTER", "mymaster"),
    "sentinel_kwargs": {
        "password": _redis_login[0] or None,
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": SOCKET_TIMEOUT,
        **({"ssl": True, **_tls} if _tls else {}),
    },
}
CELERY_REDIS_BACKEND_USE_SSL = _tls or None
CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = _sentinel if CELERY_RESULT_BACKEND.startswith("sentinel:") else {}
CELERY_BROKER_TRANSPORT_OPTIONS = {
    **(_sentinel if CELERY_BROKER_URL.startswith("sentinel:") else {}),
    "priority_steps": list(STEPS),
    "visibility_timeout": VISIBILITY_TIMEOUT,
    "socket_timeout": SOCKET_TIMEOUT,
    "socket_connect_timeout": SOCKET_TIMEOUT,
    "socket_keepalive": True,
    "health_check_interval": 25,
}
CELERY_REDIS_SOCKET_TIMEOUT = SOCKET_TIMEOUT
CELERY_REDIS_SOCKET_CONNECT_TIMEOUT = SOCKET_TIMEOUT
CELERY_REDIS_SOCKET_KEEPALIVE = True
CELERY_REDIS_BACKEND_HEALTH_CHECK_INTERVAL = 25
CELERY_BROKER_CONNECTION_RETRY = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Pauses of 2, 4, 6 ... seconds: ten of them are 110 s, then the worker exits and the kubelet takes over.
CELERY_BROKER_CONNECTION_MAX_RETRIES = env.integer("CELERY_BROKER_MAX_RETRIES", 10)

# Celery: losing nothing. A task is acknowledged when it is done, goes back when its process dies, and is
# never fetched ahead. A task must end before the visibility timeout, or a second worker starts it as well.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
# Above what the platform allows before it keeps the task as a dead letter: this one is for workers without a platform.
REDELIVERY_CAP = env.integer("CELERY_REDELIVERY_CAP", 10)  # config.requests
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = env.integer("CELERY_SOFT_SHUTDOWN_TIMEOUT", 45)
CELERY_TASK_TIME_LIMIT = env.integer("CELERY_TASK_TIME_LIMIT", VISIBILITY_TIMEOUT * 5 // 6, minimum=1)
CELERY_TASK_SOFT_TIME_LIMIT = max(1, CELERY_TASK_TIME_LIMIT * 9 // 10)
if CELERY_TASK_TIME_LIMIT >= VISIBILITY_TIMEOUT:
    env.problems.append("CELERY_TASK_TIME_LIMIT must be below CELERY_VISIBILITY_TIMEOUT: tasks would run twice")

# Celery: what one can see. Left to itself Celery would replace the handlers above and log to stderr.
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_TRACK_STARTED = True
CELERY_RESULT_EXTENDED = True
CELERY_RESULT_EXPIRES = env.integer("CELERY_RESULT_EXPIRES", 86400, minimum=60)
CELERY_WORKER_SEND_TASK_EVENTS = env.boolean("CELERY_SEND_TASK_EVENTS", False)
CELERY_TASK_SEND_SENT_EVENT = CELERY_WORKER_SEND_TASK_EVENTS

env.verify()
# Celery prefers these two variables of the environment to any setting, and there they have no password.
os.environ |= {"CELERY_BROKER_URL": CELERY_BROKER_URL, "CELERY_RESULT_BACKEND": CELERY_RESULT_BACKEND}
logging.config.dictConfig(LOGGING)
start_sentry(SENTRY_DSN)
