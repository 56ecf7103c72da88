"""Child process of the embedded broker: serves one rumqttd configuration file until it is killed."""

import logging
import resource
import sys

from iotcore.iotcore import IotCoreBroker

NOTICE = "embedded MQTT broker, not for production: no ACL, no persistence; local processes are trusted"


# Below the connection limit of the configuration, see there.
_FILES_MAX = 16_384


def main() -> None:
    """The only argument is the configuration file."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # rumqttd routes inside error spans: each packet would be logged as an error.
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, _FILES_MAX) if hard >= 0 else _FILES_MAX, hard))
    broker = IotCoreBroker(config_path=sys.argv[1])
    logging.getLogger("plantprint.broker").warning("%s (%s)", NOTICE, ", ".join(broker.listeners()))
    broker.run_forever()


if __name__ == "__main__":
    main()
