"""What can go wrong with the embedded parts: every message is complete text for the person at the terminal.

EmbeddedError
    UnsupportedPlatformError    the operating system cannot run the part
    InstanceError               the instance folder cannot be used
    ChildError                  a child process cannot be started
        PostgresError           the embedded PostgreSQL cannot be started
        BrokerError             the embedded MQTT broker cannot be started
"""

import sys


class EmbeddedError(Exception):
    """An embedded part cannot work; the message says why and what to do."""


class UnsupportedPlatformError(EmbeddedError):
    """The operating system cannot run the part."""


class InstanceError(EmbeddedError):
    """The instance folder cannot be used."""


class ChildError(EmbeddedError):
    """A child process cannot be started."""


class PostgresError(ChildError):
    """The embedded PostgreSQL cannot be started."""


class BrokerError(ChildError):
    """The embedded MQTT broker cannot be started."""


def require_posix(platform: str = sys.platform) -> None:
    """Refuse Windows, where neither file locks nor the stop signals work as needed."""
    if platform == "win32":
        raise UnsupportedPlatformError("plantprint run does not work on Windows. Use Linux, or WSL 2 on this computer.")


def require_linux(part: str, setting: str, platform: str = sys.platform) -> None:
    """Refuse an embedded part where the kernel cannot tie it to the life of its supervisor."""
    require_posix(platform)
    if platform != "linux":
        raise UnsupportedPlatformError(
            f"The embedded {part} runs on Linux only. Start one yourself and name it in {setting}."
        )
