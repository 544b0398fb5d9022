import threading
import time

threads = []
try:
    while True:
        thread = threading.Thread(target=time.sleep, args=(1000,), daemon=True)
        thread.start()
        threads.append(thread)
except RuntimeError:
    print(len(threads), "threads", flush=True)
