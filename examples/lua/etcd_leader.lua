-- Leader election on etcd, for LuaJIT: no thread and no callback, since el_next is enough. The manual is etcd_leader.h.
local ffi = require('ffi')

ffi.cdef [[
enum { EL_EVENT_ELECTED = 1, EL_EVENT_UNELECTED, EL_EVENT_LEADER, EL_EVENT_RETRYING, EL_EVENT_ENDED };
typedef struct el_election el_election;
typedef struct {
  uint32_t size; int32_t type, status; uint32_t released; uint64_t token; el_election *election;
  const char *name, *endpoint, *message;
} el_event;
typedef struct {
  const char *const *endpoints; const char *key, *name; void *on_event, *user_data; uint32_t endpoint_count; int32_t api;
  uint32_t ttl_s, renew_ms, step_down_ms, request_timeout_ms, stop_timeout_ms; int32_t on_store_reset;
  const char *username, *password, *ca_file, *ca_pem, *cert_file, *cert_pem, *key_file, *key_pem, *tls_server_name;
  void *queue;
} el_config;
int32_t el_start(const el_config *config, size_t config_size, el_election **election);
int32_t el_next(el_election *election, int32_t timeout_ms, el_event *event, size_t event_size);
void el_stop(el_election *election), el_release(el_election *election);
int32_t el_free(el_election *election);
uint64_t el_token(const el_election *election);
const char *el_status_name(int32_t status), *el_last_error(void);
]]
local C = ffi.load('etcd_leader')
local SLICE_MS = 50 -- So often `stop_requested` is asked.
local Term = {}; Term.__index = Term

-- Whether we do not lead any more: the lead was lost, or a stop was asked for. Reads the clock.
function Term:is_lost()
  if self.stop_requested() then C.el_stop(self.election) end
  return C.el_token(self.election) ~= self.token
end

-- Waits for at most so many milliseconds (an event ends it, too); whether the term is over. The sleep to take in the work.
function Term:wait(ms)
  for left = ms, 1, -SLICE_MS do -- Once the term is over no event is taken: that would say that the work has ended.
    if self:is_lost() or self.pull(math.min(left, SLICE_MS)) then break end
  end
  return self:is_lost()
end

-- Leads once: waits until we lead, calls work(term), and gives the entry up when that has ended. Gives true and what the work
-- gave, if nobody else led before it had ended; else false, why, and the code. Raises the work's error, after the end.
-- `config` has the fields of el_config, `endpoints` as one text with commas, and two functions: `on_event` is given every event
-- as it is pulled, `stop_requested` gives true when it is time to end; the work has `stop_timeout_ms` then.
local function lead(config, work)
  local given, place, event = ffi.new('el_config'), ffi.new('el_election *[1]'), ffi.new('el_event')
  for field, value in pairs(config) do
    if type(value) ~= 'function' and field ~= 'endpoints' then given[field] = value end
  end
  local endpoints = ffi.new('const char *[1]', {config.endpoints})
  given.endpoints, given.endpoint_count = endpoints, 1
  local function checked(status) return status < 0 and error(ffi.string(C.el_last_error()), 0) or status end
  checked(C.el_start(given, ffi.sizeof(given), place))
  local election, worked, result = ffi.gc(place[0], C.el_free), nil, nil -- Also if `on_event` raises.
  local term = setmetatable({election = election, stop_requested = config.stop_requested or function() end}, Term)
  function term.pull(timeout_ms) -- Gives the type of the next event; nil: there is none in time.
    if checked(C.el_next(election, timeout_ms, event, ffi.sizeof(event))) == 0 then return nil end
    if config.on_event then config.on_event(event) end
    return event.type
  end
  repeat
    if term.stop_requested() then C.el_stop(election) end
    local kind = term.pull(SLICE_MS)
    if kind == C.EL_EVENT_ELECTED and worked == nil then
      term.token = tonumber(event.token)
      worked, result = pcall(work, term)
      C.el_stop(election)
      C.el_release(election)
    end
  until kind == C.EL_EVENT_ENDED
  local status, why = event.status, ffi.string(event.message)
  C.el_free(ffi.gc(election, nil))
  if worked == false then error(result, 0) end
  if status == 0 then return true, result end
  return false, why, ffi.string(C.el_status_name(status))
end

return {lead = lead, C = C}
