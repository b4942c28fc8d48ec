'use strict';

// Programs in processes of their own: what they say, line by line, and how they end.

const { spawn } = require('node:child_process');
const path = require('node:path');
const readline = require('node:readline');
const { waitFor } = require('./wait');

const ROOT = path.join(__dirname, '../..');

/**
 * What a program has at hand: `etcdLeader`; `say(...words)`; `report(election, name)`, which says all its events; and
 * `listen()`, which waits until the test tells it something, and holds its thread up so long.
 */
const PRELUDE = `const etcdLeader = require(${JSON.stringify(ROOT)});
const say = (...words) => require('fs').writeSync(1, words.map(String).join(' ') + '\\n');
const listen = () => require('fs').readSync(0, Buffer.alloc(1));
const report = (election, ...names) => {
  for (const event of ['elected', 'unelected', 'leader', 'leaderless', 'retrying', 'error']) {
    election.on(event, (...what) => say(...names, event, ...what.map((one) => one.code ?? one)));
  }
  return election;
};
`;

/** A child; it is killed when we end. */
class Child {
  constructor(command, args, { env = {}, cwd } = {}) {
    this.lines = [];
    this.errors = '';
    this.begun = performance.now();
    this.process = spawn('setpriv', ['--pdeathsig', 'KILL', '--', command, ...args], {
      cwd,
      env: { ...process.env, NODE_PATH: '', ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    readline.createInterface({ input: this.process.stdout }).on('line', (line) => {
      this.lines.push({ at: performance.now(), line });
    });
    this.process.stderr.on('data', (data) => {
      this.errors += data;
    });
    // Only when its output was read to the end.
    this.ended = new Promise((resolve) => {
      this.process.on('close', (code, signal) => resolve({ code, signal, at: performance.now() }));
    });
  }

  /** The first line that matches, when it has been said: { at, line }. */
  async says(pattern, patienceMs) {
    let isOver = false;
    this.ended.then(() => {
      isOver = true;
    });
    return waitFor(
      `${pattern} of a child`,
      () => {
        const found = this.lines.find(({ line }) => (pattern instanceof RegExp ? pattern.test(line) : line === pattern));
        if (!found && isOver) throw new Error(`the child ended before it said ${pattern}:\n${this.said().join('\n')}\n${this.errors}`);
        return found;
      },
      patienceMs,
    );
  }

  /** How it has ended, when it has: { code, signal, at }. */
  async ends(patienceMs) {
    let ending;
    this.ended.then((found) => {
      ending = found;
    });
    return waitFor('the end of a child', () => ending, patienceMs).catch((error) => {
      throw new Error(`${error.message}, which has said:\n${this.said().join('\n')}\n${this.errors}`);
    });
  }

  said() {
    return this.lines.map(({ line }) => line);
  }

  tell(line) {
    this.process.stdin.write(`${line}\n`);
  }

  kill(signal = 'SIGKILL') {
    this.process.kill(signal);
  }
}

/** Runs a piece of JavaScript with what `PRELUDE` gives; there, `thread(code)` runs another one so in a worker. */
function program(code, { env, execArgv = [] } = {}) {
  const whole = `${PRELUDE}
const thread = (code, options) => new (require('worker_threads').Worker)(${JSON.stringify(PRELUDE)} + code, { eval: true, ...options });
{
${code}
}`;
  return new Child(process.execPath, [...execArgv, '-e', whole], { env });
}

module.exports = { Child, program, PRELUDE, ROOT };
