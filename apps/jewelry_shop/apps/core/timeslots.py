"""Time cut into slots: what is written once per slot is written once, however often its task runs."""

from datetime import UTC, datetime, timedelta


def slot(moment: datetime, length: timedelta) -> datetime:
    """The start of the slot that `moment` is in; slots are counted from the epoch, in UTC."""
    seconds = length.total_seconds()
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, tz=UTC)
