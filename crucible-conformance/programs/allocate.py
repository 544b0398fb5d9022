block = bytearray(1 << 30)
for at in range(0, len(block), 4096):
    block[at] = 1
print("survived")
