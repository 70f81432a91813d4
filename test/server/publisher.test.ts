import { execFile } from 'node:child_process'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { once } from 'node:events'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import sse, { memoryLog, type ChannelOptions, type EventLog, type EventLogFactory } from '../../lib/index.ts'
import { publisher, type PublisherOptions } from '../../lib/publisher.ts'
import { redisLog } from '../../lib/redis.ts'
import { absent, REDIS } from '../setup/programs.ts'
import { dice, RemoteLog } from '../setup/remote-log.ts'
import { RedisServer } from '../setup/redis.ts'

const events = { price: Type.Object({ value: Type.Number() }), message: Type.String() }
const options = { events, start: 'earliest' } satisfies ChannelOptions<typeof events>
const price = (value: number) => ({ event: 'price' as const, data: { value } })

/** Returns a factory of logs in memory that several owners open by name, and the logs. */
function sharedLog () {
  const logs = new Map<string, EventLog>()
  const open = memoryLog()
  const eventLog: EventLogFactory = (name, history) => {
    const log = logs.get(name) ?? open(name, history)
    logs.set(name, log)
    return Object.assign(Object.create(null), { ...bound(log), close: () => {} })
  }
  return { eventLog, logs }
}

function bound (log: EventLog): EventLog {
  return {
    append: record => log.append(record),
    appendOnce: (record, key) => log.appendOnce!(record, key),
    read: (after, limit) => log.read(after, limit),
    state: () => log.state(),
    tail: listener => log.tail(listener),
    end: (...args) => log.end(...args),
    peek: () => log.peek!(),
    lease: (...args) => log.lease!(...args),
    isIdle: () => log.isIdle(),
    close: () => log.close()
  }
}

t.test('C5: an entry of a publisher is the same as one of the server', async t => {
  const { eventLog, logs } = sharedLog()
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse, { eventLog })
  const source = await publisher(eventLog)
  t.teardown(() => source.close())
  const secret = { ...price(1), data: { value: 1, secret: true } }
  const id = await source.channel('news', options).publish(secret)
  const other = await app.sse.channel('news', options).publish(secret)
  t.equal(other, id.replace(/1$/, '2'))
  const { entries: [first, second] } = await logs.get('news')!.read(0, 10)
  t.strictSame({ ...first, offset: 2 }, { ...second })
  t.equal(first?.data, '{"value":1}')
  t.match(first?.fingerprint, /^[\w-]{12}$/)
  app.get('/news', { schema: { sse: events } }, (_request, reply) => reply.sse(app.sse.channel('news', options)))
  await source.channel('news', options).end({ data: 'last' })
  const { body } = await app.inject('/news')
  t.match(body, new RegExp(`event: price\nid: ${id}\ndata: {"value":1}\n\n`))
  t.match(body, /data: last\n/)
  t.equal(app.sse.stats().omitted, 0)
})

t.test('C2, R2: a publisher checks events, and publishes once per key', async t => {
  const lines: unknown[] = []
  const log = { error: () => {}, warn: (...line: unknown[]) => { lines.push(line) } }
  const source = await publisher(memoryLog(), { log })
  t.teardown(() => source.close())
  const news = source.channel('news', options)
  t.equal(source.channel('news', options), news)
  await t.rejects(news.publish({ event: 'price', data: { value: 'x' as unknown as number } }), { code: 'FST_SSE_DATA' })
  t.match(lines, [[{ err: { code: 'FST_SSE_DATA' }, channel: 'news' }, 'sse publish rejected']])
  t.equal(await news.publish(price(1), { key: 'a' }), await news.publish(price(2), { key: 'a' }))
  t.throws(() => source.channel('bad', { events: { price: { type: 'nothing' } } }), { code: 'FST_SSE_SCHEMA' })
  t.throws(() => source.channel('sse.bad'), { code: 'FST_SSE_OPTION' })
  const jobs = source.channelFamily('job', options)
  const id = await jobs.of('1').publish(price(1))
  await jobs.of('1').end()
  const received: unknown[] = []
  for await (const event of jobs.of('1').subscribe()) received.push(event)
  t.strictSame(received, [{ ...price(1), id }])
  t.match(await source.channel('free').publish({ event: 'any', data: [1] }), /-1$/)
})

t.test('C5: shared schemas and formats are those of the server', async t => {
  const { eventLog, logs } = sharedLog()
  const shared = { $id: 'even', type: 'integer', format: 'even' } as const
  const ajv = { customOptions: { formats: { even: { type: 'number' as const, validate: (n: number) => n % 2 === 0 } } } }
  const app = Fastify({ ajv })
  t.teardown(() => app.close())
  app.addSchema(shared)
  await app.register(sse, { eventLog })
  const source = await publisher(eventLog, { schemas: [shared], ajv, log: app.log })
  t.teardown(() => source.close())
  const numbers = { events: { number: { $ref: 'even#' } } }
  await app.sse.channel('numbers', numbers).publish({ event: 'number', data: 2 })
  await source.channel('numbers', numbers).publish({ event: 'number', data: 2 })
  await t.rejects(source.channel('numbers', numbers).publish({ event: 'number', data: 3 }), { code: 'FST_SSE_DATA' })
  const { entries: [first, second] } = await logs.get('numbers')!.read(0, 10)
  t.strictSame({ ...first, offset: 2 }, { ...second })
})

t.test('L7: close() waits for the calls under way, and later calls are rejected', async t => {
  const log = new RemoteLog({}, dice(3))
  const source = await publisher(() => log, { log: { error: () => {}, warn: () => {} } })
  const news = source.channel('news', options)
  const settled: unknown[] = []
  news.publish(price(1)).then(() => settled.push('publish'), () => {})
  news.publish(price(2), { key: '' }).catch(() => settled.push('rejected'))
  news.end().then(() => settled.push('end'), () => {})
  await source.close()
  t.strictSame(settled.sort(), ['end', 'publish', 'rejected'])
  await t.rejects(news.publish(price(3)), { code: 'FST_SSE_CLOSING' })
  await t.rejects(source.channel('other').publish({ data: 1 }), { code: 'FST_SSE_CLOSING' })
  await source.close()
  t.equal(log.now.newest, 1)
})

t.test('L7: a call after close() is rejected while an earlier call is under way', async t => {
  const memory = memoryLog()
  let store = (): void => {}
  let appends = 0
  const source = await publisher((name, history) => {
    const log = memory(name, history)
    const append = log.append.bind(log)
    log.append = async record => {
      appends++
      await new Promise<void>(resolve => { store = resolve })
      return await append(record)
    }
    return log
  }, { log: { error: () => {}, warn: () => {} } })
  const news = source.channel('news', options)
  const first = news.publish(price(1))
  const closed = source.close()
  await t.rejects(news.publish(price(2)), { code: 'FST_SSE_CLOSING' })
  await t.rejects(news.publish(price(2), { key: 'a' }), { code: 'FST_SSE_CLOSING' })
  await t.rejects(source.channel('other').publish({ data: 1 }), { code: 'FST_SSE_CLOSING' })
  store()
  t.match(await first, /-1$/)
  await closed
  t.equal(appends, 1)
})

t.test('close() releases the log once', async t => {
  let released = 0
  const source = await publisher(Object.assign(memoryLog(), { close: () => { released++ } }))
  await Promise.all([source.close(), source.close()])
  await source.close()
  t.equal(released, 1)
})

t.test('a bad log or option is named', async t => {
  const rows: Array<[eventLog: unknown, options: unknown, message: RegExp]> = [
    [undefined, {}, /^Option 'eventLog' must be a function that opens logs, such as memoryLog\(\), got undefined$/],
    [{}, {}, /^Option 'eventLog' must be/],
    [memoryLog(), { log: {} }, /^Option 'log' must be a logger with the methods error and warn, got an object/],
    [memoryLog(), { log: { error: () => {} } }, /^Option 'log' must be/],
    [memoryLog(), { log: 'info' }, /^Option 'log' must be/],
    [memoryLog(), { schemas: [{}] }, /^Option 'schemas' must be an array of schemas, each with an \$id, got an array$/],
    [memoryLog(), { schemas: {} }, /^Option 'schemas' must be/],
    [memoryLog(), { schemas: [null] }, /^Option 'schemas' must be/],
    [memoryLog(), { ajv: true }, /^Option 'ajv' must be the options of Fastify\({ ajv }\), got true/],
    [memoryLog(), { prefix: 'x' }, /^Option 'prefix' must be one of log, schemas, ajv, got an unknown option$/]
  ]
  for (const [eventLog, options, message] of rows) {
    await t.rejects(publisher(eventLog as EventLogFactory, options as PublisherOptions), { code: 'FST_SSE_OPTION', message })
  }
})

const lib = (name: string): string => JSON.stringify(pathToFileURL(`lib/${name}.ts`).href)
const program = (port: number): string => `
  import { register } from 'node:module'
  import { Redis } from 'ioredis'
  const hook = \`export function resolve (name, context, next) {
    if (/^fastify(-plugin)?$/.test(name)) throw new Error(name + ' was imported')
    return next(name, context)
  }\`
  register('data:text/javascript,' + encodeURIComponent(hook))
  const { publisher } = await import(${lib('publisher')})
  const { redisLog } = await import(${lib('redis')})
  const redis = new Redis(${port}, '127.0.0.1')
  const source = await publisher(redisLog(redis))
  const events = { price: { type: 'object', properties: { value: { type: 'number' } }, required: ['value'] } }
  const news = source.channel('news', { events })
  for (let value = 1; value <= 3; value++) news.publish({ event: 'price', data: { value } }, { key: String(value) })
  await source.close()
  await redis.quit()
`

t.test('a script and a worker publish without Fastify, and end after close()', { skip: absent(REDIS) }, async t => {
  const redis = await RedisServer.start(t)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse, { eventLog: redisLog(redis.client(t)) })
  const news = app.sse.channel('news', { start: 'earliest' })
  const { NODE_V8_COVERAGE: _coverage, ...env } = process.env
  const args = ['--no-deprecation', '--import', './test/setup/typescript.js', '--input-type=module', '--eval', program(redis.port)]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { env, timeout: 60_000 })
  t.strictSame([stdout, stderr], ['', ''])
  t.match(await news.position(), { newest: 3 })
  const worker = new Worker(program(redis.port).replaceAll("'news'", "'jobs'"), {
    eval: true,
    execArgv: ['--import', './test/setup/typescript.js', '--input-type=module']
  })
  t.strictSame(await once(worker, 'exit'), [0])
  t.match(await app.sse.channel('jobs').position(), { newest: 3 })
})
