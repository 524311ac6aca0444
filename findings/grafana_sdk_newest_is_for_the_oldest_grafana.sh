#!/usr/bin/env bash
# grafana-foundation-sdk: what pip installs without a version is made for the oldest Grafana that it supports.
#
# Package: grafana-foundation-sdk==1769699998!10.1.0 and its siblings of the same day, from PyPI.
# Expected: pip install grafana-foundation-sdk brings the types and builders of the newest Grafana, 11.6.
# Seen: those of Grafana 10.1. The version is EPOCH!GRAFANA, the epoch is a time in seconds, and the build for each Grafana
#   of one release is published some seconds after the last, the oldest Grafana at the end: by PEP 440 that is the newest.
#   A range such as >=11 does not help, since every version of an epoch is greater than 11.
# What follows: pin epoch and version, grafana-foundation-sdk==1769699379!11.6.0; an update is a search for both by hand.
set -eu

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"

schema_of() { # $1: what pip is asked for; prints the version, and the schema of a dashboard that it makes
  "$scratch/venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall "$1" 2>"$scratch/pip.log" \
    || { cat "$scratch/pip.log" >&2; exit 1; }
  "$scratch/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from grafana_foundation_sdk.builders.dashboard import Dashboard

print(version("grafana-foundation-sdk"), Dashboard("A title").build().schema_version)
PYTHON
}

newest=$(schema_of grafana-foundation-sdk)
ranged=$(schema_of 'grafana-foundation-sdk>=11')
pinned=$(schema_of 'grafana-foundation-sdk==1769699379!11.6.0')
echo "version and schema of a dashboard: without a version $newest, with >=11 $ranged, pinned $pinned"
case "$newest|$ranged" in
  *'!10.1.0 '*'|'*'!10.1.0 '*) ;;
  *) echo "the behaviour changed" >&2; exit 1 ;;
esac
[ "${pinned#*!}" = "11.6.0 41" ] || { echo "the behaviour changed" >&2; exit 1; }
