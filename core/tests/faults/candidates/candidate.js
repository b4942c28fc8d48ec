// A candidate of the fault suite in Node.js, as candidate.c beside it: what it says, and what the register is told, is
// described in ../reports.rs.
//
//     node candidate.js honest register api endpoints key name ttl_s
'use strict';

const { writeSync } = require('node:fs');
const { connect } = require('node:net');
const etcdLeader = require('etcd-leader');

const [judge, register, api, endpoints, key, name, ttl] = process.argv.slice(2);
if (judge !== 'honest' || ttl === undefined) {
  console.error('usage: candidate.js honest register api endpoints key name ttl_s');
  process.exit(2);
}

const now = () => process.hrtime.bigint();
// Not through a stream: what is said has been said when the process is killed.
const say = (words) => writeSync(1, `${words}\n`);
const tell = (words) => say(`E ${now()} ${words}`);

const { FAULTS_USER: username, FAULTS_PASSWORD: password, FAULTS_CA: caFile, FAULTS_WORK_MS: work } = process.env;
const connection = {
  endpoints: endpoints.split(','),
  api,
  ...(username && { username, password }),
  ...(caFile && { tls: { caFile } }),
};
const election = etcdLeader(connection, key, name, ttl);
const claim = () => (election.isLeader() ? (election.token() ?? 0) : 0);

election.on('elected', (token) => tell(`elected ${token}`));
election.on('unelected', (reason) => tell(`unelected ${reason.code}`));
election.on('leader', (leader) => tell(`leader ${leader}`));
election.on('leaderless', () => tell('leader '));
election.on('retrying', (error) => tell(`retrying ${error.code} ${error.message}`));
election.on('error', (error) => {
  tell(`error ${error.code} ${error.message}`);
  process.exitCode = 1;
});

const sampler = setInterval(() => {
  const before = now();
  const token = claim();
  say(`S ${before} ${now()} ${token}`);
}, 20);

const line = connect(register, () => line.write(`${name}\n`));
function write() {
  if (line.destroyed) return;
  const before = now();
  const token = claim();
  const after = now();
  if (token === 0) setTimeout(write, 1);
  else if (work) setTimeout(() => line.write(`${before} ${after} ${token}\n`), Number(work));
  else line.write(`${before} ${after} ${token}\n`);
}
line.on('data', write);
line.on('connect', write);
line.on('error', () => {});

process.once('SIGTERM', () => {
  election.stop().stopped().finally(() => {
    clearInterval(sampler);
    line.destroy();
  });
});
election.start();
