# 128 + 9, the exit code of a shell after a killed child, which has no meaning here.
echo "Out of memory: Killed process 7" >&2
exit 137
