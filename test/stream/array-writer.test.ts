import { setTimeout as delay } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type CloseReport, type RegisterOptions } from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { open, type RawClient, type RawResponse } from '../setup/raw.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

interface Element { event?: string, id?: string, data: unknown }

interface Served {
  app: FastifyInstance
  closed: CloseReport[]
  ask: (path: string) => Promise<RawClient>
  answer: (path: string) => Promise<RawResponse>
  elements: (path: string) => Promise<Element[]>
}

async function serve (
  t: Test,
  routes: (app: FastifyInstance) => void,
  options: RegisterOptions = {}
): Promise<Served> {
  const closed: CloseReport[] = []
  const app = Fastify()
  await app.register(sse, { formats: ['json'], onClose: report => { closed.push(report) }, ...options })
  routes(app)
  const port = await listen(t, app)
  const ask = async (path: string): Promise<RawClient> => {
    const client = await open(port, { path, headers: { connection: 'close' } })
    t.teardown(() => client.socket.destroy())
    return client
  }
  const answer = async (path: string): Promise<RawResponse> => {
    const client = await ask(path)
    await within(`the end of ${path}`, client.closed)
    return client.responses()[0]!
  }
  return {
    app,
    closed,
    ask,
    answer,
    elements: async path => JSON.parse((await answer(path)).body) as Element[]
  }
}

/** Resolves when a number of streams wait for an event. */
const waiting = (app: FastifyInstance, count = 1): Promise<void> =>
  until('the wait', () => app.sse.streams().filter(({ bytes }) => bytes > 0).length === count)

t.test('the events of a source are the elements of one array, one per line', async t => {
  const { answer, closed } = await serve(t, app => {
    app.get('/', (_request, reply) => reply.sse(async function * () {
      yield { data: 1 }
      await delay(100)
      yield { comment: 'left out' }
      yield { event: 'a', id: 1, retry: 9, data: 'b\nc' }
    }, { retry: 5, flushHeadersAfter: 1 }))
    app.get('/empty', (_request, reply) => reply.sse([]))
    app.get('/comment', (_request, reply) => reply.sse([{ comment: 'alone' }, { retry: 5 }]))
  })
  const { body } = await answer('/')
  t.equal(body, '[{"data":1}\n\n,{"event":"a","id":"1","data":"b\\nc"}\n]\n')
  t.equal(closed[0]!.bytes, body.length)
  t.equal((await answer('/empty')).body, '[]\n')
  t.equal((await answer('/comment')).body, '\n[]\n')
})

t.test('an array that ends before its source says so, unless errorEvent says nothing', async t => {
  const { elements } = await serve(t, app => {
    const endless = async function * (): AsyncGenerator<{ data: number }> {
      yield { data: 1 }
      await new Promise(() => {})
    }
    app.get('/', (_request, reply) => reply.sse(endless(), { maxLifetime: 1 }))
    app.get('/null', (_request, reply) => reply.sse(endless(), { maxLifetime: 1, errorEvent: null }))
    app.get('/own', (_request, reply) => reply.sse(endless(), {
      maxLifetime: 1,
      errorEvent: error => ({ event: 'cut', data: (error as { code?: string }).code })
    }))
  })
  t.match(await elements('/'), [{ data: 1 }, { event: 'error', data: { status: 503 } }])
  t.strictSame(await elements('/null'), [{ data: 1 }])
  t.strictSame(await elements('/own'), [{ data: 1 }, { event: 'cut', data: 'FST_SSE_INCOMPLETE' }])
})

t.test('channels: the events that are there, and always the position', async t => {
  const { app, elements } = await serve(t, app => {
    app.get('/', (_request, reply) => reply.sse(app.sse.channel('news')))
    app.get('/none', (_request, reply) => reply.sse(app.sse.channel('news').subscribe({ filter: () => false })))
    app.get('/two', (_request, reply) => reply.sse([app.sse.channel('news'), app.sse.channel('more')]))
  })
  const news = app.sse.channel('news')
  const [start, ...none] = await elements('/')
  t.match(start, { event: 'sse.position', data: '' })
  t.strictSame(none, [])
  const ids: string[] = []
  for (let data = 0; data < 200; data++) ids.push(await news.publish({ data }))
  const all = await elements(`/?lastEventId=${start!.id}`)
  t.strictSame(all, [start, ...ids.map((id, data) => ({ id, data }))], 'more than one read of the log')
  t.strictSame((await elements(`/none?lastEventId=${start!.id}`)).at(-1),
    { event: 'sse.position', id: ids.at(-1), data: '' }, 'after events that a filter dropped')
  t.match(await elements('/two'), [{ event: 'sse.position', id: /\./ }])
})

t.test('without a notice in words, the position of a reset is still sent', async t => {
  const { app, elements } = await serve(t, app => {
    app.get('/', (_request, reply) => reply.sse(app.sse.channel('news'), { systemEvent: null }))
  })
  const id = await app.sse.channel('news').publish({ data: 1 })
  t.strictSame(await elements('/?lastEventId=other-1'), [{ event: 'sse.position', id, data: '' }])
})

t.test('with `wait`, an answer without events waits for the first ones', async t => {
  const { app, elements } = await serve(t, app => {
    app.get('/', (_request, reply) => reply.sse(app.sse.channel('news')))
    app.get('/mapped', (_request, reply) => reply.sse(app.sse.channel('news').subscribe({ map: ({ data }) => ({ data }) })))
  }, { flushHeadersAfter: 1 })
  const news = app.sse.channel('news')
  const [start] = await elements('/')
  const began = performance.now()
  t.strictSame(await elements(`/?lastEventId=${start!.id}&wait=0.2`), [start], 'the position after the wait')
  t.ok(performance.now() - began >= 190)
  const later = elements(`/?lastEventId=${start!.id}&wait=60`)
  await waiting(app)
  const [one, two] = await Promise.all([news.publish({ data: 1 }), news.publish({ data: 2 })])
  t.strictSame(await later, [start, { id: one, data: 1 }, { id: two, data: 2 }], 'all that are published together')
  const mapped = elements(`/mapped?lastEventId=${two}&wait=60`)
  await waiting(app)
  const ids = await Promise.all([news.publish({ data: 3 }), news.publish({ data: 4 })])
  t.strictSame((await mapped).map(({ id }) => id), [two, ...ids], 'also if each of them is projected')
  t.strictSame((await elements(`/?lastEventId=${one}&wait=60`)).map(({ data }) => data), ['', 2, 3, 4], 'those that are there')
})

t.test('a wait ends with the channel, with maxWait, and with the server', async t => {
  const { app, answer, elements, closed } = await serve(t, app => {
    app.get('/', (_request, reply) => reply.sse(app.sse.channel('news')))
    app.get('/more', (_request, reply) => reply.sse(app.sse.channel('more'), { maxWait: 50 }))
    app.get('/last', (_request, reply) => reply.sse(app.sse.channel('last')))
  }, { flushHeadersAfter: 1 })
  const news = app.sse.channel('news')
  const id = await news.publish({ data: 1 })
  const later = elements(`/?lastEventId=${id}&wait=60`)
  await waiting(app)
  await news.end()
  t.strictSame(await later, [{ event: 'sse.position', id, data: '' }])
  const over = await answer(`/?lastEventId=${id}&wait=60`)
  t.strictSame([over.status, over.body], [204, ''])
  t.equal((await elements('/more?wait=60')).length, 1)
  const last = elements('/last?wait=60')
  await waiting(app)
  await app.close()
  t.match(await last, [{ event: 'sse.position' }])
  t.strictSame(closed.map(({ reason }) => reason), ['channel-ended', 'complete', 'shutdown'])
})

t.test('a client that leaves during its wait frees everything', async t => {
  const { app, ask, closed } = await serve(t, app => {
    app.get('/', (_request, reply) => reply.sse(app.sse.channel('news')))
  }, { flushHeadersAfter: 1 })
  const client = await ask('/?wait=60')
  await waiting(app)
  client.socket.destroy()
  await until('the disconnect', () => closed.length === 1)
  t.match(closed[0], { reason: 'client' })
  t.equal(app.sse.channel('news').subscribers, 0)
})
