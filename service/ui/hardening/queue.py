"""Limits on Gradio's queue: events of clients that do not read their results are cancelled and dropped.

Gradio ends the work of clients whose stream of answers breaks off, not of those that have never opened one.
"""

import re
import time
from typing import Any

from service.runtime.periodic import run_periodically
from service.ui.hardening.patches import replace

_LOOK_S = 5.0

# A browser reads its answers at once, and a person with curl soon after.
_UNREAD_S = 60.0
_MAX_UNREAD = 50

# Clients whose answers are not all read.
_MAX_SESSIONS = 1_000
_NAME = re.compile(r"[\w-]{1,64}", re.ASCII)


class QueueLimits:
    """Bounds the sessions of Gradio's `queue`. Used from the event loop only.

    max_sessions: clients with unread answers; one more displaces the one that waited longest. unread_s: seconds
    after which a client that reads nothing is forgotten; max_unread: answers after which it is.
    """

    def __init__(self, queue: Any) -> None:
        self.max_sessions = _MAX_SESSIONS
        self.unread_s = _UNREAD_S
        self.max_unread = _MAX_UNREAD
        self._queue = queue
        self._push = queue.push
        replace(queue, "push", self._admit)
        # The route that shows the summary is closed, and an event whose summary fails would be kept for ever.
        replace(queue, "compute_analytics_summary", lambda _: {})
        self._unread_since: dict[str, float] = {}

    async def watch(self) -> None:
        """Look now and every few seconds, until cancelled."""
        await run_periodically(lambda: self._look(time.monotonic()), _LOOK_S)

    async def _admit(self, body: Any, request: Any, username: str | None) -> tuple[bool, Any, str]:
        """Replaces the queue's `push`: the same answer, with bounds on what is kept."""
        if body.session_hash is not None and not _NAME.fullmatch(body.session_hash):
            return False, "A session_hash is made of up to 64 letters, digits, - and _.", "error"
        if len(self._queue.pending_event_ids_session) >= self.max_sessions:
            # Clients that read come first.
            if not (unread := self._unread()):
                return False, "Too many visitors at the same time. Try again later.", "queue_full"
            await self._forget(unread[0])
        answer: tuple[bool, Any, str] = await self._push(body=body, request=request, username=username)
        return answer

    async def _look(self, now: float) -> None:
        self._unread_since = {name: self._unread_since.get(name, now) for name in self._unread()}
        for name, since in self._unread_since.items():
            # The session is gone already where its stream broke off while another was forgotten.
            messages = self._queue.pending_messages_per_session.get(name)
            if messages and (now - since >= self.unread_s or messages.qsize() > self.max_unread):
                await self._forget(name)
        # Gradio also keeps sessions that have read everything, which would displace those that still wait.
        events = self._queue.pending_event_ids_session
        for name in [name for name, waiting in events.items() if not waiting]:
            del events[name]
            self._queue.pending_messages_per_session.pop(name, None)

    def _unread(self) -> list[str]:
        """Sessions with messages that were not fetched, the oldest first."""
        messages = list(self._queue.pending_messages_per_session.items())
        return [name for name, unread in messages if unread.qsize()]

    async def _forget(self, name: str) -> None:
        queue = self._queue
        await queue.clean_events(session_hash=name)
        queue.pending_messages_per_session.pop(name, None)
        for event in queue.pending_event_ids_session.pop(name, ()):
            queue.event_ids_to_events.pop(event, None)
