#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Make one ctest directory out of the tests of several builds: `all-builds.py DIRECTORY PRESET:LABELS…`.

Asks each build for its tests as ctest would run them, and writes them again as PRESET/NAME.  LABELS is a regular
expression over labels; empty takes every test, `-` none."""
import json
import re
import subprocess
import sys
from pathlib import Path


def quote(text):
    """As a CMake bracket argument, in which nothing needs an escape."""
    marks = "=" * next(n for n in range(1, 100) if "]" + "=" * n + "]" not in text)
    return f"[{marks}[{text}]{marks}]"


def value_of(value):
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, list):
        return ";".join(map(str, value))
    return str(value)


def tests_of(preset, labels):
    top = Path(__file__).resolve().parents[1]
    directory = top / ("build" if preset == "default" else f"build-{preset}")
    shown = subprocess.run(["ctest", "--test-dir", directory, "--show-only=json-v1"], check=True, capture_output=True)
    tests = json.loads(shown.stdout)["tests"]
    for test in tests:
        test["properties"] = {entry["name"]: entry["value"] for entry in test.get("properties", [])}
    wanted = [test for test in tests
              if not labels or any(re.search(labels, label) for label in test["properties"].get("LABELS", []))]
    needed = {fixture for test in wanted for fixture in test["properties"].get("FIXTURES_REQUIRED", [])}
    for test in tests:
        properties = test["properties"]
        fixtures = properties.get("FIXTURES_SETUP", []) + properties.get("FIXTURES_CLEANUP", [])
        if test not in wanted and not needed.intersection(fixtures):
            continue
        if "command" not in test:
            sys.exit(f"{preset}/{test['name']}: has no program; was it built?")
        properties["LABELS"] = [preset, *properties.get("LABELS", [])]
        for name in ("DEPENDS", "FIXTURES_REQUIRED", "FIXTURES_SETUP", "FIXTURES_CLEANUP"):
            if name in properties:
                properties[name] = [f"{preset}/{other}" for other in properties[name]]
        yield f"{preset}/{test['name']}", test["command"], properties


def main():
    lines = []
    for item in sys.argv[2:]:
        preset, labels = item.split(":", 1)
        for name, command, properties in [] if labels == "-" else tests_of(preset, labels):
            lines.append(f"add_test({' '.join(map(quote, [name, *command]))})")
            pairs = " ".join(f"{key} {quote(value_of(value))}" for key, value in properties.items())
            lines.append(f"set_tests_properties({quote(name)} PROPERTIES {pairs})")
    Path(sys.argv[1], "CTestTestfile.cmake").write_text("\n".join(lines) + "\n")


main()
