'use strict';

// The platform that a binary is for, as its file is named: etcd-leader.linux-x64-gnu.node.

const fs = require('node:fs');

/**
 * The C library: a binary for one does not load with the other. The program that runs us names the one that it was made
 * for where it begins. (A report of Node.js knows too, but asks for the names of all peers and waits for all workers.)
 */
function libc() {
  if (process.platform !== 'linux') return '';
  const head = Buffer.alloc(4096);
  const program = fs.openSync(process.execPath, 'r');
  fs.readSync(program, head);
  fs.closeSync(program);
  return head.includes('/ld-musl-') ? 'musl' : 'gnu';
}

function parts() {
  return [process.platform, process.arch, libc()].filter(Boolean);
}

const fileName = () => `etcd-leader.${parts().join('-')}.node`;

/** For people. */
function words() {
  const [platform, arch, library] = parts();
  const libraries = { gnu: ' with glibc', musl: ' with musl' };
  return `${platform} ${arch}${libraries[library] ?? ''}`;
}

module.exports = { fileName, words };
