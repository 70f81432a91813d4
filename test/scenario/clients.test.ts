import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type Channel, type RegisterOptions } from '../../lib/index.ts'
import { fetchEventSourceIn, openNative } from '../setup/clients/browser.ts'
import { openConnect } from '../setup/clients/connect.ts'
import { openCurl } from '../setup/clients/curl.ts'
import { openEventSource, openLaunchDarkly } from '../setup/clients/event-source.ts'
import type { Open, Reader } from '../setup/clients/reader.ts'
import { ENGINES } from '../setup/engines/each.ts'
import { listen } from '../setup/listen.ts'
import { absent, CURL } from '../setup/programs.ts'
import { Relay } from '../setup/relay.ts'
import { until } from '../setup/until.ts'
import { still, within } from '../setup/within.ts'

t.setTimeout(300_000)

// Third-party clients and our own read this server, each in the same scenarios. If a client differs from the standard,
// its row states the result and the reason. The test fails when the client changes.

type Serve = (request: FastifyRequest, reply: FastifyReply) => unknown

/** A server whose stream is at `/events`, behind a relay that can break. */
class Stage {
  readonly app: FastifyInstance
  readonly relay: Relay
  readonly responses: ServerResponse[] = []
  /** `request.lastEventId` of each request. */
  readonly positions: Array<string | undefined> = []

  /** The target of the relay. */
  readonly ports: number[]

  private constructor (app: FastifyInstance, ports: number[], relay: Relay) {
    this.app = app
    this.ports = ports
    this.relay = relay
  }

  /** A short retry delay, unless a test sets another. */
  static async start (
    t: Test,
    prepare: (app: FastifyInstance) => Serve,
    options: RegisterOptions = {}
  ): Promise<Stage> {
    let requests = 0
    // The request of a page is not counted: error events contain the request id.
    const genReqId = ({ url }: { url?: string | undefined }): string => url === '/' ? 'page' : `req-${++requests}`
    const app = Fastify({ forceCloseConnections: true, genReqId })
    await app.register(sse, { retry: 20, ...options })
    const serve = prepare(app)
    // For clients that run in a page.
    app.get('/', (_request, reply) => reply.type('text/html').send('<!doctype html><link rel="icon" href="data:,">'))
    app.get('/events', (request, reply) => {
      stage.responses.push(reply.raw)
      stage.positions.push(request.lastEventId)
      app.server.emit('requested')
      return serve(request, reply)
    })
    const ports = [await listen(t, app)]
    const stage = new Stage(app, ports, await Relay.start(t, () => ports))
    return stage
  }

  get url (): string { return `http://127.0.0.1:${this.relay.port}/events` }

  /** The status of each response, once that many requests were received, or once the client has stopped. */
  async statuses (reader: Reader, count: number): Promise<number[]> {
    await until('a next request or none', () => reader.stopped || this.responses.length >= count)
    return this.responses.slice(0, count).map(({ statusCode }) => statusCode)
  }

  /** Resolves as soon as that many requests were received. */
  async requested (count: number): Promise<void> {
    const wait = async (): Promise<void> => {
      while (this.responses.length < count) await once(this.app.server, 'requested')
    }
    await within(`${count} requests`, wait())
  }

  /** Resolves when the first connection is closed. */
  async disconnected (): Promise<void> {
    await this.requested(1)
    if (!this.responses[0]!.closed) await within('the end of the connection', once(this.responses[0]!, 'close'))
  }
}

/** Connects the client for the nth time: by itself, or as its user would. */
async function back (stage: Stage, reader: Reader, count: number): Promise<void> {
  if (reader.again !== undefined) {
    await reader.until('the end of its program', ({ stopped }) => stopped)
    reader.again()
  }
  await stage.requested(count)
}

/** Most clients do not report frames without an event, so the test waits until a client has read what was held back. */
async function cutWhenTaken (stage: Stage, reader: Reader, held: Promise<void>, position?: string): Promise<void> {
  await within('the place to hold', held)
  if (position === undefined || reader.position === undefined) await still(() => reader.blanks)
  else await reader.until('its position', reader => reader.position === position)
  stage.relay.cut()
  await stage.disconnected()
}

const shows = (reader: Reader, data: string): Promise<void> =>
  reader.until(`${data} shown`, ({ messages }) => messages.at(-1)?.data === data)
const subscribed = (channel: Channel): Promise<void> => until('a subscriber', () => channel.subscribers > 0)
const texts = ({ messages }: Reader): string[] => messages.map(({ data }) => data)
const serveChannel = (app: FastifyInstance): Serve => (_request, reply) => reply.sse(app.sse.channel('news'))
const aborted = async (signal: AbortSignal): Promise<void> => { if (!signal.aborted) await once(signal, 'abort') }

/** These events, then silence. */
const serveEvents = (...events: object[]): () => Serve => () => (_request, reply) =>
  reply.sse(async function * ({ signal }) {
    yield * events as Array<{ data: unknown }>
    await aborted(signal)
  })

interface Scenario {
  title: string
  /** The events to listen for. */
  names?: readonly string[]
  /** The result for a client that conforms to the standard. */
  expect: unknown
  run: (t: Test, open: (stage: Stage) => Promise<Reader>) => Promise<unknown>
}

const TEXTS = ['plain', ': no comment', ' one space before', 'two\nlines', 'CR, LF and both', 'grüße 漢字 👋🏽',
  'a\u2028b\u0000c', '{"n":[1,null,"ü"]}', 'end']

const scenarios = {
  story: {
    title: 'named events, and texts with line breaks, in any script',
    names: ['named', 'größe'],
    expect: [
      ...TEXTS.map((data, index) => ['message', data, String(index)]),
      ['named', 'a\nb\n\nc\nd', 'x'], ['named', '', 'y'], ['größe', '', 'z'], ['message', 'over', 'over']
    ],
    run: async (t, open) => {
      const events = [
        ...TEXTS.map((text, index) => ({ id: index, data: text.startsWith('{') ? JSON.parse(text) as object : text })),
        { event: 'named', id: 'x', data: 'a\r\nb\n\rc\rd' },
        { event: 'named', id: 'y', data: '' },
        { event: 'größe', id: 'z', data: '' },
        { id: 'over', data: 'over' }
      ]
      const reader = await open(await Stage.start(t, serveEvents(...events)))
      await shows(reader, 'over')
      return reader.messages.map(({ event, data, id }) => [event, data, id])
    }
  },
  breaks: {
    title: 'line breaks at both ends of a text',
    expect: ['\n\none\n', '\n', 'over'],
    run: async (t, open) => {
      const reader = await open(
        await Stage.start(t, serveEvents({ data: '\n\none\n' }, { data: '\n' }, { data: 'over' }))
      )
      await shows(reader, 'over')
      return texts(reader)
    }
  },
  empty: {
    title: 'an event without name and text is dispatched',
    expect: ['', 'over'],
    run: async (t, open) => {
      const reader = await open(await Stage.start(t, serveEvents({ data: '' }, { data: 'over' })))
      await shows(reader, 'over')
      return texts(reader)
    }
  },
  persistence: {
    title: 'an id applies to later events until the next id',
    expect: ['7 a', '7 b', ' c', ' over'],
    run: async (t, open) => {
      const reader = await open(
        await Stage.start(t, serveEvents({ id: 7, data: 'a' }, { data: 'b' }, { id: '', data: 'c' }, { data: 'over' }))
      )
      await shows(reader, 'over')
      return reader.messages.map(({ data, id }) => `${id} ${data}`)
    }
  },
  comments: {
    title: 'L6: comments and heartbeats cause no event',
    expect: { texts: ['one', 'two'], blanks: false },
    run: async (t, open) => {
      const serve = (): Serve => (request, reply) => reply.sse(async function * ({ signal }) {
        yield { data: 'one' }
        yield { comment: 'for people' }
        yield { comment: 'in two\nlines' }
        const { socket } = request
        // First the events above are written, then a heartbeat, and one more.
        for (let writes = 1; writes <= 3; writes++) {
          const before = socket.bytesWritten
          await until('the next write', () => socket.bytesWritten > before)
        }
        yield { data: 'two' }
        await aborted(signal)
      })
      const reader = await open(await Stage.start(t, serve, { heartbeatInterval: 50 }))
      await shows(reader, 'two')
      return { texts: texts(reader), blanks: reader.blanks > 0 }
    }
  },
  retry: {
    title: 'retry is obeyed: a short delay reconnects, a long delay has not reconnected by then',
    expect: { soon: 4, late: 1 },
    run: async (t, open) => {
      const late = await Stage.start(t, serveEvents({ data: 'there' }), { retry: 600_000 })
      const soon = await Stage.start(t, serveEvents({ data: 'there' }))
      const [patient, eager] = [await open(late), await open(soon)]
      await Promise.all([shows(patient, 'there'), shows(eager, 'there')])
      late.relay.cut()
      await late.disconnected()
      for (let times = 1; times <= 3; times++) {
        soon.relay.cut()
        if (eager.again !== undefined) break
        await eager.until(`stream ${times + 1}`, ({ messages }) => messages.length > times)
      }
      return { soon: soon.responses.length, late: late.responses.length }
    }
  },
  cut: {
    title: 'R2: the client sends its id after each broken connection, and no event is lost or duplicated',
    expect: Array.from({ length: 125 }, (_, index) => `${index + 1} -${index + 1}`),
    run: async (t, open) => {
      const stage = await Stage.start(t, serveChannel)
      const news = stage.app.sse.channel('news')
      let last = 0
      const publish = (count: number): void => {
        for (const end = last + count; last < end;) news.publish({ data: ++last })
      }
      const reader = await open(stage)
      await subscribed(news)
      for (let times = 1; times <= 4; times++) {
        publish(10)
        await reader.until('something of this round', ({ messages }) => Number(messages.at(-1)?.data) > last - 10)
        publish(5)
        stage.relay.cut()
        publish(5)
        await stage.disconnected()
        publish(5)
        await back(stage, reader, times + 1)
        publish(5)
      }
      await reader.until('the newest', ({ messages }) => Number(messages.at(-1)?.data) === last)
      publish(5)
      await shows(reader, String(last))
      return reader.messages.map(({ data, id }) => `${data} ${id.replace(/^\w+/, '')}`)
    }
  },
  half: {
    title: 'R2: an event that was cut after its id is sent again as a whole',
    expect: ['one', 'whole', 'two, halved', 'three', 'four'],
    run: async (t, open) => {
      const stage = await Stage.start(t, serveChannel)
      const news = stage.app.sse.channel('news')
      const reader = await open(stage)
      await subscribed(news)
      await news.publish({ data: 'one' })
      await shows(reader, 'one')
      const held = stage.relay.holdAfter('data: two, hal')
      // Sent together: a client that shows the first one has received the half, too.
      await Promise.all([news.publish({ data: 'whole' }), news.publish({ data: 'two, halved' })])
      await shows(reader, 'whole')
      await cutWhenTaken(stage, reader, held)
      await news.publish({ data: 'three' })
      await back(stage, reader, 2)
      await news.publish({ data: 'four' })
      await shows(reader, 'four')
      return texts(reader)
    }
  },
  position: {
    title: 'R2, W8: a client that loses the stream before its first event sends the id that the stream began with',
    expect: ['missed', 'live'],
    run: async (t, open) => {
      const stage = await Stage.start(t, serveChannel)
      const news = stage.app.sse.channel('news')
      const { id } = await news.position()
      const held = stage.relay.holdAfter(`id: ${id}\ndata: \n\n`)
      const reader = await open(stage)
      await cutWhenTaken(stage, reader, held, id)
      await news.publish({ data: 'missed' })
      await back(stage, reader, 2)
      await subscribed(news)
      await news.publish({ data: 'live' })
      await shows(reader, 'live')
      return texts(reader)
    }
  },
  filtered: {
    title: 'R2, R3: a client whose filter passes few events resumes at its position, though the history has moved on',
    names: ['sse.reset'],
    expect: [['message', '1'], ['message', '60'], ['message', '61']],
    run: async (t, open) => {
      let news!: Channel
      const stage = await Stage.start(t, app => {
        news = app.sse.channel('news', { history: { maxEvents: 40 } })
        return (_request, reply) =>
          reply.sse(news.subscribe({ filter: ({ data }) => data === 1 || Number(data) >= 60 }))
      })
      const reader = await open(stage)
      await subscribed(news)
      const epoch = (await news.publish({ data: 1 })).split('-')[0]
      await shows(reader, '1')
      // After half of the history was filtered out, the client gets a position.
      const held = stage.relay.holdAfter(`id: ${epoch}-41\ndata: \n\n`)
      await Promise.all(Array.from({ length: 40 }, (_, index) => news.publish({ data: index + 2 })))
      await cutWhenTaken(stage, reader, held, `${epoch}-41`)
      for (let number = 42; number <= 60; number++) await news.publish({ data: number })
      await back(stage, reader, 2)
      await subscribed(news)
      await news.publish({ data: 61 })
      await shows(reader, '61')
      return reader.messages.map(({ event, data }) => [event, data])
    }
  },
  quietEnd: {
    title: 'R7: a client without an event that reconnects to a channel that has ended gets 204 and stops',
    expect: { texts: [], statuses: [200, 204], stopped: true },
    run: async (t, open) => {
      const stage = await Stage.start(t, serveChannel)
      const news = stage.app.sse.channel('news')
      const { id } = await news.position()
      const held = stage.relay.holdAfter(`id: ${id}\ndata: \n\n`)
      const reader = await open(stage)
      await cutWhenTaken(stage, reader, held, id)
      await news.end()
      await back(stage, reader, 2)
      const statuses = await stage.statuses(reader, 3)
      return { texts: texts(reader), statuses, stopped: reader.stopped }
    }
  },
  script: {
    title: 'W7: a non-ASCII id is sent back unchanged',
    expect: [undefined, 'grün'],
    run: async (t, open) => {
      const stage = await Stage.start(t, serveEvents({ id: 'grün', data: 'there' }))
      const reader = await open(stage)
      await shows(reader, 'there')
      stage.relay.cut()
      await back(stage, reader, 2)
      return stage.positions.slice(0, 2)
    }
  },
  once: {
    title: 'W8: finite: a client that reconnects after the end gets 204 and stops',
    expect: { texts: ['3', '2', '1'], statuses: [200, 204], stopped: true },
    run: async (t, open) => {
      const stage = await Stage.start(t,
        () => (_request, reply) => reply.sse([{ data: 3 }, { data: 2 }, { data: 1 }], { finite: true }))
      const reader = await open(stage)
      await shows(reader, '1')
      const statuses = await stage.statuses(reader, 3)
      return { texts: texts(reader), statuses, stopped: reader.stopped }
    }
  },
  ended: {
    title: 'R7: a client that reconnects to a channel that has ended gets 204 and stops',
    expect: { texts: ['one'], statuses: [200, 204], stopped: true },
    run: async (t, open) => {
      const stage = await Stage.start(t, serveChannel)
      const news = stage.app.sse.channel('news')
      const reader = await open(stage)
      await subscribed(news)
      await news.publish({ data: 'one' })
      await shows(reader, 'one')
      stage.relay.cut()
      await stage.disconnected()
      await news.end()
      await back(stage, reader, 2)
      const statuses = await stage.statuses(reader, 3)
      return { texts: texts(reader), statuses, stopped: reader.stopped }
    }
  },
  reset: {
    title: 'R3: an id of a lost history causes sse.reset',
    names: ['sse.reset'],
    expect: [['message', 'one'], ['sse.reset', '{"reason":"unknown","oldest":1,"newest":0}'], ['message', 'two']],
    run: async (t, open) => {
      const first = await Stage.start(t, serveChannel)
      const second = await Stage.start(t, serveChannel)
      const reader = await open(first)
      await subscribed(first.app.sse.channel('news'))
      await first.app.sse.channel('news').publish({ data: 'one' })
      await shows(reader, 'one')
      // As after a restart with an event log in memory.
      first.ports.splice(0, 1, ...second.ports)
      first.relay.cut()
      await back(second, reader, 1)
      await subscribed(second.app.sse.channel('news'))
      await second.app.sse.channel('news').publish({ data: 'two' })
      await shows(reader, 'two')
      return reader.messages.map(({ event, data }) => [event, data])
    }
  },
  error: {
    title: 'E2: a source that fails ends with an error event',
    expect: [['message', 'tick'], ['error',
      '{"type":"about:blank","title":"Internal Server Error","status":500,"instance":"req-1"}']],
    run: async (t, open) => {
      const stage = await Stage.start(t, () => (_request, reply) => reply.sse(async function * () {
        yield { data: 'tick' }
        throw new Error('The clock stopped')
      }))
      const reader = await open(stage)
      await reader.until('two messages', ({ messages }) => messages.length >= 2)
      return reader.messages.slice(0, 2).map(({ event, data }) => [event, data])
    }
  }
} satisfies Record<string, Scenario>

interface Difference { why: string, instead: unknown }

const CHROMIUM = ENGINES[0]!

type Differences = Partial<Record<keyof typeof scenarios, Difference>>

const DIFFERENT_ENGINES: Record<string, Differences> = {
  Firefox: {
    story: {
      why: 'it leaves out U+0000',
      instead: scenarios.story.expect.map(([event, data, id]) => [event, data!.replace('\u0000', ''), id])
    }
  },
  WebKit: {
    half: {
      why: 'it puts half an event in front of the next response',
      instead: ['one', 'whole', 'two, halretry: 20', 'two, halved', 'three', 'four']
    }
  }
}

interface Client {
  name: string
  skip: string | false
  open: (t: Test) => Promise<Open>
  differs: Differences
}

const WITHOUT_TYPE = 'a 204 has no content type, so it retries, unless onopen and onerror prevent it'
const END_IS_END = { texts: ['3', '2', '1'], statuses: [200], stopped: true }

const clients: Client[] = [
  {
    name: 'connect',
    skip: false,
    open: async () => openConnect,
    differs: { once: { why: 'it knows the end mark, and does not reconnect', instead: END_IS_END } }
  },
  {
    name: 'eventsource',
    skip: false,
    open: async () => openEventSource,
    differs: {
      persistence: {
        why: 'its lastEventId is the id of this event only; the id that it sends on reconnect is correct',
        instead: ['7 a', ' b', ' c', ' over']
      }
    }
  },
  {
    name: 'launchdarkly-eventsource',
    skip: false,
    open: async () => openLaunchDarkly,
    differs: {}
  },
  ...ENGINES.map((engine): Client => ({
    name: engine.name,
    skip: engine.skip,
    open: async t => openNative(t, await engine.start(t)),
    differs: DIFFERENT_ENGINES[engine.name] ?? {}
  })),
  {
    name: '@microsoft/fetch-event-source',
    skip: CHROMIUM.skip,
    open: async t => fetchEventSourceIn(t, await CHROMIUM.start(t)),
    differs: {
      breaks: { why: 'it leaves out line breaks before the first text', instead: ['one\n', 'over'] },
      empty: { why: 'it shows every block, so that this event looks like a block without data', instead: ['over'] },
      persistence: {
        why: 'its id is the id of this event only; the id that it sends on reconnect is correct',
        instead: ['7 a', ' b', ' c', ' over']
      },
      comments: { why: 'it calls onmessage for every blank line', instead: { texts: ['one', 'two'], blanks: true } },
      half: {
        why: 'it stores an id at its line, not at the end of the event',
        instead: ['one', 'whole', 'three', 'four']
      },
      once: { why: 'to it, the end of a response is the end', instead: END_IS_END },
      ended: { why: WITHOUT_TYPE, instead: { texts: ['one'], statuses: [200, 204, 204], stopped: false } },
      quietEnd: { why: WITHOUT_TYPE, instead: { texts: [], statuses: [200, 204, 204], stopped: false } }
    }
  },
  {
    name: 'curl -N',
    skip: absent(CURL),
    open: async () => openCurl,
    differs: {
      retry: { why: 'it connects once: its user reconnects, with the id as a header', instead: { soon: 1, late: 1 } },
      once: { why: 'it connects once', instead: END_IS_END }
    }
  }
]

for (const { name, skip, open, differs } of clients) {
  t.test(name, { skip }, async t => {
    const start = await open(t)
    for (const [key, { title, expect, run, ...rest }] of Object.entries(scenarios) as Array<
      [keyof typeof scenarios, Scenario]
    >) {
      const difference = differs[key]
      t.test(title, async t => {
        const shown = await run(t, stage => start(t, stage.url, rest.names ?? []))
        t.strictSame(shown, difference === undefined ? expect : difference.instead,
          difference?.why ?? 'as the standard has it')
      })
    }
  })
}
