# SIMULATED: entry point of a virtual Spark's hardware; the work is in the package beside it.
"""hardware.py power-on | boot | follow | ibdev2netdev [-v]"""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    command, rest = (arguments or [""])[0], arguments[1:]
    # Imported late: ibdev2netdev must not pay for what the daemon needs.
    if command == "ibdev2netdev":
        from virtual_spark import ibdev2netdev

        return ibdev2netdev.main(rest)
    if command == "follow":
        from virtual_spark import follow

        return follow.main()
    if command in ("boot", "power-on"):
        from virtual_spark import boot

        return boot.boot() if command == "boot" else boot.power_on()
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
