import errno
import os

try:
    with open("/tmp/full", "wb") as file:
        while True:
            file.write(b"x" * 65536)
except OSError as error:
    assert error.errno == errno.ENOSPC, error
os.remove("/tmp/full")
print("there was no space left")
