"""API keys: sessions that are signed with them, keys that are refused, and the file that is followed."""

import asyncio
import hashlib
import logging
import os
import time
from pathlib import Path

import pytest

from service.auth.keys import SESSION, SESSION_S, KeyRing, session_signer
from service.errors import StartupError
from service.settings import Settings
from tests.service.auth.credentials import KEY, OTHER, WRONG


def test_a_session_is_bound_to_its_key_and_its_time() -> None:
    ring = KeyRing([KEY, OTHER], None)
    session = ring.session(KEY.encode())
    assert ring.accepts_session(session)
    assert not KeyRing([OTHER], None).accepts_session(session)
    page, made_at, signed = session.split(".")
    for forged in ("", ".", f"{page}.{made_at}x.{signed}", f"{page}.{made_at}", f"x.{made_at}.{signed}", "\udcff.é"):
        assert not ring.accepts_session(forged)


@pytest.mark.parametrize(("age_s", "valid"), [(SESSION_S + 5, False), (SESSION_S - 5, True), (0, True), (-60, False)])
def test_session_ends_and_does_not_outlast_a_clock_that_was_set_back(
    age_s: int, valid: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = session_signer(hashlib.sha256(KEY.encode()).digest())
    monkeypatch.setattr(signer, "get_timestamp", lambda: int(time.time()) - age_s)
    assert KeyRing([KEY], None).accepts_session(signer.sign(SESSION).decode()) is valid


@pytest.mark.parametrize(
    ("keys", "content", "words"),
    [
        ("short", None, "API_KEYS is too weak"),
        (KEY + "é", None, "API_KEYS is too weak or badly spelt"),
        ("two words of a key", None, "badly spelt"),
        ("", "", "holds no key"),
        ("", "\n , \n", "holds no key"),
        ("", "short", "API_KEYS_FILE is too weak"),
        ("", b"\xff\xfe\x00", "not text"),
        ("", "missing", "cannot be read"),
    ],
)
def test_keys_that_cannot_be_used_are_named_without_being_told(
    tmp_path: Path, keys: str, content: str | bytes | None, words: str
) -> None:
    file = tmp_path / "keys"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None and content != "missing":
        file.write_text(content)
    with pytest.raises(StartupError, match=words) as raised:
        KeyRing([keys] if keys else [], None if content is None else file)
    assert not keys or keys not in str(raised.value)
    assert str(file) not in str(raised.value)


def test_a_key_file_of_an_editor_on_windows_is_read(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(f"\ufeff{KEY}\r\n{OTHER}\r\n".encode())
    ring = KeyRing([], file)
    assert ring.accepts(KEY.encode())
    assert ring.accepts(OTHER.encode())


def test_the_key_ring_tells_no_key() -> None:
    ring = KeyRing([KEY], None)
    assert KEY not in repr(vars(ring))
    assert KEY not in repr(Settings(model_id="x", api_keys=KEY))


@pytest.mark.thorough
def test_key_file_is_reread_and_a_broken_one_keeps_the_old_keys(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n")
    ring = KeyRing([], file)

    async def until(accepted: str, refused: str) -> None:
        async with asyncio.timeout(20):
            while not ring.accepts(accepted.encode()) or ring.accepts(refused.encode()):
                await asyncio.sleep(0.05)

    async def rotate() -> None:
        watching = asyncio.create_task(ring.watch())
        # As Kubernetes does it: a link is turned to another file.
        (tmp_path / "new").write_text(OTHER)
        os.replace(tmp_path / "new", file)
        await until(OTHER, KEY)
        for broken in (b"", b"short", b"\xff"):
            file.write_bytes(broken)
            async with asyncio.timeout(20):
                before = len(caplog.records)
                while len(caplog.records) == before:
                    await asyncio.sleep(0.05)
            assert ring
            assert ring.accepts(OTHER.encode())
        file.unlink()
        file.write_text(f"{KEY},{OTHER}")
        await until(KEY, WRONG)
        watching.cancel()

    asyncio.run(rotate())
    assert "stay in force" in caplog.text
    assert KEY not in caplog.text
    assert OTHER not in caplog.text
    assert str(tmp_path) not in caplog.text
