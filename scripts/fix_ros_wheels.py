"""Point the ROS wheels' exported CMake files at this machine's Python headers.

The wheels name the headers of the machine that built them (``/opt/python/…``), so that no message
package would compile. Every such path is rewritten to this interpreter's. Running it again
changes nothing.
"""

import re
import sys
import sysconfig
from pathlib import Path

import numpy

FOREIGN = {
    re.compile(r"/opt/python/[^;\" )]*?/numpy/_core/include"): numpy.get_include(),
    re.compile(r"/opt/python/[^;\" )]*?/include/python3\.\d+"): sysconfig.get_paths()["include"],
    # Needed only to link C++ against a library that no package here uses.
    re.compile(r"/usr/lib64/libtinyxml2\.so;?"): "",
}


def main() -> None:
    """Rewrite the files below the running environment and say how many changed."""
    prefix = Path(sys.prefix)
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        sys.exit("Python.h is missing: install python3-dev (Debian, Ubuntu) and run this again")
    changed = 0
    for pattern in ("share/*/cmake/*.cmake", "lib/cmake/*/*.cmake"):
        for path in prefix.glob(pattern):
            old = path.read_text()
            new = old
            for foreign, here in FOREIGN.items():
                new = foreign.sub(here, new)
            if new != old:
                path.write_text(new)
                changed += 1
    print(f"ROS wheels: {changed} CMake files now name this machine's headers")


if __name__ == "__main__":
    main()
