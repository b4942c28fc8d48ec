'use strict';

// The platform that a binary is for, as its file is named: etcd-leader.linux-x64-gnu.node.

const fs = require('node:fs');
const { join } = require('node:path');

/**
 * The C library: a binary for one does not load with the other. The program that runs us names the one that it was made
 * for where it begins. (A report of Node.js knows too, but asks for the names of all peers and waits for all workers.)
 * Where that may not be read (Node's permission model), the binary that is in `folder` says it.
 */
function libc(folder) {
  if (process.platform !== 'linux') return '';
  const head = Buffer.alloc(4096);
  try {
    const program = fs.openSync(process.execPath, 'r');
    fs.readSync(program, head);
    fs.closeSync(program);
  } catch {
    const isThere = (library) => fs.existsSync(join(folder, nameFor([process.platform, process.arch, library])));
    return !isThere('gnu') && isThere('musl') ? 'musl' : 'gnu';
  }
  return head.includes('/ld-musl-') ? 'musl' : 'gnu';
}

function parts(folder) {
  return [process.platform, process.arch, libc(folder)].filter(Boolean);
}

const nameFor = (all) => `etcd-leader.${all.join('-')}.node`;
/** The folder of the package. */
const HOME = join(__dirname, '..');
const fileName = (folder = HOME) => nameFor(parts(folder));

/** For people. */
function words(folder = HOME) {
  const [platform, arch, library] = parts(folder);
  const libraries = { gnu: ' with glibc', musl: ' with musl' };
  return `${platform} ${arch}${libraries[library] ?? ''}`;
}

module.exports = { fileName, words };
