'use strict';

// Loads the addon that was built for this platform.

const { existsSync, readFileSync } = require('node:fs');
const { createRequire } = require('node:module');
const { join, resolve } = require('node:path');
const target = require('./target');

/** Names the binary, where a bundler or a packager has put it elsewhere. */
const VARIABLE = 'ETCD_LEADER_BINARY';
const folder = join(__dirname, '..');
const file = process.env[VARIABLE] ? resolve(process.env[VARIABLE]) : join(folder, target.fileName());

/** Whether this code lies where the package has it. A bundler puts it into a file of the program's. */
function isInPackage() {
  try {
    return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).name === 'etcd-leader';
  } catch {
    return false;
  }
}

function load() {
  if (!existsSync(file) && process.env[VARIABLE]) throw new Error(`${VARIABLE} is ${file}, and there is no such file`);
  if (!existsSync(file) && !isInPackage()) {
    throw new Error(
      "etcd-leader's binary is not beside this code: a bundler has left it out. Keep the package out of the bundle (esbuild and " +
        "ncc: --external etcd-leader; webpack: externals: { 'etcd-leader': 'commonjs etcd-leader' }; Next.js: " +
        `serverExternalPackages: ['etcd-leader']), or name the file ${target.fileName()} in the variable ${VARIABLE}.`,
    );
  }
  if (!existsSync(file)) {
    throw new Error(
      `etcd-leader has no binary for ${target.words()} in this package. Build one where Rust is installed: ` +
        'in the source of etcd-leader, `npm install` in the folder node; `npm pack` there makes a package with it.',
    );
  }
  try {
    // A bundler would look for what `require` is given.
    return createRequire(file)(file);
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
