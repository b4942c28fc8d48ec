// A server with many workers, of which exactly one runs the cron job. At the top of the repository:
//
//     make node
//     node examples/node/cluster.js http://127.0.0.1:2379 /jobs/cron 4
//
// The last argument is the number of workers. All workers of all hosts campaign. When the one that runs the job dies,
// another takes over; the primary starts a new worker in its place.
'use strict';

const cluster = require('node:cluster');
const os = require('node:os');
const etcdLeader = require('etcd-leader');

const EVERY_MS = 500;
const [endpoint, key, workers = '4'] = process.argv.slice(2);
if (!key) {
  console.error('usage: node cluster.js endpoint key [workers]');
  process.exit(2);
}

if (cluster.isPrimary) {
  let isStopping = false;
  for (let at = 0; at < Number(workers); at += 1) cluster.fork();
  cluster.on('exit', (worker) => {
    console.log(`worker ${worker.process.pid} is gone`);
    if (!isStopping) cluster.fork();
  });
  const stop = (signal) => {
    isStopping = true;
    for (const worker of Object.values(cluster.workers)) worker.kill(signal);
  };
  process.once('SIGINT', () => stop('SIGINT'));
  process.once('SIGTERM', () => stop('SIGTERM'));
} else {
  // The server would be here.
  const name = `${os.hostname()}-${process.pid}`;
  const election = etcdLeader(endpoint, key, name, 2);
  let timer;
  election.on('elected', (token) => {
    timer = setInterval(() => {
      // Asked at the last moment: this process may have slept since it was elected.
      if (election.token() === token) console.log(`worker ${process.pid} runs the job, token ${token}`);
    }, EVERY_MS);
  });
  election.on('unelected', () => clearInterval(timer));
  election.on('retrying', (error) => console.error(error.message));
  election.on('error', (error) => {
    throw error;
  });
  election.start();
  const stop = () => {
    election.stop();
    election.stopped().finally(() => process.connected && process.disconnect());
  };
  // Not once: on Ctrl-C a worker hears of it from the terminal and from the primary, and the second signal would kill it.
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
}
