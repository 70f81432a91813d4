import t from 'tap'
import { compression } from '../../../lib/cli/doctor/compression.ts'
import { every, examined, found, STREAM, type Sight } from '../../setup/seen.ts'

const GZIP = { headers: { ...STREAM, 'content-encoding': 'gzip' } }
const compressionOf = async (compressed: Sight, base: Sight = {}) => compression(await examined({ base, compressed }))

t.test('what is not compressed is not held back by it', async t => {
  t.strictSame(await compressionOf({}), { name: 'compression', mark: 'ok', summary: 'none', findings: [] })
})

t.test('events that come later with it are held back by it', async t => {
  t.match(found(await compressionOf({ ...GZIP, came: every(1_000, 20, 5_000) })), ['problem: Compression holds events back: with gzip 20 events came later than without, by up to 5.0 s.'])
  t.match(found(await compressionOf({ ...GZIP, came: [] })), ['problem: Compression holds events back: with gzip not a byte of the stream came, 19.0 s after the first one without.'])
})

t.test('compression that holds nothing back is told, and so is that it cannot be known', async t => {
  t.match(found(await compressionOf(GZIP)), [/^note: It is compressed \(gzip\), and nothing is held back/])
  t.match(found(await compressionOf(GZIP, { came: [] })), [/^note: It is compressed \(gzip\)\. Nothing came/])
})

t.test('another answer than without is told', async t => {
  t.match(found(await compressionOf({ status: 429, headers: {} })), [/^warning: With accept-encoding: gzip, br it answers otherwise: 429\./])
  t.match(found(await compressionOf({ headers: { 'content-type': 'text/html' } })), [/otherwise: 200 text\/html\./])
  t.match(found(await compressionOf({ head: false, end: 'failed', error: new Error('socket hang up') })), [/otherwise: socket hang up\./])
  t.match(found(await compressionOf({ head: false })), [/otherwise: no answer\./])
})
