import os

line = b"0123456789abcdef" * 4096
for _ in range(200 * 16):
    os.write(1, line)
os.write(1, b"the end")
