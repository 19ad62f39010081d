# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes one object by server-side apply: drift put right, conflicts named, nobody's work undone in silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .client import Api, KubeError
from .compare import owned_fields, owned_values, unchanged
from .handover import SCALED, holder, is_claim_of_autoscaler, only_replicas, sole, targets
from .items import Item
from .ownership import Claim, claims, is_drift
from .resources import Json

__all__ = ["Settings", "Writer"]

# A version that no object has: an object that exists meanwhile is a conflict then, and not written over.
_NEVER = "1"
# Objects whose status is written all the time are read again and again until a write fits in between.
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Settings:
    """How to apply. `check`: only ask what would happen."""

    manager: str
    force: bool = False
    check: bool = False
    config_rollout: bool = True


class Writer:
    """Applies objects as one manager."""

    def __init__(self, api: Api, settings: Settings) -> None:
        self._api = api
        self._manager = settings.manager
        self._force = settings.force

    def write(self, item: Item) -> Json:
        """Applies what is wanted; returns the object as it is then. Replicas that are given away keep their value."""
        item.seen = item.live
        if item.replicas is not None:
            if item.live is None:
                # Made with them, then handed over: made without, there would be one replica for a moment.
                item.seen = self._apply(item, item.trial)
            self._hand_over(item)
        item.seen = self._apply(item, item.wanted)
        return item.seen

    def dry_run(self, item: Item) -> Json:
        """What the server would make of it."""
        try:
            return self._api.apply(item.trial, field_manager=self._manager, dry_run=True)
        except KubeError as error:
            self._judge(item, item.trial, error)
        return self._api.apply(item.trial, field_manager=self._manager, force=True, dry_run=True)

    def _apply(self, item: Item, body: Json) -> Json:
        """The write counts only for the version of the object that was compared: what others write in between is
        looked at first."""
        force = False
        for attempt in range(_ATTEMPTS):
            try:
                return self._api.apply(_guarded(body, item.seen), field_manager=self._manager, force=force)
            except KubeError as error:
                if attempt == _ATTEMPTS - 1 or not error.conflict:
                    raise explained(item, error) from error
                if claims(error.causes):
                    self._judge(item, body, error)
                    force = True
                    continue
            done = self._look_again(item, body)
            if done is not None:
                return done
            # What was judged was another version.
            force = False
        raise AssertionError("the last attempt raises")

    def _look_again(self, item: Item, body: Json) -> Json | None:
        """The object as it is now, when that is what is wanted; None to try with that version."""
        fresh = self._api.get(item.ref)
        if fresh is not None:
            if unchanged(body, fresh, self._manager):
                return fresh
            mine = owned_fields(fresh, self._manager)
            before = owned_values(item.seen, owned_fields(item.seen, self._manager))
            if mine is not None and owned_values(fresh, mine) != before:
                raise KubeError(
                    f"{item.key} was changed meanwhile by another run under the name {self._manager}",
                    status=409,
                    reason="Conflict",
                    expected="that this run's definitions are the newest",
                    found="fields which that run applied differ from those that this run has read",
                    remedy="run once more when the other has ended, and see that both have the same definitions",
                )
        item.seen = fresh
        return None

    def _judge(self, item: Item, body: Json, error: KubeError) -> None:
        """Returns where the claims of others may be passed over; raises what is to be told otherwise."""
        every = claims(error.causes) if error.conflict else []
        if not every:
            raise explained(item, error) from error
        # Replicas that are given away may have been scaled since they were read.
        found = [claim for claim in every if item.replicas is None or claim.field != ".spec.replicas"]
        live = self._api.get(item.ref) or {}
        scaled_by = self._autoscaler_of(item, found)
        held = [
            claim
            for claim in found
            if not is_drift(claim, live, self._manager)
            and (scaled_by is not None or not is_claim_of_autoscaler(claim, self._manager))
        ]
        if held and not self._force:
            named = [
                f"{claim} (for {scaled_by})" if is_claim_of_autoscaler(claim, self._manager) else str(claim)
                for claim in held
            ]
            raise KubeError(
                f"{item.key}: others hold fields that are wanted here",
                status=409,
                reason="Conflict",
                expected=f"fields that nobody but {self._manager} applies",
                found="; ".join(named),
                remedy="leave these fields out of the definition, or take them over with `force_conflicts: true`",
                conflicts=[{"manager": claim.manager, "field": claim.field} for claim in held],
            )
        item.drift = [claim for claim in found if claim.manager != holder(self._manager)]

    def _autoscaler_of(self, item: Item, found: list[Claim]) -> str | None:
        """The autoscaler that scales the object now, looked for only where replicas are in question."""
        if item.key.kind not in SCALED or not any(is_claim_of_autoscaler(claim, self._manager) for claim in found):
            return None
        there = self._api.list("autoscaling/v2", "HorizontalPodAutoscaler", item.key.namespace)
        return targets(one for one in there if not one["metadata"].get("deletionTimestamp")).get(item.target)

    def _hand_over(self, item: Item) -> None:
        """Has another manager of ours own the replicas, at the value they have."""
        for _attempt in range(_ATTEMPTS):
            if item.seen is None or not sole(item.seen, self._manager):
                return
            part = only_replicas(item.wanted, int(item.seen["spec"]["replicas"]))
            try:
                item.seen = self._api.apply(part, field_manager=holder(self._manager))
                return
            except KubeError as error:
                if not error.conflict:
                    raise explained(item, error) from error
            # Somebody scaled it this moment.
            item.seen = self._api.get(item.ref)


def _guarded(body: Json, seen: Mapping[str, Any] | None) -> Json:
    version = _NEVER if seen is None else seen["metadata"]["resourceVersion"]
    return {**body, "metadata": {**body["metadata"], "resourceVersion": version}}


def explained(item: Item, error: KubeError) -> KubeError:
    """The server's refusal with what to do about it."""
    said = error.server_message
    remedy = error.remedy
    if "immutable" in said or "may not change once set" in said or ("are forbidden" in said and "updates to" in said):
        remedy = f"delete {item.key} so that it is made anew, or give the new one another name"
    elif error.status in (400, 422) or error.is_permanent:
        remedy = "correct the definition where the message points"
    elif error.status == 429 or error.status >= 500:
        remedy = "see why the API server is overloaded or not well; `retry_timeout` is how long it is asked again"
    return KubeError(
        str(error.message),
        status=error.status,
        reason=error.reason,
        server_message=said,
        body=error.body,
        expected=error.expected,
        found=error.found,
        remedy=remedy,
    )
