import { createHash } from 'node:crypto'

// What runs within Redis: each script is one step that nothing comes between. A channel has two keys in one slot: a hash
// (epoch, newest, stamp, bytes, ended) and a stream whose ids are `<offset>-<stamp>`, so that any offset is found at once. The stamp is
// the time of the append in milliseconds by the clock of Redis: it bounds the history by age, and tells two events apart that were given
// one offset, as a failover to a replica that was behind makes them.

/** Text of all scripts, in their order of arguments. */
const SETTING = `
local hash, stream = KEYS[1], KEYS[2]
local fresh, known_epoch, known_offset, known_stamp = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local max_events, max_bytes, max_age, linger = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local state = redis.call('HMGET', hash, 'epoch', 'newest', 'stamp', 'bytes', 'ended')
local epoch, newest, stamp, bytes, ended = state[1], tonumber(state[2]), state[3], tonumber(state[4]), state[5] and 1 or 0
local bytes_before = bytes
local oldest

local function keep ()
  if linger == '' then redis.call('PERSIST', hash) else redis.call('PEXPIRE', hash, linger) end
end

-- A log that is not there, or that knows less than it has told, lost its history: another one begins.
local function settle (thoroughly)
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
  if lost then
    redis.call('DEL', hash, stream)
    epoch, newest, stamp, bytes, ended = fresh, 0, '0', 0, 0
    bytes_before = 0
    redis.call('HSET', hash, 'epoch', epoch, 'newest', newest, 'stamp', stamp, 'bytes', bytes)
  end
  keep()
end

-- What is beyond the bounds leaves, oldest first.
local function evict (hint)
  local size = redis.call('XLEN', stream)
  if size == 0 then bytes = 0 end
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
      bytes = bytes - #entry[2][2] - #entry[2][4]
      cut, last = offset, entry[1]
    end
    if not last then break end
    from, count = '(' .. last, math.min(count * 2, 128)
  end
  if cut then redis.call('XTRIM', stream, 'MINID', cut + 1) end
  if bytes ~= bytes_before then redis.call('HSET', hash, 'bytes', bytes) end
end

local function head ()
  return table.concat({ epoch, oldest or newest + 1, newest, stamp, ended }, ' ') .. '\\n'
end

local function packed (parts, offset, name, kind, data)
  parts[#parts + 1] = offset .. ' ' .. #name .. ' ' .. #data .. ' ' .. kind .. '\\n'
  parts[#parts + 1] = name
  parts[#parts + 1] = data
end
`

// KEYS[3]: the receipt of this node's last append, by which it may ask again after an answer that was lost.
// ARGV: 9 and 10 how and where it is published, 11 the number of the append, then event, kind and data of each record.
const APPEND = `
settle(false)
local number = tonumber(ARGV[11])
local receipt = redis.call('GET', KEYS[3])
if receipt then
  local of, last, answer = string.match(receipt, '^(%w+) (%d+) (.*)$')
  if of == epoch and tonumber(last) >= number then return answer end
end
if ended == 1 then return redis.error_reply('ENDED the channel has ended') end
-- A clock that was set back must not make the ids of a stream look older than they are.
stamp = tostring(math.max(now, tonumber(stamp)))
local parts = {}
for i = 12, #ARGV, 3 do
  newest = newest + 1
  redis.call('XADD', stream, newest .. '-' .. stamp, 'event', ARGV[i], ARGV[i + 1], ARGV[i + 2])
  bytes = bytes + #ARGV[i] + #ARGV[i + 2]
  packed(parts, newest, ARGV[i], ARGV[i + 1], ARGV[i + 2])
end
redis.call('HSET', hash, 'newest', newest, 'stamp', stamp)
evict((#ARGV - 11) / 3 + 1)
if max_age < 0 then redis.call('PERSIST', stream) else redis.call('PEXPIRE', stream, max_age) end
local answer = head()
redis.call('SET', KEYS[3], epoch .. ' ' .. number .. ' ' .. answer, 'PX', 600000)
redis.call(ARGV[9], ARGV[10], answer .. table.concat(parts))
return answer
`

// ARGV: 9 and 10 how and where it is published.
const END = `
settle(false)
if ended == 0 then
  ended = 1
  redis.call('HSET', hash, 'ended', 1)
  redis.call(ARGV[9], ARGV[10], head())
end
return head()
`

const HEAD = `
settle(false)
evict(1)
return head()
`

// ARGV: 9 the offset after which, 10 how many.
const READ = `
settle(false)
evict(1)
local parts = { head() }
for _, entry in ipairs(redis.call('XRANGE', stream, '(' .. ARGV[9] .. '-18446744073709551615', '+', 'COUNT', ARGV[10])) do
  local fields = entry[2]
  packed(parts, string.match(entry[1], '^%d+'), fields[2], fields[3], fields[4])
end
return table.concat(parts)
`

// Whether all that was told is still so, and the keys still there.
const CHECK = `
settle(true)
return head()
`

/** A script, and the name by which Redis knows it once it has run it. */
export interface Script { readonly text: string, readonly sha: string }

function script (body: string): Script {
  const text = SETTING + body
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

export const append = script(APPEND)
export const end = script(END)
export const head = script(HEAD)
export const read = script(READ)
export const check = script(CHECK)
