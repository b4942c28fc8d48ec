// npm etcd-leader 0.0.1 of 2015, on API v2: see README.md. `make bench` holds our own candidates on v2 against it.
'use strict';

// node-etcd loads a native module for its *Sync calls, which the original does not make; here nothing is compiled.
const deasync = require.resolve('deasync');
require.cache[deasync] = { id: deasync, filename: deasync, loaded: true, exports: {} };

const Etcd = require('node-etcd');
const etcdLeader = require('original');
const lines = require('./lines');

let etcd;

lines((key, name, hear) => {
  etcd ??= new Etcd([process.argv[2]]);
  const member = etcdLeader(etcd, key, name, 10);
  member.on('elected', () => hear('elected'));
  member.on('leader', (leader) => hear('leader', leader));
  member.on('error', (error) => { throw error; });
  member.start();
  return member;
});
