import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { EventLogFactory } from '../../lib/index.ts'
import { checkEventLog } from '../../lib/log/check-event-log.ts'
import { DocumentPrograms, open } from '../setup/document-programs.ts'
import { absent, find, REDIS } from '../setup/programs.ts'
import { RedisServer } from '../setup/redis.ts'

const document = new DocumentPrograms('lib/log/README.md')

// The program of many nodes connects to this server.
if (find(REDIS) !== undefined) process.env.REDIS_URL = `redis://127.0.0.1:${(await RedisServer.start(t)).port}`

document.run({
  'Many nodes': [async (t, app) => {
    const { app: other } = await document.loadAgain<{ app: FastifyInstance }>("'/news'")
    t.teardown(() => other.close())
    const clients = await Promise.all([open(t, app, '/news'), open(t, other, '/news')])
    // Where Redis is slow, an empty comment is the first frame.
    for (const client of clients) {
      t.match(await client.until('-0\ndata: \n\n'), /^(:\n\n)*: live\nevent: sse.position\nid: \w+-0\ndata: \n\n$/)
    }
    const { id } = (await other.inject({ method: 'POST', url: '/news', payload: { text: 'One' } })).json<
      { id: string }
    >()
    for (const client of clients) {
      t.ok((await client.until('"One"}\n\n')).endsWith(`event: headline\nid: ${id}\ndata: {"text":"One"}\n\n`))
    }
    const back = await open(t, app, '/news', { 'last-event-id': id.replace('-1', '-0') })
    t.equal((await back.until(': live\n\n')).replace(/^(:\n\n)+/, ''),
      `: replay\nevent: sse.position\nid: ${
        id.replace('-1', '-0')
      }\ndata: \n\nevent: headline\nid: ${id}\ndata: {"text":"One"}\n\n: live\n\n`)
  }],
  'Where channels keep their events': [async t => {
    const { fileLog } = await document.load<{ fileLog: (folder: string) => EventLogFactory }>('fileLog (')
    await checkEventLog(t, () => fileLog(t.testdir()))
    const folder = t.testdir()
    const history = { maxEvents: 2, maxBytes: 1_000, maxAge: Infinity }
    const before = fileLog(folder)('name', history)
    for (const data of ['1', '2', '3']) await before.append({ event: 'message', data, json: true })
    await before.end()
    const after = fileLog(folder)('name', history)
    t.strictSame(await after.state(), await before.state())
    t.strictSame((await after.read(0, 10)).entries.map(({ data }) => data), ['2', '3'])
  }, async () => {}]
}, absent(REDIS))
