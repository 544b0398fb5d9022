import os

child = os.fork()
if child == 0:
    block = bytearray(1 << 30)
    for at in range(0, len(block), 4096):
        block[at] = 1
    os._exit(0)
os.waitpid(child, 0)
print("the parent lives on", flush=True)
os._exit(5)
