import { createHash } from 'node:crypto'
import { VERSION } from './piece.ts'

// Milliseconds within which an append may be repeated without a second event.
const RECEIPT = 600_000

// What runs within Redis: each script is one step that nothing comes between. A channel has two keys in one slot: a hash
// (epoch, newest, stamp, bytes, ended, secret, v) and a stream whose ids are `<offset>-<stamp>`, so that any offset is found at once. The stamp is
// the time of the append in milliseconds by the clock of Redis: it bounds the history by age, and tells two events apart that were given
// one offset, as a failover to a replica that was behind makes them.
//
// A full Redis (`maxmemory`) refuses a write only as the first one of a script: Redis 6.2 and 7, and Valkey, look no further. So the first write of
// an append is one that needs memory, and the first write of every other script is one that needs none. A `#!lua flags=` line would say
// the same from Redis 7 on; for 6.2 it is a syntax error.

/** Text of all scripts, in their order of arguments. */
const SETTING = `
local hash, stream = KEYS[1], KEYS[2]
local fresh, known_epoch, known_offset, known_stamp = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local max_events, max_bytes, max_age, linger, fresh_secret = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8], ARGV[9]

-- Keys that hold something else are left as they are.
local function refused (answer)
  if type(answer) ~= 'table' or not answer.err then return nil end
  return string.find(answer.err, 'WRONGTYPE', 1, true) and redis.error_reply('FOREIGN the key is of another kind') or answer
end
local state = redis.pcall('HMGET', hash, 'epoch', 'newest', 'stamp', 'bytes', 'ended', 'secret', 'v')
if refused(state) then return refused(state) end
local size = redis.pcall('XLEN', stream)
if refused(size) then return refused(size) end
local epoch, newest, stamp, bytes, ended, secret = state[1], tonumber(state[2]), state[3], tonumber(state[4]), state[5] == '1' and 1 or 0, state[6]
local version = tonumber(state[7] or ${VERSION})
if version and version > ${VERSION} then return redis.error_reply('NEWER the keys are of version ' .. version) end
if epoch and not (version and newest and tonumber(stamp) and bytes) or not epoch and redis.call('EXISTS', hash) == 1 then
  return redis.error_reply('FOREIGN the hash is no log')
end
-- Its key may have expired, or was deleted.
local bytes_before = bytes
if size == 0 then bytes = 0 end
local oldest

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A log that is not there, or that knows less than it has told, lost its history: another one begins.
local lost = not epoch
if not lost and epoch == known_epoch then
  if newest == known_offset then
    lost = known_stamp ~= '' and stamp ~= known_stamp
  elseif newest < known_offset then
    lost = true
  elseif thoroughly then
    local told = redis.call('XRANGE', stream, known_offset, known_offset)[1]
    lost = told and told[1] ~= known_offset .. '-' .. known_stamp
  end
end

local function is_record (fields)
  local kind = #fields == 4 and fields[1] == 'event' and string.sub(fields[3], 1, 4)
  return kind == 'json' or kind == 'text'
end

-- Ours ends with the newest, and only what is added after that has a higher id.
local FOREIGN_ENTRY = 'FOREIGN the stream has an entry that is no event'
if epoch and size > 0 and redis.call('XRANGE', stream, '(' .. newest .. '-' .. stamp, '+', 'COUNT', 1)[1] then
  return redis.error_reply(FOREIGN_ENTRY)
end

-- A stream of another log of ours goes with it; one of somebody else does not.
if lost and redis.call('EXISTS', stream) == 1 then
  local info, fields = {}, redis.call('XINFO', 'STREAM', stream)
  for i = 1, #fields, 2 do info[fields[i]] = fields[i + 1] end
  local first, last = info['first-entry'], info['last-entry']
  if first and not (is_record(first[2]) and is_record(last[2])) or not first and info.groups > 0 then
    return redis.error_reply('FOREIGN the stream is no log')
  end
end

local function keep ()
  if linger == '' then redis.call('PERSIST', hash) else redis.call('PEXPIRE', hash, linger) end
end

local function begin ()
  epoch, newest, stamp, bytes, ended, secret = fresh, 0, '0', 0, 0, fresh_secret
  size, bytes_before, lost = 0, 0, false
  redis.call('HSET', hash, 'epoch', epoch, 'newest', newest, 'stamp', stamp, 'bytes', bytes, 'ended', ended, 'secret', secret, 'v', ${VERSION})
  redis.call('DEL', stream)
end

-- The first write needs no memory.
local function settle ()
  keep()
  if lost then
    begin()
    keep()
  elseif not secret then
    secret = fresh_secret
    redis.call('HSET', hash, 'secret', secret)
  end
end

-- What is beyond the bounds leaves, oldest first.
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
  if bytes ~= bytes_before then redis.call('HSET', hash, 'bytes', bytes) end
end

local function head ()
  return table.concat({ epoch, oldest or newest + 1, newest, stamp, ended }, ' ')
end

local function reply ()
  return head() .. ' ' .. secret .. '\\n'
end

local function packed (parts, offset, name, kind, data)
  parts[#parts + 1] = offset .. ' ' .. #name .. ' ' .. #data .. ' ' .. kind .. '\\n'
  parts[#parts + 1] = name
  parts[#parts + 1] = data
end
`

/** For scripts that publish. ARGV: 10 the command, 11 the channel. */
const TELLING = `
-- An empty message tells nothing, and shows that there is a right to publish.
local function muted ()
  local answer = redis.pcall(ARGV[10], ARGV[11], '')
  return type(answer) == 'table' and answer.err and redis.error_reply('MUTED ' .. answer.err)
end

-- What was written is true whether it can be told or not: those who do not hear it find it when they look.
-- The first of the parts is the head's, and the text is joined as seldom as can be: it may be long.
local function tell (parts)
  local text, last = head() .. '\\n', #parts + 1
  parts[1], parts[last] = secret .. text, secret
  local seal = redis.sha1hex(table.concat(parts))
  parts[1], parts[last] = '${VERSION} ' .. seal .. ' ' .. text, nil
  redis.pcall(ARGV[10], ARGV[11], table.concat(parts))
end
`

// KEYS[3]: the receipt of this node's last append, by which it may ask again after an answer that was lost.
// ARGV: 12 the number of the append, 13 whether to try first that it can be published, then event, kind and data of each record.
const APPEND = `${TELLING}
local number = tonumber(ARGV[12])
if not lost then
  local receipt = redis.call('GET', KEYS[3])
  if receipt then
    local of, last, answer = string.match(receipt, '^(%w+) (%d+) (.*)$')
    if of == epoch and tonumber(last) >= number then return answer end
  end
  if ended == 1 then return redis.error_reply('ENDED the channel has ended') end
end
if ARGV[13] == '1' then
  local refusal = muted()
  if refusal then return refusal end
end
-- The first write needs memory.
if lost then begin() else redis.call('HSET', hash, 'v', ${VERSION}) end
settle()
-- A clock that was set back must not make the ids of a stream look older than they are.
stamp = tostring(math.max(now, tonumber(stamp)))
local parts = { '' }
for i = 14, #ARGV, 3 do
  newest, size = newest + 1, size + 1
  local added = redis.pcall('XADD', stream, newest .. '-' .. stamp, 'event', ARGV[i], ARGV[i + 1], ARGV[i + 2])
  -- A higher id was there, and is deleted: the stream takes no id of ours any more. That is so of the first or of none.
  if type(added) == 'table' then
    return string.find(added.err, ' ID', 1, true) and redis.error_reply(FOREIGN_ENTRY) or added
  end
  bytes = bytes + #ARGV[i] + #ARGV[i + 2]
  packed(parts, newest, ARGV[i], ARGV[i + 1], ARGV[i + 2])
end
redis.call('HSET', hash, 'newest', newest, 'stamp', stamp)
evict((#ARGV - 13) / 3 + 1)
if max_age < 0 then redis.call('PERSIST', stream) else redis.call('PEXPIRE', stream, ARGV[7]) end
local answer = reply()
redis.call('SET', KEYS[3], epoch .. ' ' .. number .. ' ' .. answer, 'PX', ${RECEIPT})
tell(parts)
return answer
`

const END = `${TELLING}
if lost or ended == 0 then
  local refusal = muted()
  if refusal then return refusal end
end
settle()
if ended == 0 then
  ended = 1
  redis.call('HSET', hash, 'ended', 1)
  tell({ '' })
end
return reply()
`

const HEAD = `
settle()
evict(1)
return reply()
`

// ARGV: 10 the offset after which, 11 how many.
const READ = `
settle()
evict(1)
local parts = { reply() }
for _, entry in ipairs(redis.call('XRANGE', stream, '(' .. ARGV[10] .. '-18446744073709551615', '+', 'COUNT', ARGV[11])) do
  local fields = entry[2]
  if not is_record(fields) then return redis.error_reply(FOREIGN_ENTRY) end
  packed(parts, string.match(entry[1], '^%d+'), fields[2], fields[3], fields[4])
end
return table.concat(parts)
`

// Whether all that was told is still so, and the keys still there.
const CHECK = `
settle()
return reply()
`

/** A script, and the name by which Redis knows it once it has run it. */
export interface Script { readonly text: string, readonly sha: string }

function script (body: string, thoroughly = false): Script {
  const text = `local thoroughly = ${thoroughly}${SETTING}${body}`
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

export const append = script(APPEND)
export const end = script(END)
export const head = script(HEAD)
export const read = script(READ)
export const check = script(CHECK, true)
