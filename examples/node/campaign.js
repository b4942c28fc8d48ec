// A candidate that says what happens to it, until Ctrl-C. At the top of the repository:
//
//     make node
//     node examples/node/campaign.js http://127.0.0.1:2379 /jobs/nightly host-1
//
// Start it three times with different names: one leads. End that one with Ctrl-C or kill -9: the next one leads.
// A fourth argument is the ttl in seconds; give several members of etcd with commas between them. `--v2` before the first
// argument takes etcd's API v2 (etcd --enable-v2=true); all candidates must take the same API.
'use strict';

const etcdLeader = require('etcd-leader');

const args = process.argv.slice(2);
const api = args[0] === '--v2' ? 'v2' : 'v3';
if (api === 'v2') args.shift();
if (args.length < 3 || args.length > 4) {
  console.error('usage: node campaign.js [--v2] endpoint[,endpoint...] key name [ttl in seconds]');
  process.exit(2);
}
const [endpoints, key, name, ttl] = args;

let election;
try {
  election = etcdLeader({ endpoints: endpoints.split(','), api }, key, name, ttl);
} catch (mistake) {
  console.error(`campaign.js: ${mistake.message}`);
  process.exit(2);
}

election.on('elected', (token) => {
  // Start the leading work here.
  console.log(`${name}: elected, token ${token}`);
});
election.on('unelected', (reason) => {
  // End it here. After a stop the place is kept until this has returned; for work that ends later take lead().
  console.log(`${name}: unelected (${reason.code}): ${reason.message}`);
});
election.on('leader', (leader) => console.log(`${name}: the leader is ${leader}`));
election.on('leaderless', () => console.log(`${name}: the leader is not known`));
election.on('retrying', (error) => console.log(`${name}: retrying (${error.code}): ${error.message}`));
election.on('error', (error) => {
  console.log(`${name}: the end (${error.code}): ${error.message}`);
  process.exitCode = 1;
});

// The process ends by itself when the place is given up.
process.on('SIGINT', () => election.stop());
process.on('SIGTERM', () => election.stop());

election.start();
