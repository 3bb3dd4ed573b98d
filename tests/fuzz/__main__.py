"""`python -m tests.fuzz --mutations 10000`: mutated files and generated headers; exits with 1 and keeps the files when
one of them gets anything but an answer."""

import argparse
import hashlib
import logging
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.ears import Ears, ears, hear_all
from tests.fuzz.headers import HEADERS
from tests.fuzz.mutations import mutants

_AT_ONCE = 4
_POST_EVERY = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_000, help="mutated files")
    parser.add_argument("--headers", type=int, default=2_000, help="generated headers")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations")
    parser.add_argument("--findings", type=Path, default=Path("runs/fuzz"), help="where files are kept that did harm")
    arguments = parser.parse_args()
    # Every finding is told once, below.
    logging.disable(logging.CRITICAL)
    started = time.monotonic()
    with ears(processes=2) as (made, runner):
        files = mutants(arguments.mutations, arguments.seed)
        runner.run(hear_all(made, files, at_once=_AT_ONCE, post_every=_POST_EVERY))

        @settings(
            max_examples=arguments.headers,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(HEADERS)
        def headers(data: bytes) -> None:
            runner.run(made.decode("header", data))

        headers()
    _report(made, time.monotonic() - started, arguments.findings)
    return int(bool(made.findings.bad))


def _report(made: Ears, elapsed_s: float, folder: Path) -> None:
    findings = made.findings
    lines = [f"{findings.outcomes.total()} files in {elapsed_s:.0f} s, {findings.decoders_lost} decoders lost"]
    lines += [f"  {count:6d}  {outcome}" for outcome, count in sorted(findings.outcomes.items())]
    lines += [f"{len(findings.bad)} findings"]
    for what, data in findings.bad:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / hashlib.sha256(data).hexdigest()[:16]
        path.write_bytes(data)
        lines.append(f"  {path}: {what[:300]}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
