"""The Celery application. Where its broker is, Celery reads from CELERY_BROKER_URL and CELERY_RESULT_BACKEND."""

from celery import Celery

app = Celery("quotes", include=["quotes.tasks"])
app.conf.update(
    task_default_queue="desk",
    task_routes={
        "quotes.tasks.render": {"queue": "press"},
        "quotes.tasks.mail": {"queue": "post"},
        "quotes.tasks.fetch": {"queue": "feeds"},
        "quotes.tasks.notify": {"queue": "hooks"},
    },
    task_time_limit=240,
    task_reject_on_worker_lost=True,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 300, "socket_timeout": 5, "socket_connect_timeout": 5},
    redis_socket_timeout=5,
    redis_socket_connect_timeout=5,
)
