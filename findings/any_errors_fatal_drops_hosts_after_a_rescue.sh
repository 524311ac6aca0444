#!/usr/bin/env bash
# any_errors_fatal: a failure that an included file rescues ends the play for the hosts that did not include that file.
#
# Package: ansible-core==2.19.14.
# Expected: host b includes a file, fails in its block, and is rescued, so nothing has failed; the next task runs on a and b.
# Seen: the next task runs on b alone. Host a gets no task any more, no message says so, and the recap counts no failure;
#   only the exit status, 2, tells. Without any_errors_fatal, or where the block stands in the play itself (a is then in
#   the block, and only skips its tasks), both hosts go on.
# What follows: with any_errors_fatal, put the block where all hosts enter it, and the condition on the block or its tasks.
set -eu

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check ansible-core==2.19.14 2>"$scratch/pip.log" \
  || { cat "$scratch/pip.log" >&2; exit 1; }
export ANSIBLE_HOME="$scratch/home" ANSIBLE_NOCOLOR=1 ANSIBLE_LOCALHOST_WARNING=0
"$scratch/venv/bin/ansible" --version | sed -n 1p

cat >"$scratch/rescued.yml" <<'YAML'
- name: Fail and rescue
  block:
    - name: Fail
      ansible.builtin.assert: {that: false}
  rescue:
    - name: Rescue
      ansible.builtin.debug: {msg: rescued}
YAML

goes_on() { # $1: any_errors_fatal; prints the hosts that reach the last task, and the exit status
  cat >"$scratch/play.yml" <<YAML
- name: One of two hosts rescues its own failure
  hosts: all
  gather_facts: false
  any_errors_fatal: $1
  tasks:
    - name: Include on b alone
      ansible.builtin.include_tasks: rescued.yml
      when: inventory_hostname == 'b'
    - name: Go on
      ansible.builtin.debug: {msg: "reached by {{ inventory_hostname }}"}
YAML
  status=0
  "$scratch/venv/bin/ansible-playbook" -i a,b, -c local "$scratch/play.yml" >"$scratch/said" 2>&1 || status=$?
  grep -o 'reached by [ab]' "$scratch/said" | cut -d' ' -f3 | sort | tr -d '\n'
  echo " $status"
}

without=$(goes_on false)
with=$(goes_on true)
grep -A2 'PLAY RECAP' "$scratch/said"
echo "hosts that go on, and exit status: without any_errors_fatal $without, with $with"
[ "$without" = "ab 0" ] && [ "$with" = "b 2" ] || { echo "the behaviour changed" >&2; exit 1; }
