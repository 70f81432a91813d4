import { once } from 'node:events'
import { sqliteLog } from '../../lib/sqlite.ts'
import { openDatabase } from './sqlite.ts'

// A process that a test kills: node --import ./test/setup/typescript.js held-file.ts FILE LEASE
// It takes a lease and holds a member, both for LEASE milliseconds, and prints the epoch.

const [file = '', lease = '0'] = process.argv.slice(2)
// The modules are loaded: the test lets it open the file.
await once(process.stdin, 'data')
const log = sqliteLog(openDatabase(file))('news', { maxEvents: 100, maxBytes: 1_000_000, maxAge: 60_000 })
const { epoch } = await log.append({ event: 'message', data: '1', json: true })
await log.lease?.('killed', Number(lease))
await log.hold?.('killed', { add: ['"a"'], remove: [] }, Number(lease))
console.log(epoch)
setInterval(() => {}, 60_000)
