"""Runs between fork and exec of every child: drops privileges, ties the child to its parent's life, then becomes it.

A script of its own rather than subprocess's `preexec_fn`, which runs Python in a forked copy of a process that may
have threads and can deadlock there. It imports nothing of ours and is started with `python -I -S`.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
EXIT_PARENT_GONE = 125
EXIT_CANNOT_EXECUTE = 127


def main() -> None:
    """Arguments: death signal, pid of the parent, uid and gid (-1 = keep), path of the program, its arguments."""
    death_signal, parent_pid, uid, gid = (int(text) for text in sys.argv[1:5])
    command = sys.argv[5:]
    # From here on no further import: as another user we may not be able to read Python's own files.
    libc = ctypes.CDLL(None)
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After setuid, which would clear it.
    if sys.platform == "linux" and libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        sys.exit("plantprint: the kernel refuses PR_SET_PDEATHSIG")
    # The parent may have died before the kernel knew that we want to hear of it.
    if os.getppid() != parent_pid:
        sys.exit(EXIT_PARENT_GONE)
    # An ignored signal would stay ignored in the program we become: Python ignores the first two, a shell that starts
    # something in the background the others.
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execv(command[0], command)  # noqa: S606  to become it is the point
    except OSError as error:
        sys.stderr.write(f"plantprint: cannot execute {command[0]}: {error.strerror}\n")
        sys.exit(EXIT_CANNOT_EXECUTE)


if __name__ == "__main__":
    main()
