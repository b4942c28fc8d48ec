'use strict';

// Builds the addon for this platform from the sources around this folder: `npm install` and `npm pack` here run it.
// Packages hold what it has built, and not this file. Arguments go to `cargo build`, which builds other packages with it.

const { execFileSync } = require('node:child_process');
const { copyFileSync, renameSync } = require('node:fs');
const { join } = require('node:path');
const { fileName, words } = require('./lib/target');

const root = join(__dirname, '..');
const LIBRARIES = { darwin: 'libetcd_leader_node.dylib', win32: 'etcd_leader_node.dll' };
const library = LIBRARIES[process.platform] ?? 'libetcd_leader_node.so';

function cargo(args, stdout) {
  try {
    return execFileSync('cargo', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', stdout, 'inherit'], maxBuffer: 1 << 28 });
  } catch (error) {
    if (error.code !== 'ENOENT') process.exit(error.status ?? 1);
    console.error('etcd-leader is built from source here, and cargo is missing: install Rust 1.91 or later, on Debian with apt-get install cargo-web');
    return process.exit(1);
  }
}

const metadata = JSON.parse(cargo(['metadata', '--format-version=1', '--no-deps', '--locked'], 'pipe'));
console.error(`building etcd-leader for ${words()}`);
cargo(['build', '--quiet', '--release', '--locked', '-p', 'etcd-leader-node', ...process.argv.slice(2)], 'inherit');
const built = join(__dirname, fileName());
// By rename: a process that has the old one loaded keeps it.
copyFileSync(join(metadata.target_directory, 'release', library), `${built}.new`);
renameSync(`${built}.new`, built);
copyFileSync(join(root, 'LICENSE'), join(__dirname, 'LICENSE'));
