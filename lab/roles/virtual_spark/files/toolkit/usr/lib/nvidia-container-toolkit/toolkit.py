# SIMULATED: entry point of a virtual Spark's container toolkit; the work is in the package beside it.
"""toolkit.py runtime | hook | ctk ARGUMENTS"""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    command, rest = (arguments or [""])[0], arguments[1:]
    # Imported late: the runtime is started several times for every container.
    if command == "runtime":
        from nvidia_toolkit import runtime

        return runtime.main(rest)
    if command == "hook":
        from nvidia_toolkit import hook

        return hook.main(rest)
    if command == "ctk":
        from nvidia_toolkit import ctk

        return ctk.main(rest)
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
