"""Debian's nginx as it comes, with one site of its own."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.support.processes import ROOT
from tests.support.service_process import free_port

MISSING = None if shutil.which("nginx") else "nginx is missing: apt-get install nginx-light"

# What Debian's /etc/nginx/nginx.conf says, and the paths that it would have as a service.
_CONFIG = """
pid {folder}/pid;
error_log {folder}/error.log;
daemon off;
master_process off;
events {{ worker_connections 768; }}
http {{
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    default_type application/octet-stream;
    access_log off;
    gzip on;
    {upstream}
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {site}
    }}
}}
"""


def documented(ports: Sequence[int]) -> tuple[str, str]:
    """The upstream and the location of docs/deployment.md, for replicas at these ports of loopback."""
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    location, upstream = re.findall(r"```nginx\n(.*?)```", text, re.S)
    again = re.search(r"`(proxy_next_upstream [^`]*)`", text)
    assert again
    servers = "".join(f"server 127.0.0.1:{port};" for port in ports)
    location = location.replace("http://127.0.0.1:8000/", "http://replicas/").replace("location /genre/", "location /")
    return re.sub(r"(?:\s*server 127\.0\.0\.1:\d+;)+", servers, upstream), location.replace("}", f"{again[1]} }}")


@contextmanager
def nginx(folder: Path, site: str, *, upstream: str = "") -> Iterator[str]:
    """An nginx with these lines in its server block, and an upstream block before it; yields its URL."""
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, port=port, site=site, upstream=upstream))
    process = subprocess.Popen(
        ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)],
        env={"PATH": os.environ["PATH"]},
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx2.get(f"{url}/livez")
                break
            except httpx2.TransportError:
                assert process.poll() is None, (folder / "error.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(60)
