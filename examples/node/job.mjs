// A job of ten steps that one of many hosts does, with a guard on each write.
//
//     node job.mjs http://127.0.0.1:2379 /jobs/report host-1
//
// Start it on as many hosts as you like: one works, the others wait. When it dies, the next one goes on where it was.
// Steps are written with the token of the term, and the store refuses one that is smaller than the largest it has seen:
// so a process that was stopped for minutes between asking "do I lead?" and writing does no harm. Here the store is etcd
// itself; in SQL the write is UPDATE report SET done = :done, fence = :token WHERE fence <= :token.
import { setTimeout as sleep } from 'node:timers/promises';
import etcdLeader from 'etcd-leader';

const STEPS = 10;
const [endpoint, key, name] = process.argv.slice(2);
if (!name) {
  console.error('usage: node job.mjs endpoint key name');
  process.exit(2);
}

const coded = (text) => Buffer.from(text).toString('base64');
const put = (at, value) => ({ request_put: { key: coded(at), value: coded(value) } });

async function ask(what, body) {
  const answer = await fetch(`${endpoint}/v3/kv/${what}`, { method: 'POST', body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${what}: HTTP ${answer.status}`);
  return answer.json();
}

async function stepsDone() {
  const { kvs = [] } = await ask('range', { key: coded(`${key}-done`) });
  return kvs.length > 0 ? Number(Buffer.from(kvs[0].value, 'base64')) : 0;
}

/** In one transaction: nothing is written if a larger token has written before. */
async function fencedWrite(token, done) {
  const fence = String(token).padStart(20, '0');
  const { succeeded: isStale } = await ask('txn', {
    compare: [{ key: coded(`${key}-fence`), target: 'VALUE', result: 'GREATER', value: coded(fence) }],
    failure: [put(`${key}-fence`, fence), put(`${key}-done`, String(done))],
  });
  if (isStale) throw new Error(`the token ${token} is too old: somebody else has led since`);
}

const election = etcdLeader(endpoint, key, name, 4);
election.on('retrying', (error) => console.error(`${name}: ${error.message}`));
process.once('SIGINT', () => election.stop());
process.once('SIGTERM', () => election.stop());

try {
  const steps = await election.lead(async ({ token, signal }) => {
    console.log(`${name}: leading with token ${token}`);
    let done = await stepsDone();
    while (done < STEPS && !signal.aborted) {
      done += 1;
      await fencedWrite(token, done);
      console.log(`${name}: step ${done}`);
      // What waits takes the signal: it ends at once when we do not lead any more.
      await sleep(100, undefined, { signal }).catch(() => {});
    }
    // After a stop the place is still ours until this returns: time to tidy up.
    return done;
  });
  console.log(`${name}: ended after step ${steps}`);
} catch (error) {
  console.error(`${name}: ${error.message}`);
  process.exitCode = 1;
}
