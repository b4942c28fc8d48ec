// Without esModuleInterop there is no default import, and the whole module can be called.
import * as etcdLeader from 'etcd-leader';
// @ts-expect-error: a module that is made with "export =" has none
import noDefault from 'etcd-leader';

const election: etcdLeader.Election = etcdLeader(process.argv[2]!, '/types/star', 'host-1');
const isError: boolean = new etcdLeader.EtcdError('EL_BUSY', 'no') instanceof Error;
void election.lead(({ token }) => token > 0).then((isSo) => console.log(isSo && isError ? 'all was so' : noDefault));
