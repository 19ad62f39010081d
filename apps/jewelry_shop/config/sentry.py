"""Sentry, when and only when it is given a DSN that can be used."""

import logging

import sentry_sdk
from sentry_sdk.utils import BadDsn, Dsn

logger = logging.getLogger(__name__)


def dsn_problem(dsn: str) -> str:
    """Why `dsn` cannot be used; empty when it can, and when there is none."""
    if not dsn:
        return ""
    try:
        Dsn(dsn)
    except (BadDsn, ValueError) as error:
        return str(error) or type(error).__name__
    return ""


def start_sentry(dsn: str) -> bool:
    """Start reporting. An unusable DSN is a warning: it must not stop a worker from working."""
    problem = dsn_problem(dsn)
    if problem:
        logger.warning("SENTRY_DSN is not a valid DSN (%s): errors are not reported to Sentry", problem)
    if problem or not dsn:
        return False
    sentry_sdk.init(dsn=dsn, send_default_pii=False)
    return True
