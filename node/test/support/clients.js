'use strict';

// The clients of node-etcd that people have, each made in its own way.

const { createRequire } = require('node:module');

const VERSIONS = ['4.0.2', '4.2.1', '5.0.3', '5.1.0', '6.0.2', '7.0.0'];

/** It loads a native module for its *Sync calls, which nobody makes here; nothing is compiled. */
function load(version) {
  const main = require.resolve(`node-etcd-${version}`);
  const deasync = createRequire(main).resolve('deasync');
  require.cache[deasync] ??= { id: deasync, filename: deasync, loaded: true, exports: {} };
  return require(main);
}

/** One version of node-etcd. */
class Version {
  constructor(version) {
    this.version = version;
    this.isFour = version.startsWith('4.');
    this.Etcd = load(version);
  }

  /** How this version keeps a host: the first ones without a scheme. */
  host(url) {
    return this.isFour ? url.replace(/^https?:\/\//, '') : url;
  }

  /** A client as its README makes one; `options` are TLS options in version 4, and all that requests take later. */
  client(urls, options) {
    return new this.Etcd([urls].flat().map((url) => this.host(url)), options);
  }
}

/** What the client itself finds in an election: the names, the leader first. */
function namesSeenBy(client, key) {
  return new Promise((resolve, reject) => {
    client.get(key, { recursive: true }, (error, body) => {
      if (error) reject(error);
      else resolve((body.node?.nodes ?? []).sort((one, other) => one.createdIndex - other.createdIndex).map(({ value }) => value));
    });
  });
}

module.exports = { ALL: VERSIONS.map((version) => new Version(version)), namesSeenBy };
