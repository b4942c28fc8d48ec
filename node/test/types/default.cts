// The default import of a program that is compiled to CommonJS, with esModuleInterop.
import etcdLeader, { EtcdError } from 'etcd-leader';
import type { Election, ErrorCode, Term } from 'etcd-leader';

const election: Election = etcdLeader(process.argv[2]!, '/types/default', 'host-1');
const work = ({ token }: Term): boolean => token > 0;
const code: ErrorCode = new EtcdError('EL_BUSY', 'no').code;
void election.lead(work).then((isSo) => console.log(isSo && code === 'EL_BUSY' ? 'all was so' : 'no'));
