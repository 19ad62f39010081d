"""The base of every task of this project."""

from celery import Task


class ShopTask(Task):
    """A task that is given up when it keeps taking its process down."""

    abstract = True
    Request = "config.requests:Request"
