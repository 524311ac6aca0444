#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_certificate
short_description: Create the certificate of an API gateway, and the authority that signs it
version_added: 0.1.0
description:
  - >-
    Creates an authority for this gateway alone, where there is none yet, and has it sign a certificate for O(names).
    Clients that trust the authority trust every certificate that is made later, so that the authority stays.
  - >-
    A certificate that is good for another O(renew_days), and for all O(names), stays as it is.
  - All is made on the host, by openssl; the keys are root's alone, and leave the host by nothing.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.gateway
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  names:
    description: The names and addresses that clients reach the gateway by.
    type: list
    elements: str
    required: true
  days:
    description: For how many days the certificate is good.
    type: int
    default: 397
  renew_days:
    description: A certificate that ends within so many days is made anew.
    type: int
    default: 30
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Create the certificate of the gateway
  sparkops.dgx_spark.gateway_certificate:
    names: [spark1, spark1.local, 192.168.1.21]
  become: true
"""

RETURN = r"""
authority:
  description: The certificate of the authority, in PEM, for clients to trust.
  returned: success
  type: str
names:
  description: What the certificate is for.
  returned: success
  type: list
  elements: str
  sample: [spark1, spark1.local, 192.168.1.21]
not_after:
  description: When it ends, in seconds since the epoch.
  returned: success
  type: int
  sample: 1830000000
"""

import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import instance_problem
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import certificate
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.layout import Layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError, write_atomically
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told

AUTHORITY = """[req]
distinguished_name = name
x509_extensions = authority
prompt = no
[name]
CN = {name}
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
LEAF = """[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
"""


class Maker:
    """Makes keys and certificates in a directory that goes afterwards."""

    def __init__(self, module: AnsibleModule, places: Layout, work: Path) -> None:
        self.module, self.places, self.work = module, places, work

    def openssl(self, *arguments: str) -> str:
        """Run openssl. Returns what it prints."""
        tool = self.module.get_bin_path("openssl", required=True)
        code, out, err = self.module.run_command([tool, *arguments], cwd=str(self.work))
        if code:
            raise FileError(f"openssl {arguments[0]} failed: {err.strip()[-300:]}")
        return str(out)

    def file(self, name: str, text: str = "") -> str:
        """Write a file of the work. Returns its path."""
        path = self.work / name
        if text:
            path.write_text(text, encoding="utf-8")
        return str(path)

    def key(self, name: str) -> str:
        """Make a key. Returns its path."""
        path = self.file(name)
        self.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
        return path

    def authority(self) -> None:
        """Make the authority, where there is none."""
        if Path(self.places.authority).is_file() and Path(self.places.authority_key).is_file():
            return
        key = self.key("ca.key")
        # With a part that nobody has had yet, since some clients take two authorities of one name for one.
        name = f"DGX Spark API {os.uname().nodename.partition('.')[0]} {secrets.token_hex(4)}"
        request, made = self.file("ca.cnf", AUTHORITY.format(name=name)), self.file("ca.crt")
        days = str(certificate.AUTHORITY_DAYS)
        self.openssl("req", "-x509", "-new", "-key", key, "-sha256", "-days", days, "-config", request, "-out", made)
        write_atomically(Path(self.places.authority_key), Path(key).read_bytes(), 0o600)
        write_atomically(Path(self.places.authority), Path(made).read_bytes(), 0o644)

    def leaf(self, names: list[str], days: int) -> None:
        """Make the certificate, and put it beside its key into one file, as HAProxy reads them."""
        key, made = self.key("leaf.key"), self.file("leaf.crt")
        config, extensions = (
            self.file("leaf.cnf", LEAF.format(name=names[0][:64])),
            self.file("leaf.ext", certificate.request(names)),
        )
        request = self.file("leaf.csr")
        self.openssl("req", "-new", "-key", key, "-sha256", "-config", config, "-out", request)
        authority = ("-CA", self.places.authority, "-CAkey", self.places.authority_key)
        serial = f"0x{secrets.token_hex(16)}"
        self.openssl(
            *("x509", "-req", "-in", request, *authority, "-set_serial", serial, "-sha256", "-days", str(days)),
            *("-extfile", extensions, "-out", made),
        )
        both = Path(made).read_bytes() + Path(key).read_bytes()
        write_atomically(Path(self.places.certificate), both, 0o600)


def found(module: AnsibleModule, places: Layout) -> dict[str, object]:
    """What the certificate that is there is for, and until when."""
    if not Path(places.certificate).is_file():
        return certificate.read("")
    tool = module.get_bin_path("openssl", required=True)
    asked = ["x509", "-noout", "-enddate", "-ext", "subjectAltName", "-in", places.certificate]
    return certificate.read(module.run_command([tool, *asked])[1])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "str", "default": ""},
            "names": {"type": "list", "elements": "str", "required": True},
            "days": {"type": "int", "default": certificate.LEAF_DAYS},
            "renew_days": {"type": "int", "default": certificate.RENEW_DAYS},
        },
        supports_check_mode=True,
    )
    asked, name = module.params, os.uname().nodename
    module.run_command_environ_update = {"LANG": "C", "LC_ALL": "C"}
    places, problem = Layout(asked["instance"]), instance_problem(asked["instance"])
    if problem or not asked["names"]:
        module.fail_json(msg=f"{name}: {problem or 'the list of names is empty'}. Nothing was changed.")
    whole = all(Path(path).is_file() for path in (places.authority, places.authority_key))
    work = ""
    os.umask(0o077)
    try:
        certificate.split(asked["names"])
        why = certificate.why_new(found(module, places), asked["names"], time.time(), asked["renew_days"])
        if (why or not whole) and not module.check_mode:
            Path(places.certificate).parent.mkdir(mode=0o700, exist_ok=True)
            work = tempfile.mkdtemp(dir=Path(places.certificate).parent)
            maker = Maker(module, places, Path(work))
            maker.authority()
            maker.leaf(asked["names"], asked["days"])
        about = found(module, places)
        authority = Path(places.authority).read_text(encoding="utf-8") if Path(places.authority).is_file() else ""
    except (certificate.CertificateError, FileError, OSError) as error:
        module.fail_json(msg=f"{name}: the certificate cannot be made: {told(error)}")
    finally:
        shutil.rmtree(work, ignore_errors=True) if work else None
    module.exit_json(
        changed=bool(why or not whole), authority=authority, names=about["names"], not_after=about["not_after"]
    )


if __name__ == "__main__":
    main()
