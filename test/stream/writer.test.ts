import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { FrameBatch } from '../../lib/channel/frame-batch.ts'
import { freeContract } from '../../lib/contract/contract.ts'
import type { StreamRecord } from '../../lib/stream/stream-record.ts'
import { SERVER_SENT_EVENTS } from '../../lib/stream/formats.ts'
import { Writer, type WriterOwner } from '../../lib/stream/writer.ts'

interface Open { response: ServerResponse, client: IncomingMessage }

/** A response on a real socket. Its head is out, its client is paused. */
async function openResponse (t: Test): Promise<Open> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return new Promise(resolve => {
    let response: ServerResponse
    server.once('request', (_request, answer) => {
      response = answer
      response.flushHeaders()
    })
    get({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' }, client => {
      client.on('error', () => {})
      resolve({ response, client })
    })
  })
}

interface Made { writer: Writer, calls: string[], written: string[], answer: { room: boolean } }

function makeWriter (
  response: ServerResponse,
  options: Partial<WriterOwner['options']> = {}
): Made & { open: () => void } {
  const calls: string[] = []
  const written: string[] = []
  const answer = { room: true }
  const writer = new Writer({
    response,
    options: { heartbeatInterval: 0, stallTimeout: 0, ...options },
    head: { open: () => calls.push('commit') },
    driver: { pull: () => calls.push('resume') },
    end: reason => calls.push(reason),
    destroy: () => calls.push('destroy'),
    opened: () => {},
    representation: SERVER_SENT_EVENTS
  } as Partial<WriterOwner> as WriterOwner)
  const open = (): void => writer.open({
    write: frames => {
      written.push(String(frames))
      return answer.room
    },
    writeShared: chunk => {
      written.push(`${chunk.text}<shared>`)
      return answer.room
    },
    end: text => written.push(`${text}<end>`)
  })
  return { writer, calls, written, answer, open }
}

const turn = (): Promise<void> => new Promise(setImmediate)

t.test('L5: frames that are ready together are sent in one write, with the head', async t => {
  const { response } = await openResponse(t)
  const { writer, calls, written, open } = makeWriter(response)
  writer.append('a\n\n')
  t.strictSame([calls, writer.isEmpty], [[], false], 'nothing before the tick')
  await Promise.resolve().then(() => writer.append('b\n\n'))
  await turn()
  t.strictSame([calls, written], [['commit'], []])
  writer.prepend('retry: 1\n\n')
  open()
  t.strictSame([calls, written], [['commit', 'resume'], ['retry: 1\n\na\n\nb\n\n']])
  writer.append('c\n\n')
  writer.append('d\n\n')
  await turn()
  t.strictSame(written.slice(1), ['c\n\nd\n\n'])
  t.equal(writer.bytes, 23 - 1)
})

t.test('bytes are counted as UTF-8', async t => {
  const { response } = await openResponse(t)
  const { writer, open } = makeWriter(response)
  open()
  writer.append('data: é€😀\n\n')
  writer.end('')
  t.equal(writer.bytes, Buffer.byteLength('data: é€😀\n\n'))
})

t.test('L4: a writer has no room after a full batch, until the sink drained', async t => {
  const { response } = await openResponse(t)
  const { writer, calls, written, answer, open } = makeWriter(response)
  const large = 'x'.repeat(40_000)
  writer.append(large)
  t.strictSame([writer.hasRoom(), calls], [false, ['commit']], 'before the first write')
  answer.room = false
  open()
  t.strictSame([written.length, writer.hasRoom()], [1, false])
  writer.append('held')
  await turn()
  t.equal(written.length, 1, 'the receiver has enough')
  answer.room = true
  writer.drained()
  t.strictSame([written[1], writer.hasRoom(), calls.at(-1)], ['held', true, 'resume'])
  calls.length = 0
  writer.drained()
  t.strictSame(calls, [], 'a drain without a blocked write is ignored')
})

t.test('the end is sent once, with the remaining frames, also to a full sink', async t => {
  const { response } = await openResponse(t)
  const { writer, calls, written, answer, open } = makeWriter(response)
  answer.room = false
  open()
  writer.append('a')
  await turn()
  writer.append('b')
  writer.end('c')
  writer.end('d')
  await turn()
  t.strictSame([written, calls], [['a', 'bc<end>'], ['resume']])
})

t.test('an end before the first write commits the head, and no event is pulled', async t => {
  const { response } = await openResponse(t)
  const { writer, calls, written, open } = makeWriter(response)
  writer.end('')
  t.strictSame(calls, ['commit'])
  open()
  t.strictSame([written, calls], [['<end>'], ['commit']])
})

t.test('L3: no frame is written to a destroyed response', async t => {
  const { response } = await openResponse(t)
  const { writer, written, open } = makeWriter(response)
  open()
  response.destroy()
  writer.append('a')
  await turn()
  writer.end('b')
  t.strictSame(written, [])
})

t.test('L6: a heartbeat is sent after a silence, but not while bytes wait or after the end', async t => {
  const { response } = await openResponse(t)
  const { writer, written, open } = makeWriter(response, { heartbeatInterval: 100 })
  writer.tick(0)
  open()
  writer.tick(10)
  writer.tick(109)
  t.strictSame(written, [])
  writer.tick(110)
  t.strictSame(written, [':\n\n'])
  writer.append('a')
  await turn()
  writer.tick(200)
  writer.tick(299)
  t.strictSame(written, [':\n\n', 'a'], 'frames delay the heartbeat')
  response.write('x'.repeat(20 * 1024 * 1024))
  writer.tick(400)
  t.equal(written.length, 2, 'bytes wait')
})

t.test('L4: a client that reads no byte for stallTimeout is stalled, one that reads some is not', async t => {
  const { response, client } = await openResponse(t)
  const { writer, calls, open } = makeWriter(response, { stallTimeout: 100 })
  open()
  calls.length = 0
  response.write('x'.repeat(20 * 1024 * 1024))
  await turn()
  writer.tick(1_000)
  writer.tick(1_099)
  t.strictSame(calls, [])
  // The client takes a part of it: the write as a whole is not done, and yet this is no stall.
  let received = 0
  await new Promise<void>(resolve => client.on('data', chunk => {
    received += chunk.length
    if (received < 8 * 1024 * 1024) return
    client.pause()
    resolve()
  }))
  writer.tick(1_150)
  writer.tick(1_249)
  t.strictSame(calls, [])
  writer.tick(1_250)
  t.strictSame(calls, ['stalled', 'destroy'])
})

t.test('L4: a blocked sink is stalled, even if its bytes are not counted', async t => {
  const { response } = await openResponse(t)
  const { writer, calls, answer, open } = makeWriter(response, { stallTimeout: 100 })
  open()
  calls.length = 0
  answer.room = false
  writer.append('x')
  await turn()
  writer.tick(1_000)
  writer.tick(1_099)
  t.strictSame(calls, [])
  writer.drained()
  writer.tick(1_100)
  writer.append('y')
  await turn()
  writer.tick(1_150)
  writer.tick(1_249)
  t.strictSame(calls, ['resume'])
  writer.tick(1_250)
  t.strictSame(calls, ['resume', 'stalled', 'destroy'])
})

t.test('L4: an injected response has no unsent bytes', async t => {
  const { response } = await openResponse(t)
  const { writer, calls, written, open } = makeWriter(response, { stallTimeout: 100, heartbeatInterval: 100 })
  Object.assign(response, { isLightMyRequest: true })
  open()
  calls.length = 0
  response.write('x'.repeat(20 * 1024 * 1024))
  writer.tick(1_000)
  writer.tick(1_100)
  t.strictSame([calls, written], [[], [':\n\n']])
})

t.test('L4: a response behind a pipelined predecessor is not stalled', async t => {
  const { response } = await openResponse(t)
  const { writer, calls, open } = makeWriter(response, { stallTimeout: 100 })
  open()
  calls.length = 0
  response.write('x'.repeat(20 * 1024 * 1024))
  const { socket } = response
  response.detachSocket(socket!)
  response.write('y')
  writer.tick(0)
  writer.tick(1_000)
  t.strictSame(calls, [])
  socket!.destroy()
})

/** A chunk of one event, its text, and its bytes. */
function shared (data: string): { chunk: FrameBatch, text: string, size: number } {
  const chunk = new FrameBatch('e', [{ offset: 1, event: 'message', data, json: false }])
  const text = `id: e-1\ndata: ${data}\n\n`
  return { chunk, text, size: Buffer.byteLength(text) }
}

t.test('R4: shared frames are written to the sink at once, and are counted in bytes', async t => {
  const { response } = await openResponse(t)
  const { writer, written, open } = makeWriter(response)
  const { chunk, text, size } = shared('é€😀')
  open()
  writer.writeFrames(chunk, 1)
  t.strictSame([written, writer.bytes, writer.isEmpty], [[`${text}<shared>`], size, true], 'at once')
  writer.writeFrames(chunk, 1)
  t.strictSame([written.length, writer.bytes], [2, 2 * size])
})

t.test('R2: waiting frames are sent before shared frames', async t => {
  const { response } = await openResponse(t)
  const { writer, calls, written, open } = makeWriter(response)
  const { chunk, text } = shared('1')
  writer.writeFrames(chunk, 1)
  await turn()
  t.strictSame([calls, written], [['commit'], []], 'they commit the head, as all frames do')
  open()
  writer.append('a')
  writer.writeFrames(chunk, 1)
  writer.append('b')
  t.strictSame(written, [text])
  await turn()
  t.strictSame(written, [text, `a${text}b`])
})

t.test('L4: a sink that is full of shared frames gets no more until it drained', async t => {
  const { response } = await openResponse(t)
  const { writer, calls, written, answer, open } = makeWriter(response)
  const { chunk, text } = shared('1')
  open()
  calls.length = 0
  answer.room = false
  writer.writeFrames(chunk, 1)
  t.equal(writer.hasRoom(), false)
  writer.writeFrames(chunk, 1)
  await turn()
  t.strictSame([written, calls], [[`${text}<shared>`], []])
  answer.room = true
  writer.drained()
  t.strictSame([written, calls, writer.hasRoom()], [[`${text}<shared>`, text], ['resume'], true])
})

t.test('L3: shared frames are not written to a destroyed or ended response', async t => {
  const { chunk } = shared('1')
  const over = makeWriter((await openResponse(t)).response)
  over.open()
  over.writer.end('last')
  over.writer.writeFrames(chunk, 1)
  await turn()
  t.strictSame([over.written, over.writer.bytes], [['last<end>'], 4])

  const { response } = await openResponse(t)
  const gone = makeWriter(response)
  gone.open()
  response.destroy()
  gone.writer.writeFrames(chunk, 1)
  await turn()
  t.strictSame([gone.written, gone.writer.bytes], [[], 0])
})

t.test('L6: shared frames delay the heartbeat', async t => {
  const { response } = await openResponse(t)
  const { writer, written, open } = makeWriter(response, { heartbeatInterval: 100 })
  const { chunk } = shared('1')
  open()
  writer.tick(0)
  writer.writeFrames(chunk, 1)
  writer.tick(90)
  writer.tick(189)
  t.equal(written.length, 1)
  writer.tick(190)
  t.strictSame(written.slice(1), [':\n\n'])
})

t.test('L6: after the silence the position is sent in place of the heartbeat, if it moved without an event', async t => {
  const { response } = await openResponse(t)
  const written: string[] = []
  const position = ['id: e-128\n\n', '']
  const writer = new Writer({
    response,
    options: { heartbeatInterval: 100, stallTimeout: 0, systemEvent: undefined },
    driver: { pull: () => {}, checkpoint: () => position.shift()! },
    opened: () => {},
    representation: SERVER_SENT_EVENTS
  } as Partial<WriterOwner> as WriterOwner)
  writer.open({ write: text => written.push(text) > 0, writeShared: () => true, end: () => {} })
  writer.tick(0)
  writer.tick(100)
  writer.tick(200)
  writer.tick(300)
  t.strictSame(written, ['id: e-128\n\n', ':\n\n'])
  t.equal(writer.bytes, 14)
})

t.test('C2: an event is framed by the contract, counted, and its id stored; an event that does not match is reported', async t => {
  const { response } = await openResponse(t)
  const written: string[] = []
  const rejected: unknown[] = []
  const record = { lastEventId: undefined } as StreamRecord
  const writer = new Writer({
    response,
    options: { heartbeatInterval: 0, stallTimeout: 0, systemEvent: undefined },
    contract: freeContract,
    record,
    driver: undefined,
    failures: {
      rejected: (_error, event) => { rejected.push(event) },
      fail: () => {},
      failLate: () => {}
    },
    opened: () => {},
    representation: SERVER_SENT_EVENTS
  } as Partial<WriterOwner> as WriterOwner)
  writer.open({ write: text => written.push(text) > 0, writeShared: () => true, end: () => {} })
  t.strictSame([writer.write({ data: 1, id: 7 }, ': before\n'), writer.write({ comment: 'c' }), writer.write('none')], [
    true,
    true,
    false
  ])
  writer.writeFrames('data: 2\n\n', 1)
  await turn()
  t.strictSame(written, [': before\nid: 7\ndata: 1\n\n: c\n\ndata: 2\n\n'])
  t.strictSame([writer.events, record.lastEventId, rejected], [2, '7', ['none']])
})
