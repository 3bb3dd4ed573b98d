"""Keys that the application of these tests knows, and one that it does not."""

from tests.support.audio_files import encode, sweep

KEY = "key-one-0123456789"
OTHER = "key-two-0123456789"
WRONG = "key-one-0123456780"
MP3 = encode(sweep(1.0), "mp3")


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
