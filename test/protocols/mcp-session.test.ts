import Fastify from 'fastify'
import t, { type Test } from 'tap'
import sse, { type EventLog, type EventLogFactory, memoryLog } from '../../lib/index.ts'
import { mcpEvents, type JsonRpcMessage } from '../../lib/protocols/mcp-messages.ts'
import { McpSession } from '../../lib/protocols/mcp-session.ts'
import { until } from '../setup/until.ts'

// Sessions with servers and logs that fail. The protocol itself is tested in test/scenario/mcp.test.ts.

const initialize: JsonRpcMessage = { jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25' } }
const ping = (id: string): JsonRpcMessage => ({ jsonrpc: '2.0', id, method: 'ping' })
const info = { requestInfo: { headers: {} } }

async function start (t: Test, id: string, eventLog: EventLogFactory = memoryLog()): Promise<{
  session: McpSession
  errors: unknown[]
  closed: McpSession[]
  messagesOf: (stream: string) => Promise<unknown[]>
}> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse, { eventLog })
  const errors: unknown[] = []
  const closed: McpSession[] = []
  const runs = app.sse.runs('mcp', { events: mcpEvents })
  const session = await McpSession.start(id, initialize, {
    runs,
    disconnect: () => {},
    onClosed: session => { closed.push(session) },
    onError: error => { errors.push(error) }
  })
  const messagesOf = async (stream: string): Promise<unknown[]> => {
    const messages: unknown[] = []
    for await (const { data } of (await runs.get(stream))!.channel.subscribe()) messages.push(data)
    return messages
  }
  return { session: session!, errors, closed, messagesOf }
}

t.test('a server that throws at a message ends the stream of the request', async t => {
  const { session, messagesOf } = await start(t, 'throws')
  session.onmessage = () => { throw new Error('No handler') }
  await t.rejects(session.answer('throws/1', [ping('a')], info), { message: 'No handler' })
  t.strictSame(await messagesOf('throws/1'), [''])
  t.equal(session.canAnswer([ping('a')]), true)
})

t.test('a session that closes tells its server once, whatever the server does', async t => {
  const { session, errors, closed, messagesOf } = await start(t, 'closes')
  const failure = new Error('The server failed')
  session.onclose = () => {
    session.close()
    throw failure
  }
  await session.answer('closes/1', [ping('a'), ping('b')], info)
  t.equal(session.canAnswer([ping('a')]), false)
  await Promise.all([session.close(), session.close()])
  t.strictSame(errors, [failure])
  t.strictSame(closed, [session])
  const failed = (id: string): object => ({ jsonrpc: '2.0', id, error: { code: -32_000, message: 'The session was closed' } })
  t.strictSame(await messagesOf('closes/1'), ['', failed('a'), failed('b')])
  t.strictSame(await messagesOf('closes'), [])
  await session.answer('closes/2', [ping('late')], info)
  t.strictSame(await messagesOf('closes/2'), ['', failed('late')], 'a request that came meanwhile fails too')
})

t.test('an event log that fails keeps no request open', async t => {
  let failing = false
  const open = memoryLog()
  const failingLog = Object.assign((name: string, history: Parameters<EventLogFactory>[1]): EventLog => {
    const log = open(name, history)
    const append = log.append.bind(log)
    log.append = record => {
      if (failing) throw new Error('The log is full')
      return append(record)
    }
    return log
  }, { locate: open.locate })
  const { session, messagesOf } = await start(t, 'fails', failingLog)
  await session.answer('fails/1', [ping('a')], info)
  failing = true
  await t.rejects(session.send({ jsonrpc: '2.0', id: 'a', result: {} }), { message: 'The log is full' })
  t.equal(session.canAnswer([ping('a')]), true)
  t.strictSame(await messagesOf('fails/1'), [''])
  await t.rejects(session.answer('fails/2', [ping('a')], info), { message: 'The log is full' })
  t.strictSame(await messagesOf('fails/2'), [])
  t.equal(session.canAnswer([ping('a')]), true)
  failing = false
  await session.answer('fails/3', [ping('a')], info)
  failing = true
  await session.close()
  await until('the end', () => session.canAnswer([ping('a')]))
})

t.test('two POSTs at once with the id of one request: the first is answered, the second is rejected', async t => {
  const { session, messagesOf } = await start(t, 'twice')
  const received: unknown[] = []
  session.onmessage = message => { received.push(message) }
  const first = session.answer('twice/1', [ping('a')], info)
  await t.rejects(session.answer('twice/2', [ping('a')], info),
    { statusCode: 400, message: 'Invalid Request: The id of a request is in use' })
  await first
  t.strictSame(received, [ping('a')])
  const response = { jsonrpc: '2.0', id: 'a', result: {} } as const
  await session.send(response)
  t.strictSame(await messagesOf('twice/1'), ['', response])
})

t.test('a session that closes before the stream of a request is in the log fails the request once', async t => {
  const { session, messagesOf } = await start(t, 'early')
  const answer = session.answer('early/1', [ping('a')], info)
  await session.close()
  await answer
  t.match(await messagesOf('early/1'), ['', { id: 'a', error: { message: 'The session was closed' } }])
  t.equal((await messagesOf('early/1')).length, 2)
})

t.test('a notification cancels its own request alone', async t => {
  const { session, messagesOf } = await start(t, 'cancels')
  await session.answer('cancels/1', [ping('a')], info)
  const cancel = (requestId: string): void =>
    session.receive([{ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId } }], info)
  cancel('unknown')
  t.equal(session.canAnswer([ping('a')]), false)
  cancel('a')
  t.strictSame(await messagesOf('cancels/1'), [''])
})

t.test('the id of a session is used once', async t => {
  const { session } = await start(t, 'once')
  t.equal(session.sessionId, 'once')
  await session.start()
})
