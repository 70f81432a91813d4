import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t from 'tap'
import sse, { type Channel, type ChannelOptions, type EventMap } from '../../lib/index.ts'
import { redisLog } from '../../lib/redis.ts'
import { DocumentPrograms, open, openPage } from '../setup/document-programs.ts'
import { absent, CHROMIUM, find, REDIS } from '../setup/programs.ts'
import { RedisServer } from '../setup/redis.ts'

const document = new DocumentPrograms('lib/channel/README.md')

// The program of a worker connects to this server.
if (find(REDIS) !== undefined) process.env.REDIS_URL = `redis://127.0.0.1:${(await RedisServer.start(t)).port}`

document.run({
  'A channel': [
    async (t, app) => {
      const client = await open(t, app, '/prices')
      const response = await app.inject({ method: 'POST', url: '/prices', payload: { symbol: 'ABC', price: 12.5 } })
      const { id } = response.json<{ id: string }>()
      const epoch = id.replace(/-1$/, '')
      const [resumed, reset] = document.blocks.filter(block =>
        block.heading === 'A channel' && block.language === 'text'
      ).map(block => block.code.replaceAll('2dri67ppar', epoch))
      t.equal(await client.until('12.5}\n\n'), resumed)
      const other = await open(t, app, '/prices', { 'last-event-id': `${epoch}-9` })
      t.equal(await other.until('1}\n\n'), reset?.replace('evicted', 'ahead'))
    },
    async (t, app) => {
      const { body } = await app.inject('/jobs/17?lastEventId=x')
      t.match(body, /event: sse.reset\nid: (\w+)-2\n/)
      t.strictSame(await app.sse.locate(/id: (\S+)/.exec(body)![1]), ['job:17'])
    },
    async (t, app) => {
      const { stepEvents } = await document.load<{ stepEvents: EventMap }>("'steps'")
      const steps = app.sse.channel('steps', { events: stepEvents })
      const events = []
      // To the end of the channel: the queue may hold events when the text of the program is over.
      for await (const { event, data } of steps.subscribe({ start: 'earliest' })) events.push({ event, data })
      t.strictSame(events, [{ event: 'step', data: { n: 1 } }])
      t.match(await steps.position(), { newest: 1, ended: true })
    },
    async (t, app) => {
      const payload = { id: 'pay-1', amount: 5 }
      const [first, second] = await Promise.all([1, 2].map(async () => app.inject({ method: 'POST', url: '/webhook', payload })))
      t.match(first!.json(), { id: /-1$/ })
      t.equal(second!.body, first!.body)
    },
    async (t, app) => {
      const [all, one] = [await open(t, app, '/board'), await open(t, app, '/board/b')]
      t.match(await all.until('}\n\n'), /^: live\nevent: state\nid: \w+-1\ndata: \{"a":1\}\n\n$/)
      const { set } = await document.load<{ set: (key: string, value: number) => Promise<string> }>("'board'")
      await set('a', 2)
      await set('b', 3)
      t.match(await all.until('3}\n\n'),
        /event: changed\nid: \w+-2\ndata: \{"key":"a","value":2\}\n\nevent: changed\nid: \w+-3\ndata: \{"key":"b","value":3\}\n\n$/)
      t.match(await one.until('3}\n\n'),
        /^: live\nevent: sse.position\nid: \w+-1\ndata: \n\nevent: sse.position\nid: \w+-2\ndata: \n\nevent: changed\nid: \w+-3\ndata: \{"key":"b","value":3\}\n\n$/)
    },
    async (t, app) => { t.equal(app.sse.channel('jobs', { start: 'earliest' }).subscribers, 0) }
  ],
  'Slow consumers': [async (t, app) => {
    t.match(await (await open(t, app, '/quotes')).until('\n\n'), /^: live\nevent: sse.position\nid: \w+-0\ndata: \n\n$/)
  }, async (t, app) => {
    const client = await open(t, app, '/rates')
    await client.until('\n\n')
    const { rates } = await document.load<{ rates: Channel }>("'rates'")
    const rate = (value: number): object => ({ event: 'rate', data: { pair: 'EURUSD', value } })
    for (const event of [rate(1), rate(2), { event: 'closed', data: null }, rate(3)]) await rates.publish(event as never)
    t.match(await client.until('3}\n\n'), /"value":2\}\n\nevent: closed\n[^{]*\{"pair":"EURUSD","value":3\}\n\n$/)
  }],
  'Many channels on one stream': [async (t, app) => {
    t.match(await (await open(t, app, '/all')).until('\n\n'),
      /^: live\nevent: sse.position\nid: \w+-0\.\w+-0\ndata: \n\n$/)
  }],
  Presence: [async (t, app) => {
    const client = await open(t, app, '/draft?user=Ann')
    t.match(await client.until('"Ann"}\n\n'),
      /^: live\nevent: members\nid: \S+\ndata: {"members":\[\]}\n\nevent: join\nid: \S+\ndata: {"member":"Ann"}\n\n$/)
    t.strictSame((await app.inject('/draft/members')).json(), ['Ann'])
  }],
  'Publish from elsewhere': [async t => {
    const redis = new Redis(process.env.REDIS_URL!)
    t.teardown(() => redis.disconnect())
    const { reportOptions } = await document.load<{ reportOptions: ChannelOptions }>("'reports'")
    const server = Fastify()
    t.teardown(() => server.close())
    await server.register(sse, { eventLog: redisLog(redis) })
    const { id, newest } = await server.sse.channel('reports', reportOptions).position()
    t.equal(newest, 1)
    t.strictSame(await server.sse.locate(id), ['reports'])
  }, async (t, app) => {
    const { token, builds } = await document.load<{ token: string, builds: Channel }>("'builds'")
    const payload = /-d '(.*)'/.exec(document.block('Publish from elsewhere', 'sh'))![1]!
    const post = async (authorization: string) => app.inject({
      method: 'POST',
      url: '/publish/builds',
      headers: { authorization, 'content-type': 'application/json' },
      payload
    })
    t.equal((await post('Bearer undefined')).statusCode, 403)
    const { id } = (await post(`Bearer ${token}`)).json<{ id: string }>()
    t.equal(id, (await builds.position()).id)
    t.equal((await post(`Bearer ${token}`)).json<{ id: string }>().id, id)
  }]
}, absent(REDIS))

t.test('the page of the members runs in a browser', { skip: absent(CHROMIUM) }, async t => {
  const { app, draft } = await document.loadAgain<{ app: FastifyInstance, draft: Channel }>("'/draft'")
  t.teardown(() => app.close())
  const page = await openPage(t, await app.listen({ port: 0, host: '127.0.0.1' }))
  const loop = draft.subscribe({ as: 'Bob' })[Symbol.asyncIterator]()
  const pending = loop.next()
  await page.setContent(document.block('Presence', 'html'))
  await page.locator('p', { hasText: /^Bob, Ann$/ }).waitFor()
  await loop.return!()
  await pending
  await page.locator('p', { hasText: /^Ann$/ }).waitFor()
})

t.test('the page of a channel runs in a browser', { skip: absent(CHROMIUM) }, async t => {
  const { app, prices } = await document.loadAgain<{ app: FastifyInstance, prices: Channel }>("'/prices'")
  t.teardown(() => app.close())
  const page = await openPage(t, await app.listen({ port: 0, host: '127.0.0.1' }))
  await page.setContent(document.block('A channel', 'html'))
  while (prices.subscribers === 0) await new Promise(setImmediate)
  await prices.publish({ event: 'price', data: { symbol: 'ABC', price: 12.5 } })
  await page.waitForSelector('li')
  t.same(await page.locator('li').allTextContents(), ['{"symbol":"ABC","price":12.5}'])
})
