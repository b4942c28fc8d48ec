'use strict';

// What a package holds, and what its user meets: an installation without tools, a platform without a binary, a build
// without cargo.

const { describe, test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const manifest = require('../package.json');
const { fileName } = require('../lib/target');
const { Cluster } = require('./support/etcd');
const { Child } = require('./support/child');
const { NODE, bareEnv, envWithCargo, installed, npmEnv, outcome, pack, run, temporaryFolder } = require('./support/package');

const LIB = ['alive', 'binding', 'connection', 'debug', 'errors', 'lead', 'options', 'run', 'signals', 'target', 'timers'];
const REFUSAL = /etcd-leader has no binary for (.+) in this package\. Build one where Rust is installed: .*`npm install` in the folder node/;

/** What `require()` throws in a process that is told a bit before. */
async function refusal(folder, before) {
  const code = `${before}
    try {
      require('etcd-leader');
      console.log('it was loaded');
    } catch (error) {
      console.log(JSON.stringify({ name: error.name, message: error.message, cause: error.cause?.message }));
    }`;
  const { said } = await outcome(new Child(process.execPath, ['-e', code], { cwd: folder }));
  return JSON.parse(said.at(-1));
}

describe('the package', () => {
  test('holds these files', async () => {
    const { files } = await pack(temporaryFolder());
    const expected = ['LICENSE', 'README.md', 'THIRD-PARTY.txt', 'index.d.ts', 'index.js', 'package.json', fileName(), ...LIB.map((name) => `lib/${name}.js`)];
    assert.deepEqual(files, expected.sort());
  });

  test('runs nothing when it is installed, and needs nothing', () => {
    const run = ['install', 'preinstall', 'postinstall'].filter((script) => script in manifest.scripts);
    assert.deepEqual(run, []);
    const unwanted = ['dependencies', 'optionalDependencies', 'peerDependencies', 'bundleDependencies', 'bin', 'gypfile', 'binary', 'os', 'cpu'];
    assert.deepEqual(unwanted.filter((member) => member in manifest), []);
    // npm compiles of its own accord where this lies.
    assert.equal(fs.existsSync(path.join(NODE, 'binding.gyp')), false);
  });

  test('has the version of the core', () => {
    const cargo = fs.readFileSync(path.join(NODE, '../Cargo.toml'), 'utf8');
    assert.equal(manifest.version, /^version = "(.+)"$/m.exec(cargo)[1]);
  });

  test('has the licence and the notices of what is inside', async () => {
    const folder = path.join(await installed(), 'node_modules/etcd-leader');
    assert.match(fs.readFileSync(path.join(folder, 'LICENSE'), 'utf8'), /Permission is hereby granted/);
    assert.match(fs.readFileSync(path.join(folder, 'THIRD-PARTY.txt'), 'utf8'), /\bnapi \d/);
  });
});

describe('installed without scripts, network and cargo', () => {
  let env;
  let folder;
  let cluster;
  before(async () => {
    env = bareEnv();
    await assert.rejects(run('cargo', ['--version'], { env }), { code: 'ENOENT' });
    [cluster, folder] = await Promise.all([Cluster.start(), installed({ env })]);
  });
  after(() => cluster?.end());

  const LEAD = `
    const election = etcdLeader(process.argv[2], '/package', 'host-1').start();
    election.on('elected', async () => {
      console.log(election.isLeader());
      console.log((await election.stop().stopped()).released);
    });`;
  const HEADS = {
    'program.cjs': "const etcdLeader = require('etcd-leader');",
    'program.mjs': "import etcdLeader, { EtcdError } from 'etcd-leader'; if (!EtcdError) throw new Error();",
  };
  for (const [file, head] of Object.entries(HEADS)) {
    test(`${file} elects and ends`, async () => {
      fs.writeFileSync(path.join(folder, file), head + LEAD);
      const child = new Child(process.execPath, [file, cluster.url], { cwd: folder, env });
      assert.deepEqual(await outcome(child), { code: 0, signal: null, said: ['true', 'true'], errors: '' });
    });
  }

  test('is the only thing that was installed, and shows its manifest but not its inside', async () => {
    assert.deepEqual(fs.readdirSync(path.join(folder, 'node_modules')).filter((name) => !name.startsWith('.')), ['etcd-leader']);
    const resolve = (name) => require.resolve(name, { paths: [folder] });
    assert.equal(require(resolve('etcd-leader/package.json')).name, 'etcd-leader');
    assert.throws(() => resolve('etcd-leader/lib/run.js'), { code: 'ERR_PACKAGE_PATH_NOT_EXPORTED' });
  });

  test('require() says what is missing on a platform without a binary', async () => {
    const other = (object, member, value) => `Object.defineProperty(${object}, '${member}', { value: ${value} });`;
    const program = path.join(temporaryFolder(), 'program');
    fs.writeFileSync(program, '\x7fELF ... /lib/ld-musl-x86_64.so.1 ...');
    const musl = other('process', 'execPath', JSON.stringify(program));
    const cases = {
      [`${process.platform} mips with glibc`]: other('process', 'arch', "'mips'"),
      [`${process.platform} ${process.arch} with musl`]: musl,
      [`darwin ${process.arch}`]: other('process', 'platform', "'darwin'"),
      'win32 arm64': other('process', 'platform', "'win32'") + other('process', 'arch', "'arm64'"),
    };
    for (const [words, before] of Object.entries(cases)) {
      const { name, message } = await refusal(folder, before);
      assert.equal(name, 'Error');
      assert.equal(REFUSAL.exec(message)?.[1], words, message);
    }
  });

  test('require() does not ask the network for names', async () => {
    // A report of Node.js does, for the peer of each open socket, unless it is told not to: seconds, where nobody answers.
    const { said } = await outcome(new Child(process.execPath, ['-e', `
      const { report } = process;
      const { getReport } = report;
      let asked = false;
      Object.defineProperty(report, 'getReport', { value: () => ((asked ||= !report.excludeNetwork), getReport.call(report)) });
      require('etcd-leader');
      console.log(asked);`], { cwd: folder }));
    assert.deepEqual(said, ['false']);
  });

  test('require() says why a binary cannot be loaded', async () => {
    const broken = path.join(temporaryFolder(), 'program');
    fs.cpSync(folder, broken, { recursive: true });
    const binary = path.join(broken, 'node_modules/etcd-leader', fileName());
    for (const [bytes, why] of [['no binary at all\n'.repeat(100), /invalid ELF header/], ['', /file too short/]]) {
      fs.writeFileSync(binary, bytes);
      const { message, cause } = await refusal(broken, '');
      assert.match(message, /^etcd-leader's binary for linux \w+ with glibc cannot be loaded: /);
      assert.match(message, why);
      assert.match(cause, why);
    }
  });
});

describe('built from source', () => {
  /** The folder as it is in the repository, with nothing built. */
  function sources() {
    const folder = path.join(temporaryFolder(), 'node');
    fs.mkdirSync(folder);
    fs.writeFileSync(path.join(folder, '../LICENSE'), 'a licence\n');
    for (const name of ['package.json', '.npmrc', 'build.js', 'index.js', 'index.d.ts', 'lib']) {
      fs.cpSync(path.join(NODE, name), path.join(folder, name), { recursive: true });
    }
    return folder;
  }

  /** What is there; npm may leave an empty node_modules. */
  const there = (folder) => fs.readdirSync(folder).filter((name) => name !== 'node_modules').sort();

  const failed = (promise) => promise.then(() => assert.fail('it did not fail'), (error) => error);

  test('without cargo it says that cargo is needed, and leaves nothing', async () => {
    const folder = sources();
    const before = there(folder);
    const error = await failed(run(process.execPath, ['build.js'], { cwd: folder, env: bareEnv() }));
    assert.deepEqual([error.code, error.stdout], [1, '']);
    assert.match(error.stderr, /^etcd-leader is built from source here, and cargo is missing: install Rust 1\.\d+ or later.*\n$/);
    const home = temporaryFolder();
    const ofNpm = await failed(run('npm', ['install', '--offline', '--no-audit', '--no-fund'], { cwd: folder, env: npmEnv(home, bareEnv()) }));
    assert.equal(ofNpm.code, 1);
    assert.match(ofNpm.stderr, /cargo is missing: install Rust/);
    assert.deepEqual(there(folder), before);
  });

  test('the version of Rust that it asks for is the one that is needed', () => {
    const [, asked] = /install Rust (\S+)/.exec(fs.readFileSync(path.join(NODE, 'build.js'), 'utf8'));
    const [, needed] = /^rust-version = "(.+)"$/m.exec(fs.readFileSync(path.join(NODE, '../Cargo.toml'), 'utf8'));
    assert.equal(asked, needed);
  });

  test('a build that fails says so by its code, and leaves what was there', async () => {
    const folder = sources();
    fs.writeFileSync(path.join(folder, fileName()), 'built before');
    const before = there(folder);
    const env = envWithCargo(folder, 'echo "error: of rustc" >&2', 'exit 101');
    const error = await failed(run(process.execPath, ['build.js'], { cwd: folder, env }));
    assert.equal(error.code, 101);
    assert.match(error.stderr, /error: of rustc/);
    assert.deepEqual(there(folder), before);
    assert.equal(fs.readFileSync(path.join(folder, fileName()), 'utf8'), 'built before');
  });

  test('a build that succeeds leaves the binary and the licence, and nothing else', async () => {
    const folder = sources();
    const env = envWithCargo(folder, `mkdir -p '${folder}/target/release'`, `echo built > '${folder}/target/release/libetcd_leader_node.so'`);
    await run('npm', ['install', '--offline', '--no-audit', '--no-fund'], { cwd: folder, env: npmEnv(temporaryFolder(), env) });
    fs.rmSync(path.join(folder, 'target'), { recursive: true });
    assert.deepEqual(there(folder), [...there(sources()), 'LICENSE', fileName()].sort());
    assert.equal(fs.readFileSync(path.join(folder, fileName()), 'utf8'), 'built\n');
  });
});
