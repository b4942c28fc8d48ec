// etcd-leader from Node.js: see README.md.
'use strict';

const etcdLeader = require('../../../../node');
const lines = require('./lines');

lines((key, name, hear) => {
  const election = etcdLeader(process.argv[2], key, name, 10);
  election.on('elected', () => hear('elected'));
  election.on('leader', (leader) => hear('leader', leader));
  election.on('error', (error) => { throw error; });
  election.start();
  return { isLeader: () => election.isLeader(), stop: () => election.stop() };
});
