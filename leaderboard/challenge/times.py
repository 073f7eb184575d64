"""Points in time as YAML has them: a date, a date with a time, or either as text. Times without a zone are UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

from leaderboard.io.tables import shown


def read_time(value: object, *, end_of_day: bool = False) -> datetime:
    """A point in time.

    Args:
        value: of a YAML file.
        end_of_day: whether a date alone means its last second, and not its first.

    Raises:
        ValueError: it is none; the message says so and how to write one.
    """
    try:
        found = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
        if isinstance(value, str) and len(value.strip()) <= len("2026-09-01") and isinstance(found, datetime):
            found = found.date()
        if isinstance(found, datetime):
            return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        if isinstance(found, date):
            return datetime.combine(found, time(23, 59, 59) if end_of_day else time(), UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"is {shown(str(value))} and no time: write it as 2026-09-01 or 2026-09-01T18:00:00+02:00")


def time_text(moment: datetime) -> str:
    """``2026-09-01 16:00:00 UTC``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
