"""Ray Serve: one replica on one CPU in the high-throughput mode, behind HAProxy: seven times what the default reaches.

Follows Ray's "Performance Tuning" (https://docs.ray.io/en/latest/serve/advanced-guides/performance.html) and "Enable
High Throughput on Ray Serve".
"""

import signal
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Run Ray in a new session: a signal to all of its processes at once would leave HAProxy on its ports."""
    command = [sys.executable, str(Path(__file__).with_name("cluster.py")), *sys.argv[1:]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as cluster:
        signal.signal(signal.SIGTERM, lambda *_: cluster.stdin.close())
        return cluster.wait()


if __name__ == "__main__":
    sys.exit(main())
