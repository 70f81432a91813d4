import { KEY_DURATION } from '../log.ts'
import { PRELUDE, PUBLISHING, script } from './scripts.ts'
import { VERSION } from './script-reply.ts'

// Milliseconds within which a command may be repeated without a second event.
const IDEMPOTENCY = 600_000

/**
 * Appends to one channel in every case. KEYS: 3 and more, the keys of appends by key. ARGV: 12 whether to check first
 * that it can be published, 13 the number of KEYS from 3 on, then event, kind and data of each record, and if there are
 * such keys, also the index of its own in KEYS, or an empty text.
 */
const SLOW = `
local keyed = ARGV[13] ~= '0'
local records, answers, added, next_offset = {}, {}, {}, lost and 1 or newest + 1
local closed = not lost and ended == 1
for i = 14, #ARGV, keyed and 4 or 3 do
  local key = keyed and KEYS[tonumber(ARGV[i + 3])]
  local known = key and added[key]
  if key and not known and not lost then
    local value = redis.pcall('GET', key)
    local of, offset = string.match(type(value) == 'string' and value or '', '^(%w+) (%d+)$')
    known = of == epoch and offset
  end
  if known then
    answers[#answers + 1] = '-' .. known
  elseif closed then
    answers[#answers + 1] = '0'
  else
    answers[#answers + 1] = next_offset
    if key then added[key] = next_offset end
    for part = 0, 2 do records[#records + 1] = ARGV[i + part] end
    next_offset = next_offset + 1
  end
end
if closed and not keyed then return redis.error_reply('ENDED the channel has ended') end
if #records > 0 then
  if ARGV[12] == '1' then
    local refusal = publish_refusal()
    if refusal then return refusal end
  end
  -- The first write needs memory.
  if lost then create() else redis.call('HSET', hash, 'v', ${VERSION}) end
  wrote = true
end
prepare()
if #records > 0 then
  local parts = { '' }
  local refused = add(parts, records)
  if refused then return refused end
  for key, offset in pairs(added) do redis.call('SET', key, epoch .. ' ' .. offset, 'PX', ${KEY_DURATION}) end
  publish(parts)
end
return '=' .. table.concat({ epoch, newest, appended_at, secret, keyed and table.concat(answers, ' ') or nil }, ' ')
`

/**
 * Appends to many channels. KEYS: 1 the receipt, with the answer to the last command of its sender, which the sender
 * can request again; then the hash and the stream of each channel; then the keys of appends by key. ARGV: 1 the
 * number of the command, 2 the command that publishes, 3 the end of the names of Redis channels, 4 a new secret, 5
 * the begin of new epochs, 6 the number of channels; then of each channel two texts, and its records as SLOW has them.
 * The first text has the epoch, the offset and the time that the sender knows. The second one has the limits, the time
 * to live of the hash, the arguments 12 and 13 of SLOW, and the number of records: it is the same for many channels.
 *
 * A channel has one line of the answer: `newest-appendedAt` in the epoch that the sender knows, `=epoch newest
 * appendedAt secret` in another one, with the offsets of all records if some have keys, or `-` and an error.
 */
const APPENDS = `
local receipt, number = KEYS[1], string.format('%016d', ARGV[1])
if redis.call('GETRANGE', receipt, 0, 15) == number then return string.sub(redis.call('GET', receipt), 17) end
local time = redis.call('TIME')
local now_outside = time[1] * 1000 + math.floor(time[2] / 1000)
local now_text = tostring(now_outside)
local PUBLISH, SUFFIX, channels = ARGV[2], ARGV[3], tonumber(ARGV[6])
local wrote, verify_entry = false, true
local concat, pcall_redis, match, unpack, type, tonumber, tostring = table.concat, redis.pcall, string.match, unpack, type, tonumber, tostring

local function slow (KEYS, ARGV)
${PRELUDE}${PUBLISHING}${SLOW}
end

-- A message to no subscriber is not made: its seal costs as much as the append. In a cluster, a command has one channel.
local subscribers = {}
if PUBLISH == 'PUBLISH' then
  local names = {}
  for n = 1, channels do names[n] = KEYS[2 * n] .. SUFFIX end
  -- Without the right to this command, each message is made.
  subscribers = pcall_redis('PUBSUB', 'NUMSUB', unpack(names))
end

-- Sizes as text: to format two numbers costs as much as a command.
local texts = {}
local function text_of (size)
  local text = texts[size] or tostring(size)
  texts[size] = text
  return text
end

-- The terms of a channel, the same for many: limits, whether to probe, and the numbers of keys and records.
local terms_of = {}
local function parse_terms (text)
  local events, bytes, age, ttl, probes, keys, count = match(text, '^(%S+) (%S+) (%S+) (%d*) ([01]) (%d+) (%d+)$')
  keys, count = tonumber(keys), tonumber(count)
  local terms = {
    events = events, bytes = bytes, age = age, ttl = ttl, probes = probes, keys = keys, count = count,
    plain = probes == '0' and keys == 0, parts = count * (keys == 0 and 3 or 4),
    most_events = events * 1.125, most_bytes = bytes * 1.125,
    kept = '^(%d+) ' .. string.gsub(age, '%-', '%%-') .. '$', lasts = age == '-1' and math.huge or math.min(age / 8, 60000)
  }
  terms_of[text] = terms
  return terms
end

-- Whether the sender knows another log than this one: then it has lost its history.
local function is_other (stream, epoch, newest, appended_at, oldest, known)
  local known_epoch, known_offset, known_appended_at = match(known, '^(%w*) (%d+) (%d*)$')
  if epoch ~= known_epoch then return true end
  local known_id = known_offset .. '-' .. known_appended_at
  known_offset = tonumber(known_offset)
  if newest < known_offset or newest == known_offset and appended_at ~= known_appended_at then return true end
  -- After a failover, other nodes may have appended already more events than were lost.
  return newest > known_offset and known_appended_at ~= '' and known_offset >= tonumber(oldest) and #pcall_redis('XRANGE', stream, known_id, known_id) == 0
end

-- Appends in the ordinary case: the log is as the sender knows it, or further; its keys are of this version and were
-- kept a moment ago; the stream has exactly the entries of the log; the limits are exceeded by an eighth at most. Every
-- call that reads evicts exactly. Returns nil in all other cases.
local function fast (hash, stream, heard, first, last, known, terms)
  local state = pcall_redis('HMGET', hash, 'epoch', 'newest', 'appendedAt', 'bytes', 'ended', 'secret', 'v', 'oldest', 'kept')
  local epoch, offset, appended_at, bytes, ended, secret, v, oldest, kept = unpack(state, 1, 9)
  if not epoch or ended ~= '0' or v ~= '${VERSION}' or not secret or not oldest or not kept then return nil end
  local newest = tonumber(offset)
  if epoch .. ' ' .. offset .. ' ' .. appended_at ~= known and is_other(stream, epoch, newest, appended_at, oldest, known) then return nil end
  local size = pcall_redis('XLEN', stream)
  if size == 0 or size ~= newest - oldest + 1 then return nil end
  local kept_at = match(kept, terms.kept)
  if not kept_at or now_outside - kept_at >= terms.lasts then return nil end
  for i = first, last, 3 do bytes = bytes + #ARGV[i] + #ARGV[i + 2] end
  if size + terms.count > terms.most_events or bytes > terms.most_bytes then return nil end

  local before = appended_at
  -- If the clock was set back, the ids of the stream must not decrease.
  if now_outside > tonumber(appended_at) then appended_at = now_text end
  local parts, length, id = heard and { secret, '' }, 2, nil
  for i = first, last, 3 do
    newest = newest + 1
    offset = tostring(newest)
    local name, kind, data = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    id = offset .. '-' .. appended_at
    local added = pcall_redis('XADD', stream, id, 'event', name, kind, data)
    if type(added) == 'table' then
      return string.find(added.err, ' ID', 1, true) and { err = 'FOREIGN the stream has an entry that is no event' } or added
    end
    wrote = true
    if heard then
      parts[length + 1], parts[length + 2], parts[length + 3] = offset .. ' ' .. text_of(#name) .. ' ' .. text_of(#data) .. ' ' .. kind .. '\\n', name, data
      length = length + 3
    end
  end
  redis.call('HSET', hash, 'newest', offset, 'appendedAt', appended_at, 'bytes', tostring(bytes))
  if not heard then return id end
  parts[2] = epoch .. ' ' .. oldest .. ' ' .. offset .. ' ' .. appended_at .. ' 0 ' .. before .. '\\n'
  parts[length + 1] = secret
  local seal = redis.sha1hex(concat(parts))
  parts[1], parts[length + 1] = '${VERSION} ' .. seal .. ' ', nil
  pcall_redis(PUBLISH, hash .. SUFFIX, concat(parts))
  return id
end

local lines, own_key, at = {}, 2 + 2 * channels, 7
while at <= #ARGV do
  local n = #lines + 1
  local hash, stream = KEYS[2 * n], KEYS[2 * n + 1]
  local known, text = ARGV[at], ARGV[at + 1]
  local terms = terms_of[text] or parse_terms(text)
  local first, last = at + 2, at + 1 + terms.parts
  local line = terms.plain and fast(hash, stream, subscribers[2 * n] ~= 0, first, last, known, terms)
  if not line then
    local own = { hash, stream }
    for i = 1, terms.keys do own[2 + i] = KEYS[own_key - 1 + i] end
    local epoch, offset, appended_at = match(known, '^(%w*) (%d+) (%d*)$')
    local args = { ARGV[5] .. #lines, epoch, offset, appended_at, terms.events, terms.bytes, terms.age, terms.ttl, ARGV[4], PUBLISH, hash .. SUFFIX, terms.probes, tostring(terms.keys) }
    for i = first, last do args[#args + 1] = ARGV[i] end
    line = slow(own, args)
  end
  if type(line) == 'table' then
    -- An error of Redis, as of its memory: nothing was written, so the command is rejected as a whole.
    local word = match(line.err, '^%-?(%u+)')
    if not wrote and word ~= 'FOREIGN' and word ~= 'NEWER' and word ~= 'ENDED' and word ~= 'UNPUBLISHABLE' then return line end
    line = '-' .. string.gsub(line.err, '\\n', ' ')
  end
  lines[n] = line
  own_key, at = own_key + terms.keys, last + 1
end
local answer = concat(lines, '\\n')
if wrote then redis.call('SET', receipt, number .. answer, 'PX', ${IDEMPOTENCY}) end
return answer
`

/** Decodes to one line per channel. */
export const append = script(APPENDS, answer => answer.toString().split('\n'))
