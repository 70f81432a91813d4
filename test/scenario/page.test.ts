import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Type } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import sse, { EventQueue } from '../../lib/index.ts'
import { serveClient } from '../setup/bundle.ts'
import { certificate } from '../setup/certificate.ts'
import { inEachEngine } from '../setup/engines/each.ts'
import { PATIENCE, type Page } from '../setup/engines/engine.ts'
import { listen } from '../setup/listen.ts'
import { until } from '../setup/until.ts'

t.setTimeout(180_000)

const events = { order: Type.Object({ id: Type.Integer(), paid: Type.Boolean() }), note: Type.String() }

/** A server with one stream, whose events the test pushes. */
class Site {
  readonly app: FastifyInstance = Fastify({ forceCloseConnections: true })
  readonly queues: Array<EventQueue<typeof events>> = []
  readonly requests: string[] = []
  open = 0

  /** Starts on the port of the server before it, if there was one. */
  static async start (t: Test, port = 0): Promise<{ site: Site, port: number }> {
    const site = new Site()
    const { app } = site
    await app.register(sse, { retry: 50, heartbeatInterval: 0 })
    app.get('/orders', { schema: { sse: events } }, (request, reply) => {
      site.requests.push(String(request.headers['last-event-id'] ?? ''))
      return reply.sse(site.#queue(reply))
    })
    app.post('/answer', { schema: { sse: events } }, (request, reply) => {
      site.requests.push(JSON.stringify(request.body))
      return reply.sse(site.#queue(reply))
    })
    await serveClient(app)
    t.teardown(() => app.close())
    await app.listen({ host: '127.0.0.1', port })
    return { site, port: (app.server.address() as { port: number }).port }
  }

  #queue ({ raw }: { raw: ServerResponse }): EventQueue<typeof events> {
    this.open++
    raw.on('close', () => { this.open-- })
    const queue = new EventQueue<typeof events>()
    this.queues.push(queue)
    return queue
  }
}

declare global {
  interface Window { got: string[], states: string[], ended: string, enough: boolean }
}

const gets = (page: Page, number: number) =>
  page.until(`${number} events`, number => window.got.length >= number, number)

inEachEngine(t, 1, (t, engine) => {
  t.test('a page reads a stream with for await', async t => {
    const { site, port } = await Site.start(t)
    const page = await engine.open(t, `http://127.0.0.1:${port}/`)
    await page.evaluate(async () => {
      const path = '/client.js'
      const { connect } = await import(path) as typeof import('../../lib/client.ts')
      Object.assign(window, { got: [], states: [], ended: '', enough: false })
      const stream = connect<typeof events>('/orders', {
        events: { order: 'json', note: 'text' },
        retryDelay: 50,
        maxRetryDelay: 200,
        onStateChange: state => { window.states.push(state) }
      })
      stream.closed.then(({ reason }) => { window.ended = reason })
      const read = async (): Promise<void> => {
        for await (const event of stream) {
          const { id } = event
          if (event.event === 'order') window.got.push(`${id} order ${event.data.id + 1} ${event.data.paid}`)
          else window.got.push(event.event === 'note' ? `${id} note ${event.data.length}` : event.event)
          if (window.enough) break
        }
        window.got.push('out')
      }
      read()
    })

    await until('it is connected', () => site.queues.length === 1, PATIENCE)
    site.queues[0]!.push({ id: '1', event: 'order', data: { id: 41, paid: true } })
    site.queues[0]!.push({ id: '2', event: 'note', data: '{"id":1}' })
    await gets(page, 2)
    t.strictSame(await page.evaluate(() => window.got), ['1 order 42 true', '2 note 8'],
      'JSON is parsed, text is a string')

    await site.app.close()
    await page.until('the loss', () => window.states.at(-1) === 'connecting')
    const { site: next } = await Site.start(t, port)
    await until('it is connected again', () => next.queues.length === 1, PATIENCE)
    t.strictSame(next.requests, ['2'], 'it resumes at its position')
    next.queues[0]!.push({ id: '3', event: 'order', data: { id: 42, paid: false } })
    await gets(page, 3)
    t.equal(next.open, 1)

    await page.evaluate(() => { window.enough = true })
    next.queues[0]!.push({ id: '4', event: 'note', data: 'the last' })
    await gets(page, 5)
    t.strictSame(await page.evaluate(() => window.got), ['1 order 42 true', '2 note 8', '3 order 43 false', '4 note 8',
      'out'])
    await until('leaving the loop frees the stream', () => next.open === 0, PATIENCE)
    await page.until('its end', () => window.ended === 'closed')
    const states = await page.evaluate(() => window.states)
    t.strictSame(states.filter((state, n, all) => state !== all[n - 1]), ['live', 'connecting', 'live', 'closed'])
  })

  t.test('a page reads the response to a POST, which ends for good', async t => {
    const { site, port } = await Site.start(t)
    const page = await engine.open(t, `http://127.0.0.1:${port}/`)
    await page.evaluate(async () => {
      const path = '/client.js'
      const { connect } = await import(path) as typeof import('../../lib/client.ts')
      Object.assign(window, { got: [], ended: '' })
      const stream = connect<typeof events>('/answer', {
        events: { order: 'json', note: 'text' },
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ question: 'größer?' })
      })
      stream.on('note', ({ data }) => { window.got.push(data) })
      stream.closed.then(({ reason }) => { window.ended = reason })
    })
    await until('the request is received', () => site.queues.length === 1, PATIENCE)
    site.queues[0]!.push({ event: 'note', data: 'one' })
    await gets(page, 1)
    t.equal(site.open, 1, 'the first arrives before the last')
    site.queues[0]!.push({ event: 'note', data: 'two' })
    site.queues[0]!.end()
    await page.until('its end', () => window.ended !== '')
    t.strictSame(await page.evaluate(() => [...window.got, window.ended]), ['one', 'two', 'complete'])
    t.strictSame(site.requests, ['{"question":"größer?"}'], 'requested once')
  })

  t.test('a page detects a lost HTTP/2 connection by its silence, and resumes at its position', async t => {
    const server = { http2: true, https: certificate(), forceCloseConnections: true } as FastifyServerOptions
    const app: FastifyInstance = Fastify(server)
    await app.register(sse, { retry: 50, heartbeatInterval: 200 })
    const numbers = app.sse.channel('numbers')
    app.get('/numbers', (_request, reply) => reply.sse(numbers))
    const sockets = new Set<Socket>()
    app.server.on('secureConnection', socket => sockets.add(socket))
    await serveClient(app)
    const page = await engine.open(t, `https://127.0.0.1:${await listen(t, app)}/`)
    await page.evaluate(async () => {
      const path = '/client.js'
      const { connect } = await import(path) as typeof import('../../lib/client.ts')
      Object.assign(window, { got: [] })
      const stream = connect('/numbers', { inactivityTimeout: 2_000, retryDelay: 50 })
      stream.on('message', ({ data }) => { window.got.push(data) })
    })
    await until('it is subscribed', () => numbers.subscribers === 1, PATIENCE)
    await numbers.publish({ data: 1 })
    await gets(page, 1)
    for (const socket of sockets) socket.destroy()
    await until('it is disconnected', () => numbers.subscribers === 0, PATIENCE)
    await numbers.publish({ data: 2 })
    await gets(page, 2)
    t.strictSame(await page.evaluate(() => window.got), ['1', '2'])
  })
})
