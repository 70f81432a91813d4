import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyServerOptions } from 'fastify'
import t from 'tap'
import sse from '../lib/index.ts'
import { WebKit } from './setup/engines/webkit.ts'
const raws = new Set<any>()
const sessions = new Set<any>()
import { certificate } from './setup/certificate.ts'
t.setTimeout(120000)
t.test('x', async t => {
  const engine = await WebKit.start(t)
  const app = Fastify({ forceCloseConnections: true, http2: true, https: { ...certificate(), allowHTTP1: true } } as FastifyServerOptions)
  await app.register(sse, { retry: 50 })
  app.get('/', (_request, reply) => reply.type('text/html').send('<!doctype html><link rel="icon" href="data:,"><title>A page</title>'))
  const t0 = performance.now()
  const log = (...a: unknown[]) => console.log('#', (performance.now() - t0).toFixed(), ...a)
  app.get('/news', (request, reply) => {
    log('asked', request.raw.httpVersion, request.lastEventId, request.raw.headers[':path'])
    reply.raw.on('close', () => log('closed')); raws.add(reply.raw)
    return reply.sse(app.sse.channel('news'))
  })
  const sockets = new Set<any>()
  app.server.on('secureConnection', socket => { log('socket'); sockets.add(socket); socket.on('close', () => log('socket closed')) })
  app.server.on('session', (s: any) => { sessions.add(s); s.on('goaway', (...a: unknown[]) => log('goaway', a)); s.on('error', (e: Error) => log('serr', e.message)) })
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  const page = await engine.open(t, `https://127.0.0.1:${(app.server.address() as any).port}/`)
  const N = Number(process.env.N ?? 12)
  await page.evaluate(n => {
    const told: string[] = (window as any).told = []
    ;(window as any).sources = Array.from({ length: n }, (_, i) => { const s = new EventSource('/news'); s.onopen = () => { told.push(i + 'open') }; s.onerror = () => { told.push(i + 'error' + s.readyState) }; s.onmessage = e => { told.push(i + e.data) }; return s })
  }, N)
  await sleep(2000)
  await app.sse.channel('news').publish({ data: 'one' })
  await sleep(1000)
  log(await page.evaluate(() => (window as any).told.splice(0)))
  log('destroy'); if (process.env.STREAM) for (const r of raws) process.env.STREAM === 'end' ? r.stream.end() : r.stream.close(Number(process.env.STREAM)); else if (process.env.GO) for (const s of sessions) process.env.GO === "destroy" ? s.destroy() : s.close(); else if (process.env.END) for (const s of sockets) s.end(); else for (const s of sockets) process.env.RST ? s._parent?.resetAndDestroy?.() ?? s.resetAndDestroy() : s.destroy()
  await sleep(500)
  await app.sse.channel('news').publish({ data: 'two' })
  await sleep(8000)
  log(await page.evaluate(() => (window as any).told.splice(0)))
  log(app.sse.channel('news').subscribers)
})
