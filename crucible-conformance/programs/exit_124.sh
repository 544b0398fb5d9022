# What timeout(1) exits with. It means nothing here.
echo "Killed"
exit 124
