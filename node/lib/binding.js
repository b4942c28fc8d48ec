'use strict';

// Loads the addon that was built for this platform.

const { existsSync } = require('node:fs');
const { join } = require('node:path');
const target = require('./target');

const file = join(__dirname, '..', target.fileName());

function load() {
  if (!existsSync(file)) {
    throw new Error(
      `etcd-leader has no binary for ${target.words()} in this package. Build one where Rust is installed: ` +
        'in the source of etcd-leader, `npm install` in the folder node; `npm pack` there makes a package with it.',
    );
  }
  try {
    return require(file);
  } catch (cause) {
    throw new Error(`etcd-leader's binary for ${target.words()} cannot be loaded: ${cause.message}`, { cause });
  }
}

const native = load();

// Who leaves without a stop gives its places up all the same; a worker that is terminated does it without this. However
// often the module is loaded, once is enough.
const isTold = Symbol.for(`etcd-leader: ${file}`);
if (!process[isTold]) {
  process[isTold] = true;
  process.on('exit', () => native.leaveAll());
}

module.exports = native;
