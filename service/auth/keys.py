"""API keys, compared in constant time, and the page's sessions, which are signed with them."""

import asyncio
import hashlib
import hmac
import logging
import re
from collections.abc import Iterable
from pathlib import Path

from itsdangerous import BadSignature, TimestampSigner
from starlette.datastructures import Headers

from service.errors import StartupError
from service.settings import parse_list

logger = logging.getLogger(__name__)

SESSION = b"music-genre page session"
"""Payload of a session token, which is signed together with its time."""

SESSION_S = 12 * 3_600
"""Seconds that a login to the page lasts."""

_MIN_KEY_LENGTH = 16
_RELOAD_S = 1.0
_SPELLING = f"at least {_MIN_KEY_LENGTH} printable ASCII characters without commas and blanks (openssl rand -hex 32)"


class KeyRing:
    """The accepted API keys. Only their SHA-256 is kept, so that no dump of this object tells one.

    keys: fixed ones. file: more of them, comma or newline separated, read again when it changes. setting: the name of
    the setting that holds them, `<setting>_FILE` of the file's.
    Raises StartupError when a key is too weak, or the file cannot be read or holds none.
    """

    def __init__(self, keys: Iterable[str], file: Path | None, *, setting: str = "API_KEYS") -> None:
        self._setting = setting
        self._file = file
        self._fixed = _digests(keys, setting)
        self._from_file = self._read_file() if file else frozenset[bytes]()

    def __bool__(self) -> bool:
        """Whether keys are asked for at all."""
        return bool(self._fixed or self._file)

    def accepts(self, key: bytes) -> bool:
        """Whether the key is accepted; takes the same time for every key."""
        digest = hashlib.sha256(key).digest()
        # The sum, as `any` would stop at the first match.
        return sum(hmac.compare_digest(digest, known) for known in self._keys) > 0

    def accepts_headers(self, headers: Headers) -> bool:
        """Whether the request brings a key, as `Authorization: Bearer` or `X-API-Key`."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else ""
        presented = filter(None, (bearer, headers.get("x-api-key", "")))
        return any(self.accepts(key.encode("latin-1")) for key in presented)

    def session(self, key: bytes) -> str:
        """A token that stands for an accepted key until it expires or the key is withdrawn; nothing is stored."""
        return session_signer(hashlib.sha256(key).digest()).sign(SESSION).decode()

    def accepts_session(self, token: str) -> bool:
        """Whether an accepted key signed the token, at most `SESSION_S` seconds ago and not in the future."""
        return token.isascii() and sum(_is_signed(token, key) for key in self._keys) > 0

    async def watch(self) -> None:
        """Read the file again whenever it changes, until cancelled. While it cannot be used, the former keys stay."""
        broken = ""
        while self._file:
            await asyncio.sleep(_RELOAD_S)
            try:
                keys = await asyncio.to_thread(self._read_file)
            except StartupError as error:
                if broken != (broken := str(error)):
                    logger.error("%s The keys read before stay in force.", error)
                continue
            broken = ""
            if keys != self._from_file:
                self._from_file = keys
                logger.info("api keys changed", extra={"keys": len(self._keys)})

    @property
    def _keys(self) -> frozenset[bytes]:
        return self._fixed | self._from_file

    def _read_file(self) -> frozenset[bytes]:
        assert self._file
        setting = f"{self._setting}_FILE"
        try:
            # Editors on Windows begin a file with a mark.
            keys = _digests(parse_list(self._file.read_text(encoding="utf-8-sig")), setting)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise StartupError(f"{setting} cannot be read ({reason}). Mount it, or let the service read it.") from None
        if not keys:
            raise StartupError(f"{setting} holds no key. Write one a line.")
        return keys


def session_signer(key: bytes) -> TimestampSigner:
    """Signs sessions of the page. key: SHA-256 of an API key."""
    return TimestampSigner(key, salt=SESSION, key_derivation="hmac", digest_method=hashlib.sha256)


def _is_signed(token: str, key: bytes) -> bool:
    try:
        return session_signer(key).unsign(token, max_age=SESSION_S) == SESSION
    except BadSignature:
        return False


def _digests(keys: Iterable[str], source: str) -> frozenset[bytes]:
    keys = list(keys)
    if not all(re.fullmatch(rf"[!-~]{{{_MIN_KEY_LENGTH},}}", key) for key in keys):
        raise StartupError(f"A key in {source} is too weak or badly spelt. Every key needs {_SPELLING}.")
    return frozenset(hashlib.sha256(key.encode()).digest() for key in keys)
