import os

number = 0
while True:
    os.mkdir(str(number))
    number += 1
