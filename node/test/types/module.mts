// An ES module: its default import, and a name beside it.
import etcdLeader, { EtcdError, type Election, type Options } from 'etcd-leader';
import * as all from 'etcd-leader';
// @ts-expect-error: what is inside is nobody's business
import type {} from 'etcd-leader/lib/run.js';

const options: Options = { ttl: 10 };

async function disposed(): Promise<Election> {
  await using election = etcdLeader(process.argv[2]!, '/types/module', 'host-1', options).start();
  await new Promise((resolve) => election.on('elected', resolve));
  return election;
}

const isSame = 'default' in all && all.EtcdError === EtcdError && etcdLeader.EtcdError === EtcdError;
// Where Symbol.asyncDispose does not exist, neither does `await using`.
const isOver = Symbol.asyncDispose ? !(await disposed()).isRunning() : true;
const led = await etcdLeader(process.argv[2]!, '/types/module', 'host-1', options).lead(({ token }) => token > 0);
console.log(isSame && isOver && led ? 'all was so' : `${isSame} ${isOver} ${led}`);
