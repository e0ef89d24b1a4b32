"""Puts its own process group under the warden, then becomes a program. A script, never imported.

    python -I -S shim.py FD PROGRAM [ARGUMENT …]

FD is the warden's pipe. It is held open until the program replaces this one, so the warden can't
see the pipe's end before it has read of this group: an owner that dies in between leaves nobody.
"""

import os
import sys


def main() -> None:
    """Register, then exec."""
    pipe = int(sys.argv[1])
    os.write(pipe, b"+%d\n" % os.getpid())
    os.set_inheritable(pipe, False)
    program = sys.argv[2]
    try:
        os.execvp(program, sys.argv[2:])
    except OSError as error:
        os.write(2, f"{program}: {error.strerror}\n".encode())
        os._exit(127)


if __name__ == "__main__":
    main()
