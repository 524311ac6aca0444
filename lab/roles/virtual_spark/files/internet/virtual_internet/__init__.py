# SIMULATED: part of the lab's stand-in for the internet.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's "internet": one host beside the virtual Sparks, made of the Python standard library only.

Simulated: a Hugging Face hub (`hub.py`, with its content delivery on a second port, as the real one has it on a
second host). Real: the container registry, Debian's docker-registry, behind a small TLS proxy (`registry_proxy.py`).
An apt repository (`packages.py`), signed with the lab's own key, offers packages of the lab's own making.
They count what they sent, to whom (`ledger.py`), and fail on request (`faults.py`, through `control.py`).

    python3 -m virtual_internet --hub-port 80 --cdn-port 8080 --control-port 9000 --root /srv/virtual-internet \
        --registry-tls-port 443 --tls-cert F --tls-key F --registry-upstream 127.0.0.1:5000
    python3 -m virtual_internet.seed --root /srv/virtual-internet --repo lab/model-200m --size 200M
"""
