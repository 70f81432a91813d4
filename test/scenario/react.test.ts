import { mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { Type } from '@sinclair/typebox'
import { build } from 'esbuild'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { EventQueue } from '../../lib/index.ts'
import { inEachEngine } from '../setup/engines/each.ts'
import { PATIENCE, type Page } from '../setup/engines/engine.ts'
import { listen } from '../setup/listen.ts'
import { until } from '../setup/until.ts'

t.setTimeout(240_000)

const events = { step: Type.Object({ percent: Type.Integer() }), done: Type.Object({ rows: Type.Integer() }) }

// A page with one component, whose properties the test sets. Its options are other objects in each render.
const PAGE = `
import { StrictMode, useLayoutEffect } from 'react'
import { createRoot, hydrateRoot } from 'react-dom/client'
import { flushSync } from 'react-dom'
import { useStream } from './lib/client/react.ts'

window.renders = []
window.warnings = []
for (const level of ['error', 'warn']) {
  const print = console[level]
  console[level] = (...args) => { window.warnings.push(args.map(String).join(' ')); print(...args) }
}
addEventListener('unhandledrejection', ({ reason }) => { window.warnings.push(String(reason)) })

function Job ({ id, turn, factor = 1 }) {
  const { state, status, error } = useStream(id === null ? null : '/jobs/' + id, {
    events: { step: 'json', done: 'json' },
    key: turn,
    retryDelay: 20,
    maxRetryDelay: 50,
    headers: { 'x-factor': String(factor) },
    reduce: (state, event) => {
      if (event.event === 'step' && event.data.percent < 0) throw new RangeError('less than nothing')
      return [...state, event.event === 'step' ? event.data.percent * factor : 'done ' + event.data.rows]
    },
    initialState: []
  })
  const text = [id, status, state.join(' '), error === undefined ? '' : error.code].join('|')
  useLayoutEffect(() => { window.renders.push(text) })
  return <p>{text}</p>
}

const main = document.querySelector('main')
const page = props => <StrictMode>{props === undefined ? null : <Job {...props} />}</StrictMode>
const root = main.firstChild === null ? createRoot(main) : hydrateRoot(main, page({ id: 1 }))
window.show = props => flushSync(() => root.render(page(props)))
window.hide = () => flushSync(() => root.render(page()))
`

// The server's markup of the first state.
const MARKUP = `
import { StrictMode } from 'react'
import { renderToString } from 'react-dom/server'
import { useStream } from './lib/client/react.ts'
function Job () {
  const { state, status, error } = useStream('/jobs/1', { initialState: [], reduce: state => state })
  return <p>{[1, status, state.join(' '), error === undefined ? '' : error.code].join('|')}</p>
}
export const markup = renderToString(<StrictMode><Job /></StrictMode>)
`

declare global {
  interface Window {
    renders: string[]
    warnings: string[]
    show: (props: { id: number | null, turn?: string, factor?: number }) => void
    hide: () => void
  }
}

const VERSIONS = {
  18: {},
  19: { react: 'react-19', 'react-dom': 'react-dom-19' }
}

/** Bundles a program with a version of React. */
async function bundled (contents: string, alias: Record<string, string>, platform: 'browser' | 'node'): Promise<string> {
  const { outputFiles: [file] } = await build({
    stdin: { contents, loader: 'tsx', resolveDir: '.' },
    bundle: true,
    format: platform === 'node' ? 'cjs' : 'iife',
    platform,
    jsx: 'automatic',
    alias,
    // StrictMode repeats effects in the development build alone.
    define: { 'process.env.NODE_ENV': '"development"' },
    write: false
  })
  return file!.text
}

/** Renders the page as a server does. */
async function rendered (version: string, alias: Record<string, string>): Promise<string> {
  const folder = '.tap/react'
  mkdirSync(folder, { recursive: true })
  const file = resolve(folder, `${version}.cjs`)
  writeFileSync(file, await bundled(MARKUP, alias, 'node'))
  return (createRequire(import.meta.url)(file) as { markup: string }).markup
}

const pages = new Map<string, { script: string, markup: string }>()
for (const [version, alias] of Object.entries(VERSIONS)) {
  pages.set(version, { script: await bundled(PAGE, alias, 'browser'), markup: await rendered(version, alias) })
}

interface Opened {
  id: string
  factor: string
  lastEventId: string
  queue: EventQueue<typeof events>
  open: boolean
  cut: () => void
}

/** A server with a stream for each job, whose events the test pushes. */
class Site {
  readonly app: FastifyInstance = Fastify({ forceCloseConnections: true })
  readonly streams: Opened[] = []
  /** The next requests are answered with this status. */
  status = 200

  static async start (t: Test, version: string): Promise<{ site: Site, origin: string }> {
    const site = new Site()
    const { app } = site
    await app.register(sse, { retry: 20 })
    app.get<{ Params: { id: string } }>('/jobs/:id', { schema: { sse: events } }, (request, reply) => {
      if (site.status !== 200) return reply.code(site.status).send()
      const opened: Opened = {
        id: request.params.id,
        factor: String(request.headers['x-factor']),
        lastEventId: String(request.headers['last-event-id'] ?? ''),
        queue: new EventQueue<typeof events>(),
        open: true,
        cut: () => { request.raw.socket.destroy() }
      }
      reply.raw.on('close', () => { opened.open = false })
      site.streams.push(opened)
      return reply.sse(opened.queue, { finite: true })
    })
    const { script, markup } = pages.get(version)!
    app.get('/page.js', (_request, reply) => reply.type('text/javascript').send(script))
    for (const [path, content] of [['/', ''], ['/rendered', markup]] as const) {
      app.get(path, (_request, reply) => reply.type('text/html').send(
        `<!doctype html><link rel="icon" href="data:,"><main>${content}</main><script src="/page.js"></script>`))
    }
    return { site, origin: `http://127.0.0.1:${await listen(t, app)}` }
  }

  /** Resolves to the stream with this number, when it is open. */
  async stream (number: number): Promise<Opened> {
    await until(`stream ${number}`, () => this.streams.length >= number, PATIENCE)
    return this.streams[number - 1]!
  }
}

const shows = (page: Page, text: string): Promise<void> =>
  page.until(text, text => document.querySelector('main')!.textContent === text, text)
const clean = async (t: Test, page: Page): Promise<void> => {
  t.strictSame((await page.evaluate(() => window.warnings)).filter(text => !/Failed to load resource/.test(text)), [])
}

inEachEngine(t, 1, (t, engine) => {
  for (const version of Object.keys(VERSIONS)) {
    t.test(`React ${version}: StrictMode opens one connection, and a page renders its events`, async t => {
      const { site, origin } = await Site.start(t, version)
      const page = await engine.open(t, `${origin}/`)
      await page.evaluate(() => window.show({ id: 1 }))
      const { queue } = await site.stream(1)
      queue.push({ event: 'step', data: { percent: 10 }, id: 1 })
      await shows(page, '1|live|10|')
      t.equal(site.streams.length, 1)

      await page.evaluate(() => { window.renders = [] })
      for (let percent = 11; percent <= 40; percent++) queue.push({ event: 'step', data: { percent }, id: percent })
      queue.push({ event: 'done', data: { rows: 7 }, id: 41 })
      queue.end()
      const steps = Array.from({ length: 31 }, (_, index) => 10 + index).join(' ')
      await shows(page, `1|closed|${steps} done 7|`)
      const renders = await page.evaluate(() => window.renders.length)
      t.ok(renders <= 4, `${renders} renders of 31 events`)
      t.equal(site.streams.length, 1, 'a finite stream is not requested again')
      await clean(t, page)
    })

    t.test(`React ${version}: another render keeps the connection, another URL or key replaces it`, async t => {
      const { site, origin } = await Site.start(t, version)
      const page = await engine.open(t, `${origin}/`)
      await page.evaluate(() => window.show({ id: 1 }))
      const first = await site.stream(1)
      first.queue.push({ event: 'step', data: { percent: 1 } })
      await shows(page, '1|live|1|')
      await page.evaluate(() => { for (const factor of [2, 3, 100]) window.show({ id: 1, factor }) })
      first.queue.push({ event: 'step', data: { percent: 2 } })
      await shows(page, '1|live|1 200|')
      t.equal(site.streams.length, 1, 'reduce is the one of the latest render')

      t.equal(await page.evaluate(() => {
        window.renders = []
        window.show({ id: 2, factor: 100 })
        return window.renders[0]
      }), '2|connecting||', 'no render shows the state of another URL')
      const second = await site.stream(2)
      t.equal(second.factor, '100', 'values are those of the connection')
      await until('the first is closed', () => !first.open, PATIENCE)
      await page.evaluate(() => window.show({ id: 2, factor: 100, turn: 'again' }))
      const third = await site.stream(3)
      await until('the second is closed', () => !second.open, PATIENCE)
      third.queue.push({ event: 'step', data: { percent: 3 } })
      await shows(page, '2|live|300|')
      await page.evaluate(() => window.show({ id: null }))
      await until('without a URL it is closed', () => !third.open, PATIENCE)
      await shows(page, '|closed||')
      await clean(t, page)
    })

    t.test(`React ${version}: unmounting closes the connection, at once`, async t => {
      const { site, origin } = await Site.start(t, version)
      const page = await engine.open(t, `${origin}/`)
      await page.evaluate(() => window.show({ id: 1 }))
      const { queue } = await site.stream(1)
      queue.push({ event: 'step', data: { percent: 1 } })
      await shows(page, '1|live|1|')
      await page.evaluate(() => window.hide())
      await until('it is closed', () => !site.streams[0]!.open, PATIENCE)
      await page.evaluate(() => {
        window.show({ id: 2 })
        window.hide()
      })
      await page.evaluate(() => window.show({ id: 3 }))
      t.equal((await site.stream(2)).id, '3', 'a component that is gone by now opens nothing')
      await clean(t, page)
    })

    t.test(`React ${version}: a lost connection resumes, and failures are shown`, async t => {
      const { site, origin } = await Site.start(t, version)
      const page = await engine.open(t, `${origin}/`)
      await page.evaluate(() => window.show({ id: 1 }))
      const first = await site.stream(1)
      first.queue.push({ event: 'step', data: { percent: 1 }, id: 'one' })
      await shows(page, '1|live|1|')
      site.status = 503
      first.cut()
      await shows(page, '1|connecting|1|FST_SSE_STATUS')
      site.status = 200
      const second = await site.stream(2)
      t.equal(second.lastEventId, 'one')
      second.queue.push({ event: 'step', data: { percent: 2 }, id: 'two' })
      await shows(page, '1|live|1 2|')
      second.queue.push({ event: 'step', data: { percent: -1 } })
      await shows(page, '1|closed|1 2|FST_SSE_CALLBACK')
      await until('it is closed', () => !second.open, PATIENCE)
      site.status = 403
      await page.evaluate(() => window.show({ id: 4 }))
      await shows(page, '4|closed||FST_SSE_STATUS')
      await clean(t, page)
    })

    t.test(`React ${version}: a page that a server rendered is hydrated, then connects`, async t => {
      const { site, origin } = await Site.start(t, version)
      const page = await engine.open(t, `${origin}/rendered`)
      const { queue } = await site.stream(1)
      queue.push({ event: 'step', data: { percent: 10 } })
      await shows(page, '1|live|10|')
      t.equal(site.streams.length, 1)
      await clean(t, page)
    })
  }
})
