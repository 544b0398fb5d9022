# The exit code of timeout(1), which has no meaning here.
echo "Killed"
exit 124
