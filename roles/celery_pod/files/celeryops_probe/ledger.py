# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds which message, as Redis knows it.

kombu keeps what was delivered and not yet acknowledged in the hash ``unacked``, without a word about
who has it. Beside it stand here, under the same prefix:

``celeryops:workers``          each worker process and until when, by Redis' own clock, it may be silent
``celeryops:held:<worker>``    its messages by delivery tag: the list each came from, and when it was started
``celeryops:leaving``          workers that were told to stop
``celeryops:deaths:<tag>``     the deaths that a message was present at; gone when it is done
``celeryops:dead``             dead letters by delivery tag, complete with their history
``celeryops:untold``           those of them whose waiting callers have no answer yet
``celeryops:drill:<run>``      starts and ends of the tasks that a drill sent
``celeryops:doorbell:<worker>``  what wakes an idle worker: rung when one of its lists has changed

Each change is one script, so a message is in exactly one place whoever dies when. In a script the new
place is written first: only writing can be refused, for want of memory, and then nothing has changed.
A delivery tag is made by the sender and stays with its message however often that is delivered.
"""

from __future__ import annotations

import json
import time

__all__ = ("DRILL", "GONE", "MOVED", "NOT_YET", "Ledger")

# Seconds after which what is known about the deaths of a message is forgotten.
MEMORY = 7 * 86400
# And what a drill recorded, should it not clean up itself.
DRILL_MEMORY = 86400
MOVED, GONE, NOT_YET = 1, 0, -1
# The header by which a drill marks its tasks
DRILL = "celeryops_drill"

# Pops a message and writes down who has it. With BRPOP a message would for a moment be nowhere but on
# its way to a worker, and be lost with it.
FETCH = """
for i = 5, #KEYS do
  local raw = redis.call('LINDEX', KEYS[i], -1)
  if raw then
    local ok, message = pcall(cjson.decode, raw)
    local properties = ok and type(message) == 'table' and message.properties
    if type(properties) == 'table' and type(properties.delivery_tag) == 'string' then
      local tag, info = properties.delivery_tag, properties.delivery_info
      if type(info) ~= 'table' then info = {} end
      redis.call('HSET', KEYS[1], tag,
        '[' .. raw .. ', ' .. cjson.encode(info.exchange) .. ', ' .. cjson.encode(info.routing_key) .. ']')
      redis.call('ZADD', KEYS[2], ARGV[2], tag)
      redis.call('HSET', KEYS[4], tag, cjson.encode({list = KEYS[i], via = ARGV[3]}))
      local now = redis.call('TIME')
      redis.call('ZADD', KEYS[3], now[1] + now[2] / 1000000 + ARGV[4], ARGV[1])
    end
    redis.call('RPOP', KEYS[i])
    return {KEYS[i], raw}
  end
end
return false
"""

# Tells that this worker lives, and keeps what it holds from looking abandoned to kombu as well.
RENEW = """
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], now[1] + now[2] / 1000000 + ARGV[4], ARGV[1])
if ARGV[3] == '1' then redis.call('HSET', KEYS[4], ARGV[1], now[1]) end
local lost = {}
for i = 5, #ARGV do
  if redis.call('HEXISTS', KEYS[2], ARGV[i]) == 1 then
    redis.call('ZADD', KEYS[3], 'XX', ARGV[2], ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return {redis.call('HLEN', KEYS[2]), lost}
"""

START = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return -1 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return redis.call('LLEN', KEYS[2])
"""

# Moves a message out of a worker's hands: back to a list, or to the dead letters. ARGV: tag, the message as it
# was read, where to (next, last, dead), what to write there, the death to note, how long to remember it,
# and, when somebody else's message is taken, that worker: its time must be over.
MOVE = """
if ARGV[7] ~= '' then
  local now, silent = redis.call('TIME'), redis.call('ZSCORE', KEYS[6], ARGV[7])
  if silent and now[1] + now[2] / 1000000 < tonumber(silent) then return -1 end
end
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 0 then return 0 end
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  redis.call('HDEL', KEYS[3], ARGV[1])
  return 0
end
if ARGV[3] == 'dead' then
  redis.call('HSET', KEYS[5], ARGV[1], ARGV[4])
  redis.call('SADD', KEYS[7], ARGV[1])
  redis.call('DEL', KEYS[4])
else
  redis.call(ARGV[3] == 'last' and 'LPUSH' or 'RPUSH', KEYS[5], ARGV[4])
  if ARGV[5] ~= '' then
    redis.call('RPUSH', KEYS[4], ARGV[5])
    redis.call('EXPIRE', KEYS[4], ARGV[6])
  end
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
return 1
"""

SILENT = """
local now = redis.call('TIME')
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now[1] + now[2] / 1000000)
"""

# One line of a drill's record, by Redis' own clock.
NOTE = """
local line, now = cjson.decode(ARGV[1]), redis.call('TIME')
line.at = now[1] + now[2] / 1000000
redis.call('RPUSH', KEYS[1], cjson.encode(line))
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""

# Forgets a worker that holds nothing more.
FORGET = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[4])
return 1
"""

# However often it is rung, one wakes. It is no business of a worker that dies before it hears it.
RING = """
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('LPUSH', KEYS[1], '')
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
"""


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


def redelivered(message):
    """The message with the marks that kombu gives to one that is delivered again."""
    message.setdefault("headers", {})["redelivered"] = True
    message.setdefault("properties", {}).setdefault("delivery_info", {})["redelivered"] = True
    return message


class Ledger:
    """The names and scripts for one worker that may be silent for ``lease`` seconds, or for nobody."""

    def __init__(self, channel, worker="", lease=0.0):
        self.prefix = channel.global_keyprefix
        self.worker = worker
        self.lease = lease
        self.unacked = self.prefix + channel.unacked_key
        self.index = self.prefix + channel.unacked_index_key
        self.workers, self.leaving, self.dead, self.untold = (
            f"{self.prefix}celeryops:{name}" for name in ("workers", "leaving", "dead", "untold")
        )
        self.mine = self.held(worker)
        self.doorbell = self.bell(worker)

    def held(self, worker):
        return f"{self.prefix}celeryops:held:{worker}"

    def bell(self, worker):
        return f"{self.prefix}celeryops:doorbell:{worker}"

    def deaths(self, tag):
        return f"{self.prefix}celeryops:deaths:{tag}"

    # Receiving, by the worker itself
    def fetch_command(self, lists, via):
        """EVAL as words. The text goes along each time: a Redis that was restarted knows no script."""
        keys = [self.unacked, self.index, self.workers, self.mine, *(self.prefix + name for name in lists)]
        return ["EVAL", FETCH, len(keys), *keys, self.worker, time.time(), via, self.lease]

    def start(self, client, tag, note):
        """How many deaths the message was present at; None when this worker does not hold it any more."""
        found = client.eval(START, 2, self.mine, self.deaths(tag), tag, json.dumps(note))
        return None if found < 0 else found

    def finish(self, client, tag):
        """The message is done with, whoever holds it now."""
        with client.pipeline() as pipe:
            pipe.zrem(self.index, tag).hdel(self.unacked, tag).hdel(self.mine, tag).delete(self.deaths(tag))
            pipe.execute()

    def renew(self, client, tags, leaving=False):
        """(how many messages Redis says that this worker holds, which of ``tags`` it does not)."""
        keys = [self.workers, self.mine, self.index, self.leaving]
        total, lost = client.eval(RENEW, len(keys), *keys, self.worker, time.time(), int(leaving), self.lease, *tags)
        return total, [_text(tag) for tag in lost]

    def ring(self, client):
        """Wake this worker, should it be idle."""
        client.eval(RING, 1, self.doorbell, int(self.lease * 1000))

    # Looking
    def holding(self, client, worker):
        """{tag: note} of a worker."""
        return {_text(tag): json.loads(note) for tag, note in client.hgetall(self.held(worker)).items()}

    def history(self, client, tag):
        """The deaths that a message was present at, the oldest first."""
        return [json.loads(death) for death in client.lrange(self.deaths(tag), 0, -1)]

    def message(self, client, tag):
        """The delivered message as the text that Redis has; None when it is not there."""
        found = client.hget(self.unacked, tag)
        return None if found is None else _text(found)

    def silent(self, client):
        """Workers that have been silent for longer than they may."""
        return [_text(worker) for worker in client.eval(SILENT, 1, self.workers)]

    def is_leaving(self, client, worker):
        return bool(client.hexists(self.leaving, worker))

    # Moving
    def put_back(self, client, tag, raw, note, *, last=False, death=None, holder=None):
        """Return a message to the list that it came from: next in turn, or last. MOVED, GONE or NOT_YET."""
        text = json.dumps(redelivered(json.loads(raw)[0]))
        return self._move(client, tag, raw, "last" if last else "next", note["list"], text, death, holder)

    def bury(self, client, tag, raw, letter, *, holder=None):
        """Put a message to the dead letters. MOVED, GONE or NOT_YET."""
        return self._move(client, tag, raw, "dead", self.dead, json.dumps(letter), None, holder)

    def _move(self, client, tag, raw, mode, target, text, death, holder):
        held = self.held(holder) if holder else self.mine
        keys = [self.unacked, self.index, held, self.deaths(tag), target, self.workers, self.untold]
        noted = json.dumps(death) if death else ""
        return client.eval(MOVE, len(keys), *keys, tag, raw, mode, text, noted, MEMORY, holder or "")

    def forget(self, client, worker):
        """True when the worker holds nothing and is no longer listed."""
        keys = [self.workers, self.held(worker), self.leaving, self.bell(worker)]
        return bool(client.eval(FORGET, len(keys), *keys, worker))

    def drill(self, run):
        return f"{self.prefix}celeryops:drill:{run}"

    def note(self, client, run, task, what):
        """A task that a drill sent was started, or is done."""
        line = json.dumps({"id": task, "what": what, "worker": self.worker})
        client.eval(NOTE, 1, self.drill(run), line, DRILL_MEMORY)

    def forget_message(self, client, tag):
        """Redis has the message no more: neither should this worker's list."""
        client.hdel(self.mine, tag)
