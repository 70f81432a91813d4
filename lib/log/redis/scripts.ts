import { createHash } from 'node:crypto'
import { decodeReply, VERSION, type ScriptReply } from './script-reply.ts'

// The scripts that Redis runs, each as one atomic step, on the keys that layout.md describes. The ids of the stream are
// `<offset>-<appendedAt>`, so that any offset is found at once. `appendedAt` is the time of the append in milliseconds
// by the clock of Redis. It limits the history by age, and distinguishes two events with one offset, which a failover
// to a replica that was behind can create.
//
// A full Redis (`maxmemory`) rejects a write only if it is the first one of a script: Redis 6.2 and 7, and Valkey, do
// not check later ones. So the first write of an append needs memory, and the first write of every other script needs
// none. A `#!lua flags=` line would do the same from Redis 7 on; in 6.2 it is a syntax error.

/** Shared by all scripts, with the order of their arguments. */
export const PRELUDE = `
local hash, stream = KEYS[1], KEYS[2]
local new_epoch, known_epoch, known_offset, known_appended_at = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local max_events, max_bytes, max_age, meta_ttl, new_secret = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8], ARGV[9]

-- Keys with other data are not changed.
local function error_of (answer)
  if type(answer) ~= 'table' or not answer.err then return nil end
  return string.find(answer.err, 'WRONGTYPE', 1, true) and redis.error_reply('FOREIGN the key is of another kind') or answer
end
local state = redis.pcall('HMGET', hash, 'epoch', 'newest', 'appendedAt', 'bytes', 'ended', 'secret', 'v', 'oldest')
if error_of(state) then return error_of(state) end
local size = redis.pcall('XLEN', stream)
if error_of(size) then return error_of(size) end
local epoch, newest, appended_at, bytes, ended, secret = state[1], tonumber(state[2]), state[3], tonumber(state[4]), state[5] == '1' and 1 or 0, state[6]
local version = tonumber(state[7] or ${VERSION})
if version and version > ${VERSION} then return redis.error_reply('NEWER the keys are of version ' .. version) end
if epoch and not (version and newest and tonumber(appended_at) and bytes) or not epoch and redis.call('EXISTS', hash) == 1 then
  return redis.error_reply('FOREIGN the hash is no log')
end
-- The stream may have expired or been deleted.
local bytes_before, oldest_before = bytes, tonumber(state[8])
if size == 0 then bytes = 0 end
local oldest

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A log that does not exist, or is behind a position that it has delivered, lost its history: a new epoch starts.
local lost = not epoch
if not lost and epoch == known_epoch then
  if newest == known_offset then
    lost = known_appended_at ~= '' and appended_at ~= known_appended_at
  elseif newest < known_offset then
    lost = true
  elseif verify_entry and known_appended_at ~= '' then
    local entry = redis.call('XRANGE', stream, known_offset, known_offset)[1]
    lost = entry and entry[1] ~= known_offset .. '-' .. known_appended_at
  end
end

local function is_record (fields)
  local kind = #fields == 4 and fields[1] == 'event' and string.sub(fields[3], 1, 4)
  return kind == 'json' or kind == 'text'
end

-- The newest entry is the last one: only an entry that another program added has a higher id.
local FOREIGN_ENTRY = 'FOREIGN the stream has an entry that is no event'
if epoch and size > 0 and redis.call('XRANGE', stream, '(' .. newest .. '-' .. appended_at, '+', 'COUNT', 1)[1] then
  return redis.error_reply(FOREIGN_ENTRY)
end

-- A stream of another log of this package is replaced; one of another program is not.
if lost and redis.call('EXISTS', stream) == 1 then
  local info, fields = {}, redis.call('XINFO', 'STREAM', stream)
  for i = 1, #fields, 2 do info[fields[i]] = fields[i + 1] end
  local first, last = info['first-entry'], info['last-entry']
  if first and not (is_record(first[2]) and is_record(last[2])) or not first and info.groups > 0 then
    return redis.error_reply('FOREIGN the stream is no log')
  end
end

local function refresh_ttl ()
  if meta_ttl == '' then redis.call('PERSIST', hash) else redis.call('PEXPIRE', hash, meta_ttl) end
end

local function create ()
  epoch, newest, appended_at, bytes, ended, secret = new_epoch, 0, '0', 0, 0, new_secret
  size, bytes_before, oldest_before, lost = 0, 0, 1, false
  redis.call('HSET', hash, 'epoch', epoch, 'newest', newest, 'appendedAt', appended_at, 'bytes', bytes, 'ended', ended, 'secret', secret, 'oldest', 1, 'v', ${VERSION})
  redis.call('DEL', stream)
end

-- The first write needs no memory.
local function prepare ()
  refresh_ttl()
  if lost then
    create()
    refresh_ttl()
  elseif not secret then
    secret = new_secret
    redis.call('HSET', hash, 'secret', secret)
  end
end

-- Removes the entries beyond the limits, oldest first.
local function evict (hint)
  local from, count, cut = '-', hint, nil
  oldest = newest + 1
  while size > 0 do
    local entries = redis.call('XRANGE', stream, from, '+', 'COUNT', count)
    local last
    for _, entry in ipairs(entries) do
      local offset, at = string.match(entry[1], '^(%d+)%-(%d+)$')
      if size <= max_events and bytes <= max_bytes and (max_age < 0 or now - at < max_age) then
        oldest = tonumber(offset)
        last = nil
        break
      end
      size = size - 1
      bytes = bytes - #(entry[2][2] or '') - #(entry[2][4] or '')
      cut, last = offset, entry[1]
    end
    if not last then break end
    from, count = '(' .. last, math.min(count * 2, 128)
  end
  if cut then redis.call('XTRIM', stream, 'MINID', cut + 1) end
  if bytes ~= bytes_before or oldest ~= oldest_before then redis.call('HSET', hash, 'bytes', bytes, 'oldest', oldest) end
end

local function state_line ()
  return table.concat({ epoch, oldest or newest + 1, newest, appended_at, ended }, ' ')
end

local function reply ()
  return state_line() .. ' ' .. secret .. '\\n'
end

local function pack (parts, offset, name, kind, data)
  parts[#parts + 1] = offset .. ' ' .. #name .. ' ' .. #data .. ' ' .. kind .. '\\n'
  parts[#parts + 1] = name
  parts[#parts + 1] = data
end
`

/** For scripts that publish. ARGV: 10 the command, 11 the channel. */
export const PUBLISHING = `
-- An empty message has no content: it proves the right to publish.
local function publish_refusal ()
  local answer = redis.pcall(ARGV[10], ARGV[11], '')
  return type(answer) == 'table' and answer.err and redis.error_reply('UNPUBLISHABLE ' .. answer.err)
end

-- The write is valid even if publishing fails: a node that misses the message finds the entries when it checks. The
-- first part is for the state line, with the time before the append. The text is joined as seldom as possible: it may
-- be long.
local before
local function publish (parts)
  local text, last = state_line() .. ' ' .. (before or appended_at) .. '\\n', #parts + 1
  parts[1], parts[last] = secret .. text, secret
  local seal = redis.sha1hex(table.concat(parts))
  parts[1], parts[last] = '${VERSION} ' .. seal .. ' ' .. text, nil
  redis.pcall(ARGV[10], ARGV[11], table.concat(parts))
end

-- Appends records: event, kind and data of each. Returns an error if the stream rejects one: then it rejects already
-- the first.
local function add (parts, records)
  before = appended_at
  -- If the clock was set back, the ids of the stream must not decrease.
  appended_at = tostring(math.max(now, tonumber(appended_at)))
  for i = 1, #records, 3 do
    local name, kind, data = records[i], records[i + 1], records[i + 2]
    newest, size = newest + 1, size + 1
    local added = redis.pcall('XADD', stream, newest .. '-' .. appended_at, 'event', name, kind, data)
    -- A higher id existed and was deleted: the stream rejects every id of this log.
    if type(added) == 'table' then
      return string.find(added.err, ' ID', 1, true) and redis.error_reply(FOREIGN_ENTRY) or added
    end
    bytes = bytes + #name + #data
    pack(parts, newest, name, kind, data)
  end
  redis.call('HSET', hash, 'newest', newest, 'appendedAt', appended_at, 'kept', now .. ' ' .. ARGV[7])
  evict(#records / 3 + 1)
  if max_age < 0 then
    redis.call('PERSIST', stream)
  else
    -- Until the next append that does the same.
    redis.call('PEXPIRE', stream, max_age + math.floor(math.min(max_age / 8, 60000)))
  end
end
`

// KEYS from 3 on: the keys of members, which the end deletes. ARGV: 12 the outcome, or an empty text, then event, kind
// and data of the last record, if there is one.
const END = `${PUBLISHING}
if lost or ended == 0 then
  local refusal = publish_refusal()
  if refusal then return refusal end
end
prepare()
if ended == 0 then
  local parts = { '' }
  local refused = #ARGV > 12 and add(parts, { ARGV[13], ARGV[14], ARGV[15] })
  if refused then return refused end
  ended = 1
  redis.call('HSET', hash, 'ended', 1)
  for i = 3, #KEYS do redis.call('DEL', KEYS[i]) end
  if ARGV[12] ~= '' then redis.call('HSET', hash, 'outcome', epoch .. ' ' .. ARGV[12]) end
  publish(parts)
end
return reply()
`

const STATE = `
prepare()
evict(1)
return reply()
`

// ARGV: 10 the offset to read after, 11 the maximal number of entries.
const READ = `
prepare()
evict(1)
local parts = { reply() }
for _, entry in ipairs(redis.call('XRANGE', stream, '(' .. ARGV[10] .. '-18446744073709551615', '+', 'COUNT', ARGV[11])) do
  local fields = entry[2]
  if not is_record(fields) then return redis.error_reply(FOREIGN_ENTRY) end
  pack(parts, string.match(entry[1], '^%d+'), fields[2], fields[3], fields[4])
end
return table.concat(parts)
`

// Whether the known position still exists; also keeps the keys alive.
const CHECK = `
prepare()
return reply()
`

/** A script, the name by which Redis knows it after the first run, and the decoder of its answers. */
export interface Script<T = ScriptReply> {
  readonly text: string
  readonly sha: string
  /** Returns undefined for an answer that the script does not give. */
  readonly decode: (answer: Buffer) => T | undefined
}

export function script<T> (text: string, decode: Script<T>['decode']): Script<T> {
  return { text, sha: createHash('sha1').update(text).digest('hex'), decode }
}

/** Returns a script on the keys of a channel. */
export function channelScript<T = ScriptReply> (
  body: string,
  decode: Script<T>['decode'],
  verifyEntry = false
): Script<T> {
  return script(`local verify_entry = ${verifyEntry}${PRELUDE}${body}`, decode)
}

export const end = channelScript(END, decodeReply)
export const state = channelScript(STATE, decodeReply)
export const read = channelScript(READ, decodeReply)
export const check = channelScript(CHECK, decodeReply, true)
