// What must not compile, each beside what does. Never run.
import etcdLeader = require('etcd-leader');

const url = 'http://127.0.0.1:2379';
const election = etcdLeader(url, '/types/wrong', 'host-1');

// Listeners take what their event carries.
election.on('elected', (token: number) => token);
// @ts-expect-error: a token is a number
election.on('elected', (token: string) => token);
// @ts-expect-error: a token is a number
election.once('elected', (token: etcdLeader.EtcdError) => token);
// @ts-expect-error: a leader is told by its name
election.off('leader', (name: number) => name);
// @ts-expect-error: a leader is told by its name
election.addListener('leader', (name: { name: string }) => name);
// @ts-expect-error: nothing comes with it
election.removeListener('leaderless', (name: string) => name);
// @ts-expect-error: the reason is an EtcdError
election.prependListener('unelected', (reason: string) => reason);
// @ts-expect-error: nothing comes after the token
election.prependOnceListener('elected', (token: number, name: string) => [token, name]);
// @ts-expect-error: an EtcdError has no status
election.on('error', (error) => error.status);
election.on('error', (error) => error.code);

// Events are those of Events.
const event: keyof etcdLeader.Events = 'retrying';
// @ts-expect-error: none of them
const noEvent: keyof etcdLeader.Events = 'resigned';

// Where etcd is.
etcdLeader({ endpoints: url, api: 'v3' }, '/types/wrong', 'host-1');
// @ts-expect-error: neither "v2" nor "v3"
etcdLeader({ endpoints: url, api: 'v4' }, '/types/wrong', 'host-1');
// @ts-expect-error: neither "v2" nor "v3"
etcdLeader({ endpoints: url, api: 3 }, '/types/wrong', 'host-1');
// @ts-expect-error: no endpoints
etcdLeader({ api: 'v3' }, '/types/wrong', 'host-1');
// @ts-expect-error: it is called endpoints
etcdLeader({ endpoints: url, hosts: url }, '/types/wrong', 'host-1');
// @ts-expect-error: there is no insecure mode
etcdLeader({ endpoints: url, tls: { rejectUnauthorized: false } }, '/types/wrong', 'host-1');
// @ts-expect-error: no place
etcdLeader(2379, '/types/wrong', 'host-1');
// @ts-expect-error: a client has hosts
etcdLeader({ get() {} }, '/types/wrong', 'host-1');

// The other arguments.
// @ts-expect-error: no name
etcdLeader(url, '/types/wrong');
// @ts-expect-error: no name
new etcdLeader(url, '/types/wrong');
// @ts-expect-error: a name is a text
etcdLeader(url, '/types/wrong', 1);
// @ts-expect-error: five arguments
etcdLeader(url, '/types/wrong', 'host-1', 10, {});
etcdLeader(url, '/types/wrong', 'host-1', { ttl: 10, onStoreReset: 'stop' });
// @ts-expect-error: no such option
etcdLeader(url, '/types/wrong', 'host-1', { ttl: 10, timeout: 5 });
// @ts-expect-error: a ttl among options is a number
etcdLeader(url, '/types/wrong', 'host-1', { ttl: '10' });
// @ts-expect-error: neither "continue" nor "stop"
etcdLeader(url, '/types/wrong', 'host-1', { onStoreReset: 'ignore' });
// @ts-expect-error: a controller is no signal
etcdLeader(url, '/types/wrong', 'host-1', { signal: new AbortController() });

// Codes are those of ErrorCode.
const code: etcdLeader.ErrorCode = 'EL_TIMEOUT';
// @ts-expect-error: no code
const noCode: etcdLeader.ErrorCode = 'EL_TIMED_OUT';
// @ts-expect-error: no code
const zero: etcdLeader.ErrorCode = 'EL_OK';
// @ts-expect-error: no code
new etcdLeader.EtcdError('ECONNREFUSED', 'no');
declare const error: etcdLeader.EtcdError;
// @ts-expect-error: the two have nothing in common
error.code === 'EL_LOST';
// @ts-expect-error: to be read only
error.code = 'EL_BUSY';

// What comes back.
// @ts-expect-error: nothing while we do not lead
const token: number = election.token();
// @ts-expect-error: nothing while nobody is known to lead
const name: string = election.currentLeader();
// @ts-expect-error: a promise
const stopped: etcdLeader.Stopped = election.stopped();
// @ts-expect-error: what the work gives
const text: Promise<string> = election.lead(() => 1);
// @ts-expect-error: a term has no name
election.lead(({ name }) => name);
// @ts-expect-error: work is a function
election.lead(Promise.resolve());
// @ts-expect-error: no such option
election.lead(() => {}, { ttl: 10 });
// @ts-expect-error: no such method
election.resign();

void [event, noEvent, code, noCode, zero, token, name, stopped, text];
