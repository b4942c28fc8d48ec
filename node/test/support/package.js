'use strict';

// The package as a user has it: packed here, installed in a folder of its own.

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');
const { fileName } = require('../../lib/target');
const { PATIENCE_MS } = require('./wait');

const NODE = path.join(__dirname, '../..');
const run = promisify(execFile);

const living = new Set();
process.on('exit', () => {
  for (const folder of living) fs.rmSync(folder, { recursive: true, force: true });
});
// Who is asked to end, by Ctrl-C or a timeout, ends in order: what was made is removed.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

/** A folder that is gone when this process ends. */
function temporaryFolder() {
  const folder = fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), `etcd-leader-package-${process.pid}-`));
  living.add(folder);
  return folder;
}

/** Surroundings for npm: nothing of the user's npm, nor of the one that may run us. `home` is a folder. */
function npmEnv(home, env = process.env) {
  const ours = Object.fromEntries(Object.entries(env).filter(([name]) => !/^npm_/i.test(name)));
  return { ...ours, HOME: home, npm_config_cache: path.join(home, '.npm'), npm_config_update_notifier: 'false' };
}

/** Surroundings in which there is what npm and these tests need, and no compiler of any kind. */
function bareEnv() {
  const folder = temporaryFolder();
  for (const program of ['node', 'npm', 'sh', 'setpriv', 'mkdir', 'cp']) {
    const found = process.env.PATH.split(path.delimiter).map((at) => path.join(at, program)).find((file) => fs.existsSync(file));
    if (!found) throw new Error(`${program} is not on PATH`);
    fs.symlinkSync(program === 'node' ? process.execPath : fs.realpathSync(found), path.join(folder, program));
  }
  return { ...process.env, PATH: folder };
}

/** The same with a cargo that has its target in `folder`, and builds by these lines of sh. */
function envWithCargo(folder, ...lines) {
  const env = bareEnv();
  const metadata = JSON.stringify({ target_directory: path.join(folder, 'target') });
  const script = ['#!/bin/sh', `[ "$1" = metadata ] && echo '${metadata}' && exit`, ...lines, ''].join('\n');
  fs.writeFileSync(path.join(env.PATH, 'cargo'), script, { mode: 0o755 });
  return env;
}

/**
 * `npm pack` of what is built: { tarball, files }, in `folder`. npm 9 runs `prepare` although it is told not to, and that
 * would build again, so the copy that is packed has an empty build.js. The package does not contain that file.
 */
async function pack(folder) {
  for (const file of [fileName(), 'LICENSE']) {
    if (!fs.existsSync(path.join(NODE, file))) throw new Error(`node/${file} is missing: run \`npm install\` in the folder node`);
  }
  const copy = path.join(folder, 'node');
  const unwanted = ['node_modules', 'test'].map((name) => path.join(NODE, name));
  fs.cpSync(NODE, copy, { recursive: true, filter: (source) => !unwanted.includes(source) });
  fs.writeFileSync(path.join(copy, 'build.js'), '');
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  const { stdout } = await run('npm', args, { cwd: copy, env: npmEnv(folder) });
  const [{ filename, files }] = JSON.parse(stdout);
  return { tarball: path.join(folder, filename), files: files.map((file) => file.path).sort() };
}

/** A program's folder that has the package in its node_modules, as `npm install <tarball>` leaves it there. */
async function installed({ env = process.env } = {}) {
  const home = temporaryFolder();
  const { tarball } = await pack(home);
  const folder = path.join(home, 'program');
  fs.mkdirSync(folder);
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "private": true }\n');
  const args = ['install', '--ignore-scripts', '--offline', '--no-audit', '--no-fund', tarball];
  await run('npm', args, { cwd: folder, env: npmEnv(home, env) });
  return folder;
}

/** Links packages of test/node_modules into a program's folder, each under its own name or another. */
function link(folder, packages) {
  for (const [name, source] of Object.entries(packages)) {
    const at = path.join(folder, 'node_modules', name);
    fs.mkdirSync(path.dirname(at), { recursive: true });
    fs.symlinkSync(path.join(__dirname, '../node_modules', source), at);
  }
}

/** How a child ended, and what it said: { code, signal, said, errors }. One that does not end is killed. */
async function outcome(child) {
  const timer = setTimeout(() => child.kill(), PATIENCE_MS);
  const { code, signal } = await child.ended;
  clearTimeout(timer);
  return { code, signal, said: child.said(), errors: child.errors };
}

module.exports = { NODE, bareEnv, envWithCargo, temporaryFolder, npmEnv, pack, installed, link, outcome, run };
