import type { LogStatus } from '../log.ts'
import { channelScript, script } from './scripts.ts'

// The scripts for runs, and for the names of channels by epoch. The field `lease` of the hash is `<epoch> <first owner>
// <holder> <end>`, and `outcome` is `<epoch> <outcome>`: the fields of a lost epoch do not count.

const LEASE_FIELDS = `
local lease = redis.call('HMGET', hash, 'lease', 'outcome')
local of, owner, holder, ends = string.match(lease[1] or '', '^(%w+) (%S+) (%S+) (%d+)$')
if lost or of ~= epoch then owner, holder, ends = nil, nil, 0 end
local held = ended == 0 and tonumber(ends) > now
`

// Writes nothing.
const PEEK = `
if lost then return '' end
${LEASE_FIELDS}
local outcome = string.match(lease[2] or '', '^' .. epoch .. ' (%S+)$')
return table.concat({ epoch, newest, ended, held and 1 or 0, owner or '.', outcome or '.' }, ' ')
`

// ARGV: 10 the owner, 11 the duration.
const LEASE = `
if lost then ended = 0 end
${LEASE_FIELDS}
local duration = tonumber(ARGV[11])
if ended == 1 or held and holder ~= ARGV[10] then return '0' end
if duration == 0 and not owner then return '1' end
prepare()
redis.call('HSET', hash, 'lease', table.concat({ epoch, owner or ARGV[10], ARGV[10], duration == 0 and 0 or now + duration }, ' '))
return '1'
`

const NAME = '([\\w-]{1,64}|\\.)'
const STATUS = new RegExp(`^([0-9A-Za-z]{1,32}) (\\d{1,16}) ([01]) ([01]) ${NAME} ${NAME}$`)

/** Parses the answer of a peek: null if there is no log, undefined for any other text. */
function decodeStatus (answer: Buffer): LogStatus | null | undefined {
  if (answer.length === 0) return null
  const [, epoch, newest, ended, leased, owner, outcome] = STATUS.exec(answer.toString('latin1')) ?? []
  if (epoch === undefined) return undefined
  return {
    epoch,
    newest: Number(newest),
    ended: ended === '1',
    outcome: outcome === '.' ? undefined : outcome,
    owner: owner === '.' ? undefined : owner,
    leased: leased === '1'
  }
}

const FLAGS: Record<string, boolean | undefined> = { 0: false, 1: true }
export const decodeFlag = (answer: Buffer): boolean | undefined => FLAGS[answer.toString()]

export const peek = channelScript(PEEK, decodeStatus)
export const lease = channelScript(LEASE, decodeFlag)

/** KEYS: keys of epochs. ARGV: for each the name, and the milliseconds that the key lives, or an empty text. */
export const register = script(`
for i, key in ipairs(KEYS) do
  local name, age = ARGV[2 * i - 1], ARGV[2 * i]
  if age == '' then redis.call('SET', key, name) else redis.call('SET', key, name, 'PX', age) end
end
return '1'
`, () => true)

/** KEYS[1]: the key of an epoch. A key of another kind is no name. */
export const locate = script(`
local name = redis.pcall('GET', KEYS[1])
return type(name) == 'string' and name or ''
`, answer => answer.toString())
