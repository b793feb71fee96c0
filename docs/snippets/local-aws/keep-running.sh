cargo demo --keep-running --port 4566
