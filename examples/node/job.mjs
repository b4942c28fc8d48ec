// A job of ten steps that one of many hosts does, with a guard on each write. At the top of the repository:
//
//     make node
//     node examples/node/job.mjs http://127.0.0.1:2379 /jobs/report host-1
//
// Start it on as many hosts as you like: one works, the others wait. When it dies, the next one goes on where it was.
// Steps are written with the token of the term, and the store refuses one that is smaller than the largest it has seen:
// so a process that was stopped for minutes between asking "do I lead?" and writing does no harm. Here the store is etcd
// itself; in SQL the write is UPDATE report SET done = :done, fence = :token WHERE fence <= :token.
// Each request takes the signal of the term: it ends when the lead is lost or SIGTERM arrives, also if etcd does not answer.
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

/** In one transaction: leaves the token in the store and does `operation`, or nothing if a larger token is there. */
async function fenced(operation, { token, signal }) {
  const fence = String(token).padStart(20, '0');
  const transaction = {
    compare: [{ key: coded(`${key}-fence`), target: 'VALUE', result: 'GREATER', value: coded(fence) }],
    failure: [put(`${key}-fence`, fence), operation],
  };
  const answer = await fetch(`${endpoint}/v3/kv/txn`, { method: 'POST', body: JSON.stringify(transaction), signal });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}: ${await answer.text()}`);
  const { succeeded: isStale, responses } = await answer.json();
  if (isStale) throw new Error(`the token ${token} is too old: somebody else has led since`);
  return responses.at(-1);
}

/** Reads with the token: from here on no write of an earlier leader, however late it arrives, can do a step again. */
async function stepsDone(term) {
  const { response_range: { kvs = [] } } = await fenced({ request_range: { key: coded(`${key}-done`) } }, term);
  return kvs.length > 0 ? Number(Buffer.from(kvs[0].value, 'base64')) : 0;
}

const election = etcdLeader(endpoint, key, name, 4);
election.on('retrying', (error) => console.error(`${name}: ${error.message}`));
process.once('SIGINT', () => election.stop());
process.once('SIGTERM', () => election.stop());

try {
  const steps = await election.lead(async (term) => {
    console.log(`${name}: leading with token ${term.token}`);
    let done = 0;
    try {
      done = await stepsDone(term);
      while (done < STEPS && !term.signal.aborted) {
        await fenced(put(`${key}-done`, String(done + 1)), term);
        done += 1;
        console.log(`${name}: step ${done}`);
        await sleep(100, undefined, { signal: term.signal });
      }
    } catch (error) {
      // Cut short. Whether the last write has arrived, the next leader reads.
      if (!term.signal.aborted) throw error;
    }
    // After a stop the place is still ours until this returns: time to tidy up.
    return done;
  });
  console.log(`${name}: ended after step ${steps}`);
} catch (error) {
  console.error(`${name}: ${error.message}`);
  process.exitCode = 1;
}
