"""The paths of recordings: text that names one wherever it is read, and the file system that it lies on."""

import os
import re
from urllib.parse import quote, unquote_to_bytes, urlsplit

import pyarrow.fs

# Those that Arrow reads by itself; others come from fsspec.
_ARROW_SCHEMES = ("s3", "gs", "gcs")
_FILE = "file://"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
WEB_SCHEMES = ("http", "https")


def scheme(path: str) -> str:
    """The scheme of a URL, such as s3; empty for a path of this machine. The rest of the URL may be no valid one."""
    found = _SCHEME.match(path)
    return found[1].lower() if found else ""


def is_local(path: str) -> bool:
    """Whether the path is one of the machine that reads it."""
    return scheme(path) in ("", "file")


def portable(path: str | os.PathLike[str]) -> str:
    """An absolute path as text, which a table takes: of a name that is not in UTF-8, a URL with escaped bytes."""
    absolute = _absolute(os.fspath(path))
    try:
        absolute.encode()
    except UnicodeEncodeError:
        return _FILE + quote(os.fsencode(absolute))
    return absolute


def _absolute(path: str) -> str:
    """An absolute path without `..`, of what the operating system opens: behind a link, `..` is the folder above its
    target."""
    place = os.sep if os.path.isabs(path) else os.getcwd()
    for name in path.split(os.sep):
        if name == os.pardir:
            place = os.path.dirname(os.path.realpath(place) if os.path.islink(place) else place)
        elif name not in ("", os.curdir):
            place = os.path.join(place, name)
    return place


def escaped(url: str) -> str:
    """A URL as text, which a table takes: bytes of it that are not in UTF-8 are escaped, as its server expects them."""
    return "".join(quote(os.fsencode(letter)) if "\udc80" <= letter <= "\udcff" else letter for letter in url)


def local(path: str) -> str:
    """The path that the operating system opens, of one that `is_local`."""
    if not path.lower().startswith(_FILE):
        return path
    named = path[len(_FILE) :]
    if named.startswith("localhost/"):
        named = named.removeprefix("localhost")
    return os.fsdecode(unquote_to_bytes(named))


def root(url: str, path: str) -> str:
    """What stands before each path on the file system of a URL. path: of the URL itself on it.

    A bucket's name is a part of its paths; the host of ftp, sftp, smb or webhdfs is not.
    """
    parts = urlsplit(url)
    names = (parts.netloc, parts.netloc.partition("@")[0])
    # A server's first folder may be called as the server is.
    is_in_path = path.lstrip("/").startswith(names) and path.strip("/") != parts.path.strip("/")
    return f"{parts.scheme}://" if is_in_path else f"{parts.scheme}://{parts.netloc}"


def file_system(url: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """The file system of a URL, and the path on it. Raises OSError, ImportError and ValueError."""
    parts = urlsplit(url)
    if scheme(url) in _ARROW_SCHEMES:
        # By the bucket alone, as a key may hold characters that no URL does.
        root, _ = pyarrow.fs.FileSystem.from_uri(f"{parts.scheme}://{parts.netloc}")
        return root, url.partition("://")[2]
    import fsspec

    system, path = fsspec.core.url_to_fs(url)
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(system)), path
