//! What Redis does in one step, so that nothing happens in between. All keys of a script
//! are in one slot. The scripts limit sizes, because a plain read returns whole messages,
//! however large.

use crate::event::Stream;

/// Bytes of messages in one answer. Only the last message may exceed it.
pub const BUDGET: usize = 2 * 1024 * 1024;
/// Messages in one answer.
pub const COUNT: usize = 1_000;
/// Largest message that is fetched whole, in bytes. That is ten times the largest
/// meaningful message, which has six anchors of 64 KiB. Of a larger message only the
/// meaningful fields are fetched.
pub const LARGEST: usize = 4 * 1024 * 1024;

/// How many messages of a stream, from the first ever added, have their effects in the
/// shared store. The key is in the stream's own slot. So it is read together with the
/// stream, and is never ahead of it on a replica.
pub fn covered_key(stream: Stream) -> String {
    format!("caracal:edge:covered:{{{}}}", stream.key())
}

/// A random name of the stream, for as long as its ids only rise. Whoever finds none gives
/// it one, in the step that reads: so nobody reads a stream that replaced another one under
/// the other one's name. It is in the stream's own slot too.
pub fn name_key(stream: Stream) -> String {
    format!("caracal:edge:covered:name:{{{}}}", stream.key())
}

/// Creates the consumer group. If it was not there, the stream is new or was replaced, so
/// what was noted of it does not count.
///
/// KEYS: stream, its covered key, the key of its name. ARGV: group.
pub const CREATE_GROUP: &str = r"
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if type(made) == 'table' and made.err then return made end
redis.call('DEL', KEYS[2], KEYS[3])
return made
";

/// Adds audit events to their stream, in order and all or none. It never trims.
pub const ADD_AUDIT: &str = r"
for i = 1, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('XADD', KEYS[1], '*', 'data', ARGV[i])
  else
    redis.call('XADD', KEYS[1], '*', 'data', ARGV[i], 'sig', ARGV[i + 1])
  end
end
return #ARGV / 2
";

/// Reads messages of a stream in one direction, at most so many, and until 4 MiB are read.
/// One that is larger than a size comes without its fields: whoever may write to the stream
/// must not choose how much memory its readers need. `ARGV`: the command, from, to, how
/// many, and the size.
pub const READ_AUDIT: &str = r"
local from, out, budget = ARGV[2], {}, 4194304
for i = 1, tonumber(ARGV[4]) do
  local found = redis.call(ARGV[1], KEYS[1], from, ARGV[3], 'COUNT', 1)[1]
  if not found then break end
  local size = 0
  for _, part in ipairs(found[2]) do size = size + #part end
  if size > tonumber(ARGV[5]) then found[2] = {} end
  out[i] = found
  from = '(' .. found[1]
  budget = budget - size
  if budget < 0 then break end
end
return out
";

/// Collects messages until the budget is used. `step` is small, because its messages are
/// in Redis's memory twice for a moment. Messages that are not sent count too. Otherwise
/// a hundred messages of 20 MB would be examined in one step, which would take too long.
macro_rules! collect {
    () => {
        r"
local names = {
  session_id = 1, sid = 1, root_sid = 1, agent_session_id = 1, delegation_edge_id = 1, edge_id = 1,
  zone_id = 1, epoch = 1,
}
local function meant(fields)
  local found, list = {}, {}
  for i = 1, #fields, 2 do
    local name, value = fields[i], fields[i + 1]
    if names[name] then found[name] = value end
  end
  for name, value in pairs(found) do
    if #value <= 65536 then
      list[#list + 1] = name
      list[#list + 1] = value
    end
  end
  return list
end
local function taker(left, count, largest)
  local list, step = {}, 8
  local function take(got)
    for _, entry in ipairs(got) do
      local size = 0
      if entry[2] then
        for _, part in ipairs(entry[2]) do size = size + #part end
      end
      if size > largest then
        list[#list + 1] = {entry[1], size, meant(entry[2])}
        step = 1
      else
        list[#list + 1] = {entry[1], entry[2]}
      end
      left = left - size
      count = count - 1
    end
  end
  return list, take, function() return left > 0 and count > 0 end, function() return math.min(step, count) end
end
local function stream_of(key)
  local added, length, last, first, deleted, heavy = false, 0, '0-0', false, '0-0', 0
  local function weigh(entry)
    local size = 0
    for _, part in ipairs(entry[2]) do size = size + #part end
    if size > 65536 then heavy = 1 end
  end
  local info = redis.call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    local name, value = info[i], info[i + 1]
    if name == 'entries-added' then added = value
    elseif name == 'length' then length = value
    elseif name == 'last-generated-id' then last = value
    elseif name == 'max-deleted-entry-id' then deleted = value
    elseif name == 'first-entry' and value then first = value[1]; weigh(value)
    elseif name == 'last-entry' and value then weigh(value) end
  end
  return added, length, last, first, deleted, heavy
end
"
    };
}

/// Messages after an id, for a companion's own view, and the state of the stream.
///
/// It begins with a write that changes nothing. A server that must not write, because it
/// is a replica, lacks replicas or memory, or cannot save, refuses this write with its
/// reason. The write also creates the group again if it is gone. Then the stream was
/// replaced, so what was noted of the old stream does not count.
///
/// KEYS: stream, its covered key, the key of its name. ARGV: group, consumer, after, budget,
/// count, largest, a new name, a name that is no longer good.
pub const READ: &str = concat!(
    collect!(),
    r"
local made = redis.pcall('XGROUP', 'CREATECONSUMER', KEYS[1], ARGV[1], ARGV[2])
if type(made) == 'table' and made.err then
  if made.err:find('NOGROUP') or made.err:find('requires the key to exist') then
    redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
    redis.call('DEL', KEYS[2], KEYS[3])
  else
    return made
  end
end
local name = redis.pcall('GET', KEYS[3])
if type(name) ~= 'string' or name == ARGV[8] then
  name = ARGV[7]
  redis.call('SET', KEYS[3], name)
end
local info = redis.call('INFO', 'replication')
local added, length, last, first, deleted, heavy = stream_of(KEYS[1])
local list, take, open, step = taker(tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]))
local after, more = ARGV[3], 0
while true do
  if not open() then more = 1 break end
  local wanted = step()
  local got = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', wanted)
  if #got == 0 then break end
  after = got[#got][1]
  take(got)
  if #got < wanted then break end
end
local time = redis.call('TIME')
local covered = redis.pcall('GET', KEYS[2])
if type(covered) == 'table' then covered = false end
return {
  info:match('role:(%a+)') or '', info:match('master_replid:(%w+)') or '',
  added, length, last, first, covered, time[1] .. string.format('%03d', math.floor(tonumber(time[2]) / 1000)), more, list, deleted, heavy, name,
}
"
);

/// Messages for a consumer of a group: new ones (`>`), or its pending ones after an id.
/// Before them, the state of the group and the stream.
///
/// KEYS: stream. ARGV: group, consumer, after, budget, count, largest.
pub const GROUP_READ: &str = concat!(
    collect!(),
    r"
local added, length, last, first = stream_of(KEYS[1])
local delivered, pending, read, lag = '0-0', 0, false, false
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local map = {}
  for i = 1, #group, 2 do map[group[i]] = group[i + 1] end
  if map['name'] == ARGV[1] then
    delivered, pending, read, lag = map['last-delivered-id'], map['pending'], map['entries-read'], map['lag']
  end
end
local list, take, open, step = taker(tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]))
local after = ARGV[3]
while open() do
  local wanted = step()
  local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', wanted, 'STREAMS', KEYS[1], after)
  local got = reply and reply[1] and reply[1][2] or {}
  if #got == 0 then break end
  take(got)
  if after ~= '>' then after = got[#got][1] end
  if #got < wanted then break end
end
return {delivered, pending, read or false, lag or false, added, length, first, list}
"
);

/// Notes that this many messages are covered. The number is never more than were added.
/// It is never lower than before, unless the stream was replaced or the store has other
/// masters.
///
/// KEYS: stream, its covered key. ARGV: number, lifetime in milliseconds, the server's
/// reign in which they were counted, the name of the reigns of all servers or nothing.
pub const COVER: &str = r"
if redis.call('INFO', 'replication'):match('master_replid:(%w+)') ~= ARGV[3] then return 0 end
local added = 0
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #info, 2 do
  if info[i] == 'entries-added' then added = info[i + 1] end
end
local old, reigns = redis.pcall('GET', KEYS[2]), ''
if type(old) ~= 'string' then old = '' end
old, reigns = old:match('^(%d+) ?(%x*)$')
old = tonumber(old) or 0
local new = tonumber(ARGV[1])
if new > added then return 0 end
if new <= old and old <= added and reigns == ARGV[4] then return 0 end
local text = ARGV[1]
if ARGV[4] ~= '' then text = text .. ' ' .. ARGV[4] end
redis.call('SET', KEYS[2], text, 'PX', ARGV[2])
return 1
";

/// A step of `SCAN` that leaves out names that no anchor and no zone can have. Whoever
/// may write chooses the size of names, and an answer has to fit.
///
/// ARGV: cursor, pattern, number of keys to examine, longest name.
pub const SCAN: &str = r"
local got = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local names, most = {}, tonumber(ARGV[4])
for _, name in ipairs(got[2]) do
  if #name <= most then names[#names + 1] = name end
end
return {got[1], names}
";

/// Raises an epoch, and never lowers it. Epochs have up to 19 digits, which Lua's numbers
/// cannot represent exactly. So they are compared as text: the longer one is larger, and
/// of two with equal length the one that sorts later. If the key has another type, it
/// counts as no epoch and is replaced, so that one bad key cannot keep revocations from
/// being written.
///
/// KEYS: the epoch's key. ARGV: epoch, lifetime in milliseconds.
pub const RAISE_EPOCH: &str = r"
local function digits(text)
  if type(text) ~= 'string' or not text:match('^%d+$') then return '0' end
  local plain = text:gsub('^0+', '')
  if plain == '' then return '0' end
  return plain
end
local old, new = digits(redis.pcall('GET', KEYS[1])), digits(ARGV[1])
if #new < #old or (#new == #old and new <= old) then return 0 end
redis.call('SET', KEYS[1], new, 'PX', ARGV[2])
return 1
";

/// Deletes consumers that hold nothing: the named one, and those that were idle for
/// longer than the limit. It is one step, so that none of them is given a message
/// meanwhile.
///
/// KEYS: stream. ARGV: group, consumer or nothing, milliseconds of idleness.
pub const DROP_CONSUMERS: &str = r"
local dropped = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local map = {}
  for i = 1, #consumer, 2 do map[consumer[i]] = consumer[i + 1] end
  if map['pending'] == 0 and (map['name'] == ARGV[2] or map['idle'] > tonumber(ARGV[3])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], map['name'])
    dropped = dropped + 1
  end
end
return dropped
";
