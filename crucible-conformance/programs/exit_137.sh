# 128 + 9: what a shell says of a child that was killed. It means nothing here.
echo "Out of memory: Killed process 7" >&2
exit 137
