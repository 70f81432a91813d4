import { get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { constants, createGunzip } from 'node:zlib'
import compress from '@fastify/compress'
import middie, { type Handler } from '@fastify/middie'
import compression from 'compression'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type StreamOptions } from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { within } from '../setup/within.ts'

// The table of compressors in the documentation, row by row.

interface Outcome { encoding: string | undefined, beforeEnd: number, events: number }

/** A stream of three events through a compressor, as received by a client that accepts gzip. */
async function outcome (
  t: Test,
  prepare: (app: FastifyInstance) => unknown,
  headers: Record<string, string> = {},
  options: StreamOptions = {}
): Promise<Outcome> {
  const app = Fastify({ forceCloseConnections: true })
  await prepare(app)
  await app.register(sse)
  let received = ''
  const count = (): number => received.split('data: ').length - 1
  let beforeEnd = 0
  app.get('/', (_request, reply) => reply.headers(headers).sse(async function * () {
    for (let n = 1; n <= 3; n++) {
      yield { data: { n } }
      // An event has up to 2 s to arrive. For a compressor that buffers events, 100 ms suffice.
      for (let waited = 0; count() < n && waited < (beforeEnd < n - 1 ? 100 : 2_000); waited += 20) await sleep(20)
      beforeEnd = count()
    }
  }, options))
  const port = await listen(t, app)
  const encoding = await within('the response', new Promise<string | undefined>((resolve, reject) => {
    get({ port, host: '127.0.0.1', agent: false, headers: { 'accept-encoding': 'gzip' } }, response => {
      const encoding = response.headers['content-encoding']
      const body = encoding === 'gzip' ? response.pipe(createGunzip({ flush: constants.Z_SYNC_FLUSH })) : response
      body.setEncoding('utf8').on('data', text => {
        received += text
      }).on('error', reject).on('end', () => resolve(encoding))
    }).on('error', reject)
  }), 30_000)
  return { encoding, beforeEnd, events: count() }
}

const untouched: Outcome = { encoding: undefined, beforeEnd: 3, events: 3 }
const held: Outcome = { encoding: 'gzip', beforeEnd: 0, events: 3 }
const flushed: Outcome = { encoding: 'gzip', beforeEnd: 3, events: 3 }
const flush = constants.Z_SYNC_FLUSH

t.test('@fastify/compress does not compress a stream; if forced to, it sends it at the end, unless it flushes', async t => {
  const types = { customTypes: /event-stream/, threshold: 0 }
  t.strictSame(await outcome(t, app => app.register(compress)), untouched)
  t.strictSame(await outcome(t, app => app.register(compress, types)), held)
  t.strictSame(await outcome(t, app => app.register(compress, { ...types, zlibOptions: { flush } })), flushed)
})

t.test('Express compression does not compress a stream; without no-transform, it sends it at the end, unless it flushes', async t => {
  const use = (options: compression.CompressionOptions) => async (app: FastifyInstance) => {
    await app.register(middie)
    // Its type is the handler type of Express.
    app.use(compression({ threshold: 0, ...options }) as unknown as Handler)
  }
  const headers = { 'cache-control': 'no-cache' }
  t.strictSame(await outcome(t, use({})), untouched)
  t.strictSame(await outcome(t, use({}), headers), held)
  t.strictSame(await outcome(t, use({ flush }), headers), flushed)
})

t.test('a stream with the option `compress` has one coding beside each compressor, and each event at once', async t => {
  const types = { customTypes: /event-stream/, threshold: 0 }
  const express = (options: compression.CompressionOptions) => async (app: FastifyInstance) => {
    await app.register(middie)
    app.use(compression({ threshold: 0, ...options }) as unknown as Handler)
  }
  for (const prepare of [
    (app: FastifyInstance) => app.register(compress),
    (app: FastifyInstance) => app.register(compress, { ...types, zlibOptions: { flush } }),
    express({}),
    express({ flush, filter: () => true })
  ]) t.strictSame(await outcome(t, prepare, {}, { compress: true }), flushed)
})
