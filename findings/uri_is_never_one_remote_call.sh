#!/usr/bin/env bash
# ansible.builtin.uri: pipelining is on, no file is transferred, and a request takes three remote calls or four instead of one.
#
# Package: ansible-core==2.19.14.
# Expected: with pipelining, a task of a Python module is one remote call, as it is for ansible.builtin.get_url and others;
#   uri with neither src nor a file in its body has nothing to transfer.
# Seen: three, of which one runs the module, by pipelining: a temporary directory is made, and is removed at the end; and with the
#   default remote_tmp, which begins with ~, the home directory is asked for, too. The action plugin of uri says of itself that it
#   transfers files (TRANSFERS_FILES), whatever it is given.
# What follows: a second or two more for each request over ssh; an action plugin that runs the module ansible.legacy.uri itself
#   makes one call.
set -eu

scratch=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check ansible-core==2.19.14 2>"$scratch/pip.log" \
  || { cat "$scratch/pip.log" >&2; exit 1; }
touch "$scratch/ansible.cfg"
export ANSIBLE_CONFIG="$scratch/ansible.cfg" ANSIBLE_HOME="$scratch/home" ANSIBLE_REMOTE_TMP="$scratch/remote" ANSIBLE_NOCOLOR=1 ANSIBLE_LOCALHOST_WARNING=0 ANSIBLE_PIPELINING=1
"$scratch/venv/bin/ansible" --version | sed -n 1p

mkdir "$scratch/served"
echo '{}' >"$scratch/served/answer.json"
python3 -u -m http.server 0 --bind 127.0.0.1 --directory "$scratch/served" >"$scratch/server.log" 2>&1 &
server=$!
for _ in $(seq 50); do
  port=$(sed -n 's/.*port \([0-9]*\).*/\1/p' "$scratch/server.log")
  [ -z "$port" ] || break
  sleep 0.1
done

calls() { # $1: module, $2: arguments; prints how many commands Ansible runs on the host, and transfers
  "$scratch/venv/bin/ansible" localhost -i localhost, -c local -vvv -e ansible_python_interpreter="$scratch/venv/bin/python" \
    -m "$1" -a "$2" >"$scratch/said" 2>&1 \
    || { cat "$scratch/said" >&2; exit 1; }
  grep -cE '^<localhost> (EXEC|PUT) ' "$scratch/said"
}

own=$(calls ansible.builtin.uri "url=http://127.0.0.1:$port/answer.json")
grep -E '^<localhost> (EXEC|PUT) ' "$scratch/said" | cut -c1-110
other=$(calls ansible.builtin.get_url "url=http://127.0.0.1:$port/answer.json dest=$scratch/got.json")
echo "remote calls: uri $own, get_url $other"
[ "$own" = 3 ] && [ "$other" = 1 ] || { echo "the behaviour changed" >&2; exit 1; }
