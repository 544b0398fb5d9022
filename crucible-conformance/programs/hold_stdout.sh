# A daemon that outlives its parent and keeps its standard output open.
setsid sh -c 'trap "" HUP TERM; sleep 1000; echo never' &
echo "the parent is done"
exit 7
