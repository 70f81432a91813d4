import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import sse from 'fastify-typed-sse'
import { redisLog } from 'fastify-typed-sse/redis'
import t, { type Test } from 'tap'
import { DocumentPrograms, open } from '../setup/document-programs.ts'
import { absent, find, need, PYTHON, REDIS } from '../setup/programs.ts'
import { RedisServer } from '../setup/redis.ts'

t.setTimeout(300_000)

const document = new DocumentPrograms('lib/log/redis/README.md')
const layout = new DocumentPrograms('lib/log/redis/layout.md')

const server = find(REDIS) === undefined ? undefined : await RedisServer.start(t)
// The programs connect to this server.
if (server !== undefined) process.env.REDIS_URL = `redis://127.0.0.1:${server.port}`

/** Opens a stream on two nodes, publishes on the second one, and resumes on the first one. */
const twoNodes = (
  url: string,
  payload: object | undefined,
  sent: string,
  data: string
) => async (t: Test, app: FastifyInstance): Promise<void> => {
  const { app: other } = await document.loadAgain<{ app: FastifyInstance }>(`'${url}'`)
  t.teardown(() => other.close())
  const clients = await Promise.all([open(t, app, url), open(t, other, url)])
  // Where Redis is slow, an empty comment is the first frame.
  for (const client of clients) {
    t.match(await client.until('-0\ndata: \n\n'), /^(:\n\n)*: live\nevent: sse.position\nid: \w+-0\ndata: \n\n$/)
  }
  const answer = await other.inject({ method: 'POST', url, ...payload === undefined ? {} : { payload } })
  const { id } = answer.json<{ id: string }>()
  const frame = sent.replace('ID', id)
  for (const client of clients) t.ok((await client.until(data)).endsWith(frame))
  const back = await open(t, app, url, { 'last-event-id': id.replace('-1', '-0') })
  t.equal((await back.until(': live\n\n')).replace(/^(:\n\n)+/, ''),
    `: replay\nevent: sse.position\nid: ${id.replace('-1', '-0')}\ndata: \n\n${frame}: live\n\n`)
}

document.run({
  'Many nodes': [twoNodes('/news', { text: 'One' }, 'event: headline\nid: ID\ndata: {"text":"One"}\n\n', '"One"}\n\n'),
    twoNodes('/ticks', undefined, 'id: ID\ndata: tick\n\n', 'tick\n\n')]
}, absent(REDIS))

t.test('an event from Python is delivered by all nodes, in order, and checked by their maps', { skip: absent(REDIS, PYTHON) }, async t => {
  const file = join(layout.folder, 'publish.py')
  writeFileSync(file, `${layout.block('An event from Python', 'python')}
import sys
for call in json.loads(sys.argv[2]): print(publish(*call, server=('127.0.0.1', int(sys.argv[1]))), flush=True)
`)
  const publish = async (...calls: Array<[channel: string, event: string, data: unknown]>): Promise<string[]> =>
    (await promisify(execFile)(need(PYTHON), [file, String(server!.port), JSON.stringify(calls)])).stdout.trim().split('\n')
  const events = { headline: Type.Object({ text: Type.String() }) }
  const name = 'from {100%} Python'
  const nodes = await Promise.all([1, 2].map(async () => {
    const app = Fastify()
    await app.register(sse, { eventLog: redisLog(server!.client(t)) })
    t.teardown(() => app.close())
    const channel = app.sse.channel(name, { events })
    app.get('/', { schema: { sse: events } }, (request, reply) => reply.sse(channel))
    return { app, channel }
  }))
  // The program creates the channel.
  const [first] = await publish([name, 'headline', { text: 'Before', secret: true }])
  t.match(first, /^[0-9a-f]{16}-1$/)
  const epoch = first!.slice(0, 16)
  const clients = await Promise.all(nodes.map(({ app }) => open(t, app, '/', { 'last-event-id': `${epoch}-0` })))
  for (const client of clients) {
    t.ok((await client.until(': live\n\n')).includes(`id: ${epoch}-1\ndata: {"text":"Before"}\n\n`), 'without the other property')
  }
  const [own, ids] = await Promise.all([
    Promise.all(Array.from({ length: 50 }, async (_, n) => {
      await new Promise(resolve => setTimeout(resolve, n * 4))
      return nodes[n % 2]!.channel.publish({ event: 'headline', data: { text: `node ${n}` } })
    })),
    publish(...Array.from({ length: 30 }, (_, n) => [name, 'headline', { text: `python ${n}` }] as [string, string, unknown]))
  ])
  const offsets = [...own, ...ids].map(id => Number(id.slice(epoch.length + 1))).sort((a, b) => a - b)
  t.strictSame(offsets, Array.from({ length: 80 }, (_, n) => n + 2), 'one sequence')
  const [invalid] = await publish([name, 'headline', { text: 7 }])
  t.equal(invalid, `${epoch}-82`)
  await publish([name, 'headline', { text: 'Last' }])
  const received = await Promise.all(clients.map(client => client.until('data: {"text":"Last"}\n\n')))
  for (const text of received) {
    const found = [...text.matchAll(/id: \w+-(\d+)\ndata: \{/g)].map(([, offset]) => Number(offset))
    t.strictSame(found, [...Array.from({ length: 81 }, (_, n) => n + 1), 83], 'each event once and in order, but the invalid one')
  }
  await nodes[0]!.channel.end()
  await t.rejects(publish([name, 'headline', { text: 'Late' }]), { message: /the channel has ended/ })
})
