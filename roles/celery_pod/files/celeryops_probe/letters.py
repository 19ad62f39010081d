# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dead letters: what is listed, sent again and purged, and the answer that their waiting callers get.

No Django and no application is imported here; ``app`` is the caller's.
"""

from __future__ import annotations

import json

from celery.app.task import Context
from celery.exceptions import WorkerLostError
from celery.utils.log import get_logger
from kombu.serialization import prepare_accept_content

from celeryops_probe.ledger import redelivered

__all__ = ("listed", "purge", "requeue", "tell_all")

logger = get_logger(__name__)

# Seconds in which one worker alone tells the callers of one dead letter
TELLING = 60

REQUEUE = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('LPUSH', KEYS[3], ARGV[3])
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('SREM', KEYS[2], ARGV[1])
return 1
"""

PURGE = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('SREM', KEYS[2], ARGV[1])
return 1
"""


def _message(letter):
    """What was sent, with its headers and properties."""
    return json.loads(letter["message"])[0]


def _payload(app, channel, message):
    """(args, kwargs, embedded) of a message; raises what kombu raises for a body it does not decode."""
    delivered = channel.Message(message, channel=channel)
    delivered.accept = prepare_accept_content(app.conf.accept_content)
    payload = delivered.payload
    if isinstance(payload, dict):
        # The first version of Celery's protocol
        return payload.get("args", ()), payload.get("kwargs", {}), payload
    return payload


def _letters(ledger, client):
    """(tag, text, letter), the oldest first."""
    found = [(tag.decode(), text, json.loads(text)) for tag, text in client.hgetall(ledger.dead).items()]
    return sorted(found, key=lambda each: (each[2]["buried"], each[0]))


def listed(app, ledger, client, channel, arguments=False):
    """Every dead letter as data. Arguments only when they are asked for."""
    return [_shown(app, ledger, channel, tag, letter, arguments) for tag, _text, letter in _letters(ledger, client)]


def _shown(app, ledger, channel, tag, letter, arguments):
    message = _message(letter)
    source = letter["list"][len(ledger.prefix) :].rsplit(channel.sep, 1)
    shown = {name: letter[name] for name in ("id", "task", "buried", "worker", "exception", "history")}
    shown.update(
        tag=tag,
        queue=source[0],
        priority=int(source[1]) if len(source) > 1 else 0,
        retries=(message.get("headers") or {}).get("retries") or 0,
    )
    if arguments:
        try:
            args, kwargs, _embed = _payload(app, channel, message)
            shown.update(args=list(args), kwargs=dict(kwargs))
        except Exception as exc:  # a serializer that is not installed, or not accepted
            shown.update(args=None, kwargs=None, problem=f"{type(exc).__name__}: {exc}")
    return shown


def _each(ledger, client, tags, script, keys, last):
    done = []
    for tag, text, letter in _letters(ledger, client):
        if tag in tags:
            names = [ledger.dead, ledger.untold, *keys(letter)]
            if client.eval(script, len(names), *names, tag, text, *last(letter)):
                done.append(tag)
    return done


def requeue(ledger, client, tags):
    """Send them again, to the list that each came from, with a clean record. The tags that were sent."""
    return _each(
        ledger,
        client,
        tags,
        REQUEUE,
        lambda letter: [letter["list"]],
        lambda letter: [json.dumps(redelivered(_message(letter)))],
    )


def purge(ledger, client, tags):
    """Throw them away. The tags that are gone."""
    return _each(ledger, client, tags, PURGE, lambda _: [], lambda _: [])


def tell_all(app, ledger, client, channel, worker):
    """Give waiting callers their answer. After the move: should this worker die between, another one tells."""
    for tag in (each.decode() for each in client.smembers(ledger.untold)):
        text = client.hget(ledger.dead, tag)
        # Twice is wrong for a chord, which counts the answers of its parts.
        if text is None or client.set(f"{ledger.untold}:{tag}", worker, nx=True, ex=TELLING):
            if text is not None:
                _tell(app, channel, json.loads(text))
            client.srem(ledger.untold, tag)
            client.delete(f"{ledger.untold}:{tag}")


def _tell(app, channel, letter):
    message = _message(letter)
    headers = message.get("headers") or {}
    try:
        args, kwargs, embedded = _payload(app, channel, message)
    except Exception as exc:  # the task cannot be run, its failure can be told
        logger.warning("celeryops: the arguments of %s cannot be read: %s", letter["id"], exc)
        args, kwargs, embedded = (), {}, {}
    properties = message.get("properties") or {}
    request = Context(
        {
            **headers,
            **(embedded or {}),
            "args": args,
            "kwargs": kwargs,
            "reply_to": properties.get("reply_to"),
            "correlation_id": properties.get("correlation_id"),
            "hostname": letter["worker"],
        }
    )
    task = app.tasks.get(letter["task"])
    ignored = headers.get("ignore_result")
    if ignored is None:
        ignored = task is not None and task.ignore_result
    store = not ignored or bool(task is not None and task.store_errors_even_if_ignored)
    count = sum(1 for each in letter["history"] if each["killed"])
    exc = WorkerLostError(f"dead letter after {count} deaths of its process, last: {letter['history'][-1]['how']}")
    # A backend of this thread's own: connections of green pools belong to one thread.
    app._get_backend().mark_as_failure(letter["id"], exc, request=request, store_result=store)
