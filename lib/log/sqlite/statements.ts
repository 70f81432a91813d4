/** The number of columns of `events`. */
export const EVENT_COLUMNS = 9

const inserts: string[] = []
const ROW = `(${Array(EVENT_COLUMNS).fill('?').join(', ')})`

/** Returns the statement that inserts so many events. */
export function insertEvents (rows: number): string {
  inserts[rows] ??= `INSERT INTO events VALUES ${Array(rows).fill(ROW).join(', ')}`
  return inserts[rows]
}

export const FIND_CHANNEL = `
SELECT id, epoch, oldest, newest, total, at, ended, outcome, owner, holder, until, age, used FROM channels
WHERE name = ?`

export const INSERT_CHANNEL = `
INSERT INTO channels (id, name, epoch, oldest, newest, total, at, ended, until, age, used, expires)
VALUES (?, ?, ?, 1, 0, 0, ?, 0, 0, ?, ?, ?)`

export const UPDATE_CHANNEL = `
UPDATE channels SET oldest = ?, newest = ?, total = ?, at = ?, ended = ?, outcome = ?, owner = ?, holder = ?, until = ?,
age = ?, used = ?, expires = ? WHERE id = ?`

export const FIND_EPOCH = 'SELECT name FROM channels WHERE epoch = ?'

export const FIRST_EVENT = 'SELECT number, before, at FROM events WHERE channel = ? ORDER BY number LIMIT 1'

export const LAST_EVENT = `
SELECT number, before + size AS total, at FROM events WHERE channel = ? ORDER BY number DESC LIMIT 1`

// Each of the last three columns grows with the number.
export const FIRST_KEPT = `
SELECT number, before, at FROM events WHERE channel = ? AND number >= ? AND before >= ? AND at > ?
ORDER BY number LIMIT 1`

// One text has all entries: a driver that reads rows pays for each value, and node:sqlite cuts a text at U+0000.
export const READ_EVENTS = `
SELECT json_group_array(json_array(number, event, data, json, fingerprint)) AS entries
FROM (SELECT * FROM events WHERE channel = ? AND number >= ? ORDER BY number LIMIT ?)`

// The first entry before which so many bytes were read.
export const READ_END = `
SELECT number FROM events WHERE channel = ? AND number > ? AND number < ?
AND before >= ? + (SELECT before FROM events WHERE channel = ? AND number = ?) ORDER BY number LIMIT 1`

export const DELETE_EVENTS = 'DELETE FROM events WHERE channel = ? AND number < ?'

export const FIND_KEY = 'SELECT number FROM keys WHERE channel = ? AND name = ? AND at > ?'

export const INSERT_KEY = `
INSERT INTO keys VALUES (?, ?, ?, ?)
ON CONFLICT (channel, name) DO UPDATE SET number = excluded.number, at = excluded.at`

export const FIND_HOLDERS = `
SELECT json_group_array(json_array(name, until, fingerprint)) AS holders FROM holders WHERE channel = ?`

export const FIND_HELD = 'SELECT json_group_array(json_array(holder, member)) AS held FROM held WHERE channel = ?'

export const DELETE_EXPIRED_HELD = `
DELETE FROM held WHERE channel = ? AND holder IN (SELECT name FROM holders WHERE channel = ? AND until <= ?)`

export const DELETE_EXPIRED_HOLDERS = 'DELETE FROM holders WHERE channel = ? AND until <= ?'

export const INSERT_HOLDER = `
INSERT INTO holders VALUES (?, ?, ?, ?)
ON CONFLICT (channel, name) DO UPDATE SET until = excluded.until, fingerprint = excluded.fingerprint`

export const INSERT_HELD = 'INSERT OR IGNORE INTO held VALUES (?, ?, ?)'

export const DELETE_HELD = 'DELETE FROM held WHERE channel = ? AND holder = ? AND member = ?'

export const FIND_EXPIRED = `
SELECT json_group_array(json_array(id, name, age, max(used, coalesce((
  SELECT at FROM events WHERE channel = id ORDER BY number DESC LIMIT 1
), 0)))) AS channels
FROM (SELECT id, name, age, used FROM channels WHERE expires <= ? ORDER BY expires LIMIT ?)`

export const SET_EXPIRES = 'UPDATE channels SET expires = ? WHERE id = ?'

export const SET_COUNTERS = `
UPDATE channels SET (oldest, newest, total, at) = (
  SELECT number + 1, number, before + size, at FROM events WHERE channel = id ORDER BY number DESC LIMIT 1
) WHERE id = ?`

export const DELETE_CHANNEL = [
  'DELETE FROM keys WHERE channel = ?', 'DELETE FROM held WHERE channel = ?', 'DELETE FROM holders WHERE channel = ?',
  'DELETE FROM channels WHERE id = ?'
]

export const DELETE_KEYS = `
DELETE FROM keys WHERE (channel, name) IN (SELECT channel, name FROM keys WHERE at <= ? ORDER BY at LIMIT ?)`

export const FIND_EXPIRED_KEY = 'SELECT at FROM keys WHERE at <= ? LIMIT 1'
