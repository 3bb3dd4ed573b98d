"""Visitors of the page who ask and never fetch an answer: their work ends soon, and so does what is kept for them.

Gradio ends the work of visitors whose stream of answers breaks off, not of those who have never opened one.
"""

import asyncio
import time
from typing import Any

_LOOK_S = 5.0

# A page reads at once, and somebody with curl soon after.
_UNREAD_S = 60.0

# Of those whose answers are not all read; each keeps a few messages.
_MOST_VISITORS = 1_000
_LONGEST_NAME = 64


class Visitors:
    """Those of Gradio's `queue`. Used from the event loop only."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self._push = queue.push
        queue.push = self._admit
        self._unread_since: dict[str, float] = {}

    async def watch(self) -> None:
        """Look now and every few seconds. Meant to be cancelled."""
        while True:
            await self._look(time.monotonic())
            await asyncio.sleep(_LOOK_S)

    async def _admit(self, body: Any, request: Any, username: str | None) -> tuple[bool, Any, str]:
        """In place of the queue's own `push`: what it answers, without more than a bound on what it keeps."""
        visitors = self._queue.pending_event_ids_session
        name = body.session_hash or ""
        if len(name) > _LONGEST_NAME:
            return False, f"A session_hash has {_LONGEST_NAME} characters at most.", "error"
        if name not in visitors and len(visitors) >= _MOST_VISITORS:
            return False, "Too many visitors at the same time. Try again later.", "queue_full"
        answer: tuple[bool, Any, str] = await self._push(body=body, request=request, username=username)
        return answer

    async def _look(self, now: float) -> None:
        queue = self._queue
        unread = [name for name, messages in list(queue.pending_messages_per_session.items()) if messages.qsize()]
        self._unread_since = {name: self._unread_since.get(name, now) for name in unread}
        for name, since in self._unread_since.items():
            if now - since >= _UNREAD_S:
                await queue.clean_events(session_hash=name)
                queue.pending_messages_per_session.pop(name, None)
                for event in queue.pending_event_ids_session.pop(name, ()):
                    queue.event_ids_to_events.pop(event, None)
        # Of those who have read everything it keeps their names.
        for name in [name for name, events in queue.pending_event_ids_session.items() if not events]:
            del queue.pending_event_ids_session[name]
