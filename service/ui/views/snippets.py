"""The page's request as code, with the address under which the browser reached the page."""

import re

# Addresses that a browser may show before /ui. Anything else could be code once it is pasted.
_BASE = re.compile(r"https?://[A-Za-z0-9.\-_\[\]:]+(/[A-Za-z0-9.\-_~/%]*)?")

_FALLBACK = "http://localhost:8000"


def snippets(base: str) -> tuple[str, str, str]:
    """(curl, Python, JavaScript). base: the address of the service, such as https://host/prefix."""
    url = f"{(base if _BASE.fullmatch(base) else _FALLBACK).rstrip('/')}/classify?timeline=true"
    return (
        f"curl -F file=@song.mp3 '{url}'",
        f"""import httpx

with open("song.mp3", "rb") as file:
    response = httpx.post("{url}", files={{"file": file}}, timeout=60)
answer = response.raise_for_status().json()
print(answer["genre"], answer["confidence"])""",
        f"""// input: an <input type="file"> of your page, or new File([bytes], "song.mp3") in Node
const form = new FormData();
form.append("file", input.files[0]);
const response = await fetch("{url}", {{ method: "POST", body: form }});
if (!response.ok) throw new Error((await response.json()).detail);
const answer = await response.json();
console.log(answer.genre, answer.confidence);""",
    )
