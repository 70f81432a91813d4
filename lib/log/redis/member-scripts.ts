import { channelScript, PUBLISHING } from './scripts.ts'
import { decodeFlag } from './run-scripts.ts'

// The scripts for members. KEYS: 3 a sorted set of holders by the end of their leases, 4 a hash with the fields
// `epoch`, `of <holder> <member>`, `count <member>` and `last <holder>`. The members of a lost epoch do not count. The
// last field is `<number of the call> <its answer> <kind of the entries>`.

const MEMBERS = `
local leases, members = KEYS[3], KEYS[4]
local stale = lost or redis.call('HGET', members, 'epoch') ~= epoch

-- Event, kind and data of each change.
local records = {}
local function change (event, member, kind)
  records[#records + 1], records[#records + 2], records[#records + 3] = event, kind, member
end

local function leave (holder, member, kind)
  if redis.call('HDEL', members, 'of ' .. holder .. ' ' .. member) == 0 then return end
  if redis.call('HINCRBY', members, 'count ' .. member, -1) > 0 then return end
  redis.call('HDEL', members, 'count ' .. member)
  change('leave', member, kind)
end

-- Ends the leases that have expired.
local function expire ()
  local gone = redis.call('ZRANGEBYSCORE', leases, '-inf', now)
  if #gone == 0 then return end
  local held = redis.call('HKEYS', members)
  table.sort(held)
  for _, holder in ipairs(gone) do
    local last = redis.call('HGET', members, 'last ' .. holder) or ''
    local kind, start = string.match(last, '^%S+ %S+ (.+)$') or 'json', 'of ' .. holder .. ' '
    for _, field in ipairs(held) do
      if string.sub(field, 1, #start) == start then leave(holder, string.sub(field, #start + 1), kind) end
    end
    redis.call('HDEL', members, 'last ' .. holder)
    redis.call('ZREM', leases, holder)
  end
end

-- Whether there is a lease that has expired.
local function is_due () return redis.call('ZCOUNT', leases, '-inf', now) > 0 end

local function finish ()
  if #records == 0 then return end
  local parts = { '' }
  local refused = add(parts, records)
  -- Without their entries the changes do not count: each holder adds its members again.
  if refused then redis.call('DEL', leases, members) else publish(parts) end
  return refused
end
`

// ARGV: 12 the holder, 13 the duration, 14 the number of the call, 15 the kind of the entries, 16 the number of members
// to add, then these and those to remove.
const HOLD = `${PUBLISHING}${MEMBERS}
local holder, duration, call, kind, added = ARGV[12], tonumber(ARGV[13]), ARGV[14], ARGV[15], tonumber(ARGV[16])
if not lost and ended == 1 then return redis.error_reply('ENDED the channel has ended') end
if not stale then
  local of, answer = string.match(redis.call('HGET', members, 'last ' .. holder) or '', '^(%S+) (%S+) ')
  if of == call then return answer end
end
if #ARGV > 16 or not stale and is_due() then
  local refusal = publish_refusal()
  if refusal then return refusal end
end
prepare()
if stale then
  redis.call('DEL', leases, members)
  redis.call('HSET', members, 'epoch', epoch)
end
expire()
local answer = redis.call('ZSCORE', leases, holder) and '1' or '0'
for i = 17, 16 + added do
  local member = ARGV[i]
  if redis.call('HSETNX', members, 'of ' .. holder .. ' ' .. member, '1') == 1 and
    redis.call('HINCRBY', members, 'count ' .. member, 1) == 1 then change('join', member, kind) end
end
for i = 17 + added, #ARGV do leave(holder, ARGV[i], kind) end
redis.call('ZADD', leases, now + duration, holder)
redis.call('HSET', members, 'last ' .. holder, call .. ' ' .. answer .. ' ' .. kind)
for _, key in ipairs({ leases, members }) do
  if meta_ttl == '' then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, meta_ttl + duration) end
end
-- The leave entries of an expired lease need the log.
if meta_ttl ~= '' then redis.call('PEXPIRE', hash, meta_ttl + duration) end
return finish() or answer
`

const LIST = `${PUBLISHING}${MEMBERS}
if stale or ended == 1 then return '' end
if is_due() then
  local refusal = publish_refusal()
  if refusal then return refusal end
  prepare()
  expire()
  local refused = finish()
  if refused then return refused end
end
local parts = {}
for _, field in ipairs(redis.call('HKEYS', members)) do
  if string.sub(field, 1, 6) == 'count ' then
    parts[#parts + 1] = #field - 6 .. ' ' .. string.sub(field, 7)
  end
end
return table.concat(parts)
`

/** Parses members, each after its size in bytes and a space; returns undefined for any other text. */
export function decodeMembers (answer: Buffer): string[] | undefined {
  const members: string[] = []
  for (let at = 0; at < answer.length;) {
    const space = answer.indexOf(' ', at)
    const size = space === -1 ? NaN : Number(answer.toString('latin1', at, space))
    if (!(size >= 0 && space + 1 + size <= answer.length)) return undefined
    at = space + 1 + size
    members.push(answer.toString('utf8', space + 1, at))
  }
  return members
}

export const hold = channelScript(HOLD, decodeFlag)
export const members = channelScript(LIST, decodeMembers)
