"""`irchroma verify`: whether a recording of evidence is as it was recorded."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from irchroma.launch.measured import show_json, words_of
from irchroma.launch.run.evidence import own_key_file
from irchroma.stream.sinks.evidence.signing import Signer, fingerprint, read_public
from irchroma.stream.sinks.evidence.verification import verify

EXAMPLE = """irchroma verify night.mkv --key evidence-key.pub.pem
  (made by: irchroma run rtsp://camera/stream --to night.mkv --evidence)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="what run --evidence has recorded")
    add("--key", type=Path, metavar="PUB", help="the public key that must have signed it, PEM; without, any")
    add("--json", type=Path, metavar="F", help="what was found, all of it; - for standard output")


def run(args: argparse.Namespace) -> int:
    """One line; 0 only where all is whole."""
    public = read_public(args.key) if args.key is not None else None
    report = verify(args.file, public)
    whose = ""
    if public is None and report.key:
        own = own_key_file()
        mine = own.is_file() and fingerprint(Signer.read(own).public) == report.key
        whose = " (this machine's own)" if mine else " (whose that is only --key can tell)"
    if args.json is not None:
        show_json(args.json, json.dumps({"whole": report.whole, **asdict(report)}, indent=2) + "\n")
    print(report.line + whose, file=words_of(args.json))
    return 0 if report.whole else 1
