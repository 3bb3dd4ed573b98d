"""Visitors of the page who ask and never fetch an answer: their work ends soon, and so does what is kept for them.

Gradio ends the work of visitors whose stream of answers breaks off, not of those who have never opened one.
"""

import re
import time
from typing import Any

from service.runtime.periodic import run_periodically

_LOOK_S = 5.0

# A page reads at once, and somebody with curl soon after.
_UNREAD_S = 60.0
_MAX_UNREAD = 50

# Of those whose answers are not all read.
_MAX_VISITORS = 1_000
_NAME = re.compile(r"[\w-]{1,64}", re.ASCII)


class Visitors:
    """Those of Gradio's `queue`. Used from the event loop only."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self._push = queue.push
        queue.push = self._admit
        # Of no use here, as the route that shows it is closed; and an event whose summary fails is kept for ever.
        queue.compute_analytics_summary = lambda _: {}
        self._unread_since: dict[str, float] = {}

    async def watch(self) -> None:
        """Look now and every few seconds. Meant to be cancelled."""
        await run_periodically(lambda: self._look(time.monotonic()), _LOOK_S)

    async def _admit(self, body: Any, request: Any, username: str | None) -> tuple[bool, Any, str]:
        """In place of the queue's own `push`: what it answers, with bounds on what it keeps."""
        if body.session_hash is not None and not _NAME.fullmatch(body.session_hash):
            return False, "A session_hash is made of up to 64 letters, digits, - and _.", "error"
        if len(self._queue.pending_event_ids_session) >= _MAX_VISITORS:
            # In favour of those who read.
            if not (unread := self._unread()):
                return False, "Too many visitors at the same time. Try again later.", "queue_full"
            await self._forget(unread[0])
        answer: tuple[bool, Any, str] = await self._push(body=body, request=request, username=username)
        return answer

    async def _look(self, now: float) -> None:
        self._unread_since = {name: self._unread_since.get(name, now) for name in self._unread()}
        for name, since in self._unread_since.items():
            # Gone already, where its stream broke off while another was forgotten.
            messages = self._queue.pending_messages_per_session.get(name)
            if messages and (now - since >= _UNREAD_S or messages.qsize() > _MAX_UNREAD):
                await self._forget(name)
        # Who has read everything is kept as well, and in the end displaces somebody who is still waiting.
        events = self._queue.pending_event_ids_session
        for name in [name for name, waiting in events.items() if not waiting]:
            del events[name]
            self._queue.pending_messages_per_session.pop(name, None)

    def _unread(self) -> list[str]:
        """Those with messages that nobody has fetched, the oldest first."""
        messages = list(self._queue.pending_messages_per_session.items())
        return [name for name, unread in messages if unread.qsize()]

    async def _forget(self, name: str) -> None:
        queue = self._queue
        await queue.clean_events(session_hash=name)
        queue.pending_messages_per_session.pop(name, None)
        for event in queue.pending_event_ids_session.pop(name, ()):
            queue.event_ids_to_events.pop(event, None)
