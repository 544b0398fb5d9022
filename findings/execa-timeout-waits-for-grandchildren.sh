#!/usr/bin/env bash
# execa 9.6.0 (npm), node 20: the option `timeout` does not bound the time of a call.
#
# Expected: with `timeout: 500` the promise settles after about 0.5 s.
# Seen: execa signals the direct child only, and the promise settles when the output pipes close. A grandchild that
# inherited the pipes keeps the promise pending: 4 s here, for as long as it runs. The error then says "timed out after
# 500 milliseconds" beside `durationMs` above 4000. With `stdout` and `stderr` ignored the same call settles at once.
# Consequence: a harness that counts on `timeout` waits for every background process of the program.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund execa@9.6.0 >/dev/null
cat >probe.mjs <<'JS'
import { execa } from 'execa';

const argv = ['sh', ['-c', 'sleep 4 & wait']];
const measure = async (options) => {
    const begin = Date.now();
    const error = await execa(...argv, { timeout: 500, ...options }).catch((error) => error);
    return { elapsed: Date.now() - begin, timedOut: error.timedOut, signal: error.signal };
};
const piped = await measure({});
const ignored = await measure({ stdout: 'ignore', stderr: 'ignore' });
console.log('pipes:  ', JSON.stringify(piped));
console.log('ignored:', JSON.stringify(ignored));
const unchanged = piped.timedOut && piped.elapsed > 3500 && ignored.timedOut && ignored.elapsed < 2500;
console.log(unchanged ? 'unchanged: a grandchild delays the timeout' : 'CHANGED');
process.exit(unchanged ? 0 : 1);
JS
node probe.mjs
