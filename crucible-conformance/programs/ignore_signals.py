import os
import signal
import time

for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
print("ignoring all signals", flush=True)
while True:
    time.sleep(1000)
