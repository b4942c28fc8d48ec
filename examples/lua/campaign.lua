-- A candidate that says what happens to it, until Ctrl-C, in LuaJIT. At the top of the repository:
--
--     make lib
--     LD_LIBRARY_PATH=target/release luajit examples/lua/campaign.lua http://127.0.0.1:2379 /jobs/nightly host-1
--
-- Start it three times with different names: one leads. End that one with Ctrl-C or kill -9: the next one leads.
-- A fourth argument is the ttl in seconds; give several members of etcd with commas between them. `--v2` before the first
-- argument takes etcd's API v2 (etcd --enable-v2=true); all candidates must take the same API.

package.path = (arg[0]:match('^.*/') or './') .. '?.lua;' .. package.path
local etcd_leader = require('etcd_leader')
local ffi = require('ffi')

-- A handler would be a callback. Signals that are blocked wait until they are asked for.
ffi.cdef [[
typedef struct { unsigned long bits[1024 / (8 * sizeof(long))]; } sigset_t;
int sigemptyset(sigset_t *set);
int sigaddset(sigset_t *set, int signal);
int sigismember(const sigset_t *set, int signal);
int sigprocmask(int how, const sigset_t *set, sigset_t *before);
int sigpending(sigset_t *set);
]]
local SIG_BLOCK, SIGINT, SIGTERM = 0, 2, 15
local signals, pending = ffi.new('sigset_t'), ffi.new('sigset_t')
ffi.C.sigemptyset(signals)
ffi.C.sigaddset(signals, SIGINT)
ffi.C.sigaddset(signals, SIGTERM)
ffi.C.sigprocmask(SIG_BLOCK, signals, nil)

local function stop_requested()
  ffi.C.sigpending(pending)
  return ffi.C.sigismember(pending, SIGINT) == 1 or ffi.C.sigismember(pending, SIGTERM) == 1
end

local arguments, api = {unpack(arg)}, 3
if arguments[1] == '--v2' then
  table.remove(arguments, 1)
  api = 2
end
local endpoints, key, name, ttl = unpack(arguments)
if not name or #arguments > 4 or (ttl and not tonumber(ttl)) then
  io.stderr:write('usage: luajit ', arg[0], ' [--v2] endpoint[,endpoint...] key name [ttl in seconds]\n')
  os.exit(2)
end
io.stdout:setvbuf('line')

local function on_event(event)
  local C, why = etcd_leader.C, ffi.string(event.message)
  if event.type == C.EL_EVENT_LEADER then
    print(name .. ': the leader is ' .. (event.token == 0 and 'not known' or ffi.string(event.name)))
  elseif event.type == C.EL_EVENT_RETRYING then
    print(name .. ': ' .. (event.status == 0 and 'all is well again' or 'retrying: ' .. why))
  elseif event.type == C.EL_EVENT_UNELECTED then
    print(name .. ': unelected: ' .. why)
  end
end

local function work(term)
  print(('%s: elected, token %d'):format(name, term.token))
  local steps = 0
  -- A process can be stopped right here for minutes: so the receiver of each write checks the token, as in
  -- UPDATE report SET done = :step, fence = :token WHERE fence <= :token.
  while not term:wait(100) do steps = steps + 1 end
  return steps -- The next one leads when this has returned.
end

local config = {
  endpoints = endpoints, key = key, name = name, ttl_s = tonumber(ttl) or 0, api = api,
  on_event = on_event, stop_requested = stop_requested,
}
local is_good, held, result, code = pcall(etcd_leader.lead, config, work)
if not is_good then
  io.stderr:write(arg[0], ': ', held, '\n')
  os.exit(2)
end
print(name .. ': the end ' .. (held and ('after %d steps'):format(result) or ('(%s): %s'):format(code, result)))
os.exit(stop_requested() and (held or code == 'EL_STOPPED') and 0 or 1)
