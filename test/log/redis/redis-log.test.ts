import { AsyncLocalStorage } from 'node:async_hooks'
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { EventLog, HistoryLimits, MemberLog, RunLog } from '../../../lib/log/log.ts'
import type { RedisLog } from '../../../lib/log/redis/redis-log.ts'
import { RecordedTail } from '../../../lib/log/recorded-tail.ts'
import { redisLog } from '../../../lib/redis.ts'
import { compareWithMemory } from '../../setup/log-model.ts'
import { absent, REDIS } from '../../setup/programs.ts'
import { RedisServer } from '../../setup/redis.ts'
import { Relay } from '../../setup/relay.ts'
import { HISTORY, numbered } from '../../setup/remote-log.ts'
import { still, within } from '../../setup/within.ts'

const offsets = (tail: RecordedTail): number[] => tail.entries.map(({ offset }) => offset)
const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1)

t.test('with Redis', { skip: absent(REDIS) }, async t => {
  const server = await RedisServer.start(t)
  const admin = server.client(t)
  let names = 0
  /** Opens a log of a new name, or of the last one, as another node does. */
  const open = (
    t: Test,
    { name = `log ${++names}`, client = server.client(t), timeout = 5_000, history = {} }: {
      name?: string
      client?: Redis
      timeout?: number
      history?: Partial<HistoryLimits>
    } = {}
  ): EventLog & { name: string } => {
    const log = redisLog(client, { timeout })(name, { ...HISTORY, ...history })
    t.teardown(() => log.close())
    return Object.assign(log, { name })
  }

  t.test('every answer equals that of a log in memory', async t => {
    await compareWithMemory(t, redisLog(admin), { seeds: 40 })
  })

  t.test('R1: names with any characters are separate', async t => {
    const names = ['a', 'a}', '{a}', '{', '}', '{}', '%', '%7B', 'a:events', 'b', 'ä', ' ']
    const logs = names.map(name => open(t, { name }))
    for (const [index, log] of logs.entries()) await log.append(numbered(index))
    for (const [index, log] of logs.entries()) {
      t.strictSame((await log.read(0, 10)).entries.map(({ data }) => data), [String(index)], names[index]!)
    }
    const slots = await Promise.all(names.map(async name => {
      const keys = (await admin.keys('*')).filter(key =>
        key.startsWith(`sse:{${name.replace(/[{}%]/g, encodeURIComponent)}}`)
      )
      t.equal(keys.length, 2, 'the hash and the stream')
      return new Set(keys.map(key => /\{([^}]+)\}/.exec(key)?.[1])).size
    }))
    t.ok(slots.every(size => size === 1), 'the keys of one channel are in one slot')
  })

  t.test('an append right after the call of tail() is delivered, from this node and from another one', async t => {
    for (let n = 0; n < 50; n++) {
      const log = open(t)
      const other = open(t, { name: log.name })
      const tail = new RecordedTail()
      log.tail(tail.listener)
      await Promise.all([1, 2, 3].map(async n => log.append(numbered(n))))
      await other.append(numbered(4))
      await tail.waitFor('all four', () => tail.entries.length === 4)
      t.strictSame(offsets(tail), [1, 2, 3, 4])
    }
  })

  t.test('R8: for any loss of connections, every append is delivered once and in order', async t => {
    const relay = await Relay.start(t, () => [server.port])
    const connect = (): Redis => server.client(t, { port: relay.port, retryStrategy: () => 5 })
    const log = open(t, { client: connect() })
    const other = open(t, { name: log.name, client: connect() })
    const [tail, otherTail] = [new RecordedTail(), new RecordedTail()]
    log.tail(tail.listener)
    other.tail(otherTail.listener)
    await Promise.all([log.state(), other.state()])
    const stopCutting = relay.keepCutting(t, 20)
    const positions = await within('all appends', Promise.all(upTo(40).map(async n => {
      await new Promise(resolve => setTimeout(resolve, n * 10))
      return (await Promise.all(upTo(25).map(async m => (n % 2 === 0 ? log : other).append(numbered(n * 1_000 + m)))))
        .map(({ offset }) => offset)
    })))
    stopCutting()
    t.strictSame(positions.flat().sort((a, b) => a - b), upTo(1_000), 'each append was done once')
    for (const each of [tail, otherTail]) {
      await within('all entries', each.waitFor('all entries', () => each.entries.at(-1)?.offset === 1_000))
      t.strictSame(offsets(each), upTo(1_000))
      t.equal(new Set(each.entries.map(({ data }) => data)).size, 1_000)
    }
  })

  t.test('R8: a new epoch whose messages were lost is delivered by the next check', async t => {
    const log = open(t)
    const tail = new RecordedTail()
    log.tail(tail.listener)
    await log.append(numbered(1))
    await tail.waitFor('the entry', () => tail.entries.length === 1)
    await admin.flushall()
    // A message of a node that knows nothing of it.
    const { epoch } = await open(t, { name: log.name }).append(numbered(2))
    // The check may run right before the append: it finds an epoch that is still empty.
    await tail.waitFor('the new epoch', () => tail.batches.at(-1)?.epoch === epoch && tail.batches.at(-1)?.newest === 1)
    await open(t, { name: log.name }).append(numbered(3))
    await tail.waitFor('the entries of the new epoch', () => tail.entries.at(-1)?.offset === 2)
  })

  /** Copies the keys of a channel. The returned function puts them back, as a failover to an older replica does. */
  const copy = async (name: string): Promise<() => Promise<void>> => {
    const [hash, events] = [`sse:{${name}}`, `sse:{${name}}:events`]
    const [state, entries] = [await admin.dumpBuffer(hash), await admin.dumpBuffer(events)]
    return async () => {
      await admin.multi().restore(hash, 0, state, 'REPLACE').restore(events, 0, entries, 'REPLACE').exec()
      // Redis counts milliseconds: a later entry has another time.
      await new Promise(resolve => setTimeout(resolve, 5))
    }
  }

  t.test('R1: offsets that a failover lost are not assigned twice in one epoch', async t => {
    const log = open(t)
    const tail = new RecordedTail()
    log.tail(tail.listener)
    await log.append(numbered(1))
    const restore = await copy(log.name)
    const { epoch } = await log.append(numbered(2))
    await tail.waitFor('both entries', () => tail.entries.length === 2)
    await restore()
    const position = await log.append(numbered(3))
    t.not(position.epoch, epoch)
    t.equal(position.offset, 1)
    await tail.waitFor('the new epoch', () => tail.batches.at(-1)?.epoch === position.epoch)
  })

  t.test('R1: a message with another entry in place of a delivered one begins a new epoch', async t => {
    const log = open(t)
    const tail = new RecordedTail()
    log.tail(tail.listener)
    const { epoch } = await log.append(numbered(1))
    const restore = await copy(log.name)
    await log.append(numbered(2))
    await tail.waitFor('both entries', () => tail.entries.length === 2)
    const other = open(t, { name: log.name })
    await restore()
    // One message of a node that knows nothing of the lost entry.
    const positions = await Promise.all([numbered(3), numbered(4)].map(async record => other.append(record)))
    t.strictSame(positions, [{ epoch, offset: 2 }, { epoch, offset: 3 }])
    await tail.waitFor('the new epoch', () => tail.batches.at(-1)!.epoch !== epoch)
    t.strictSame(offsets(tail), [1, 2], 'the third entry of the old epoch is not delivered')
  })

  interface Gap {
    /** The numbers of the messages that the log does not receive. */
    lost: readonly number[]
    /** Its requests or their answers wait until this message has arrived. */
    last: number
    waits: 'request' | 'answer'
  }
  /** A log that has delivered one entry, and does not receive some of the later messages. */
  const openWithGap = async (t: Test, { lost, last, waits }: Gap) => {
    const client = server.client(t)
    const log = open(t, { client }) as EventLog & { name: string } & RedisLog
    const other = open(t, { name: log.name })
    const tail = new RecordedTail()
    log.tail(tail.listener)
    await log.state()
    const { epoch } = await other.append(numbered(1))
    await tail.waitFor('the first entry', () => tail.entries.length === 1)
    const receive = log.onMessage.bind(log)
    let messages = 0
    let release = (): void => {}
    const gate = new Promise<void>(resolve => { release = resolve })
    const onMessage = (message: Buffer): void => {
      messages++
      if (!lost.includes(messages)) receive(message)
      if (messages === last) release()
    }
    const send = client.callBuffer.bind(client)
    const callBuffer = async (...command: Parameters<typeof send>): Promise<unknown> => {
      if (waits === 'request') await gate
      const answer = await send(...command)
      await gate
      return answer
    }
    Object.assign(log, { onMessage })
    Object.assign(client, { callBuffer })
    return { other, tail, epoch }
  }

  t.test('R1: an entry that replaced a delivered one is noticed after a gap whose answer came late', async t => {
    const { other, tail, epoch } = await openWithGap(t, { lost: [1], last: 3, waits: 'answer' })
    await other.append(numbered(2))
    await other.append(numbered(3))
    const restore = await copy(other.name)
    await other.append(numbered(4))
    await tail.waitFor('all entries', () => tail.entries.length === 4)
    await restore()
    t.strictSame(await open(t, { name: other.name }).append(numbered(5)), { epoch, offset: 4 })
    await tail.waitFor('the new epoch', () => tail.batches.at(-1)!.epoch !== epoch)
  })

  t.test('R1: the known position is that of a read, if the messages during the read were not as far', async t => {
    const { other, tail, epoch } = await openWithGap(t, { lost: [1, 4], last: 4, waits: 'request' })
    for (const n of [2, 3, 4]) await other.append(numbered(n))
    const restore = await copy(other.name)
    await other.append(numbered(5))
    await tail.waitFor('all entries', () => tail.entries.length === 5)
    t.strictSame(offsets(tail), upTo(5))
    await restore()
    t.strictSame(await open(t, { name: other.name }).append(numbered(6)), { epoch, offset: 5 })
    await tail.waitFor('the new epoch', () => tail.batches.at(-1)!.epoch !== epoch)
  })

  t.test('L11: a listener runs in the context of no caller, also over a new connection', async t => {
    const storage = new AsyncLocalStorage<string>()
    const other = open(t)
    const log = open(t, { name: other.name })
    const seen: string[] = []
    const tail = new RecordedTail()
    await storage.run('ann', async () => {
      log.tail(batch => {
        seen.push(storage.getStore() ?? 'nobody')
        tail.listener(batch)
      })
      await log.state()
      await other.append(numbered(1))
      await tail.waitFor('an entry', () => tail.entries.length === 1)
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await other.append(numbered(2))
      await tail.waitFor('an entry after a lost connection', () => tail.entries.length === 2)
    })
    t.strictSame([...new Set(seen)], ['nobody'])
  })

  t.test('L11: a check for an early message belongs to no caller', async t => {
    const storage = new AsyncLocalStorage<string>()
    const client = server.client(t)
    const log = open(t, { client }) as unknown as RedisLog
    const seen: string[] = []
    const send = client.callBuffer.bind(client)
    Object.assign(client, {
      callBuffer: (...command: Parameters<typeof send>) => {
        seen.push(storage.getStore() ?? 'nobody')
        return send(...command)
      }
    })
    await storage.run('ann', () => {
      const reading = log.read(0, 1)
      log.tail(() => {})
      log.onMessage(Buffer.from('hello'))
      return reading
    })
    while (seen.length < 3) await log.state()
    t.equal(seen[0], 'ann', 'a call of the user keeps its context')
    t.strictSame([...new Set(seen.slice(1))], ['nobody'])
  })

  t.test('an error of Redis rejects with its code', async t => {
    const log = open(t)
    await admin.set(`sse:{${log.name}}`, 'taken')
    for (const call of [() => log.append(numbered(1)), () => log.read(0, 1), () => log.state(), () => log.end()]) {
      await t.rejects(async () => call(), {
        code: 'FST_SSE_LOG_FOREIGN',
        statusCode: 500,
        message:
          `The keys of the channel '${log.name}' hold other data, so use another prefix or another name: nothing was changed`
      })
    }
    const tail = new RecordedTail()
    log.tail(tail.listener)
    await admin.del(`sse:{${log.name}}`)
    await log.append(numbered(2))
    t.equal((await log.read(0, 1)).newest, 1, 'and it is used')
  })

  t.test('R10: text that no script has published only makes the log check the store', async t => {
    const log = open(t)
    const other = open(t, { name: log.name })
    const tail = new RecordedTail()
    log.tail(tail.listener)
    const { epoch } = await log.state()
    await log.append(numbered(1))
    await tail.waitFor('the entry', () => tail.entries.length === 1)
    const [, sealed] = await new Promise<[Buffer, Buffer]>((resolve, reject) => {
      const listener = server.client(t)
      listener.subscribe(`sse:{${log.name}}@0`).then(() => other.append(numbered(2)), reject)
      listener.on('messageBuffer', (channel: Buffer, message: Buffer) => resolve([channel, message]))
    })
    const forged = ['hello', '', ' ', '1 ', 'a 1 2 3 0', '\n', `${epoch} 1 900000 1 0\n`, `${epoch} 1 2 1 1\n`,
      `${epoch} 1 3 1 0\n3 7 1 json\nmessage9`, `1 ${'0'.repeat(40)} ${epoch} 1 3 1 1\n`, `2${String(sealed).slice(1)}`,
      'other 1 5 1 0\n', 'x'.repeat(1_000_000), sealed, sealed.subarray(0, -1), Buffer.concat([sealed, sealed])]
    for (const message of forged) await admin.publish(`sse:{${log.name}}@0`, message)
    await other.append(numbered(3))
    await tail.waitFor('all entries', () => tail.entries.length === 3)
    t.strictSame(await log.state(), { epoch, oldest: 1, newest: 3, ended: false })
    t.strictSame(tail.entries.map(({ data }) => data), ['1', '2', '3'])
    t.ok(tail.batches.every(batch => batch.epoch === epoch && !batch.ended && batch.newest <= 3))
    t.strictSame((await log.read(0, 10)).entries.map(({ data }) => data), ['1', '2', '3'])
  })

  t.test('R10: messages before the first answer of the store wait for it, in limited number', async t => {
    const log = open(t) as unknown as RedisLog & EventLog & { name: string }
    const tail = new RecordedTail()
    log.tail(tail.listener)
    for (let n = 0; n < 1_500; n++) log.onMessage(Buffer.from('hello'))
    await log.append(numbered(1))
    await tail.waitFor('the entry', () => tail.entries.length === 1)
    t.strictSame(offsets(tail), [1])
  })

  t.test('R10: keys that hold other data are not changed', async t => {
    const kinds: Record<string, (hash: string, stream: string) => Promise<unknown>> = {
      'a string': hash => admin.set(hash, 'mine'),
      'a set': hash => admin.sadd(hash, 'mine'),
      'a stream': hash => admin.xadd(hash, '1-1', 'mine', '1'),
      'a hash': hash => admin.hset(hash, 'mine', '1'),
      'a hash with an epoch': hash => admin.hset(hash, 'epoch', 'mine'),
      'a string for the events': (_, stream) => admin.set(stream, 'mine'),
      'another stream for the events': (_, stream) => admin.xadd(stream, '1-1', 'mine', '1'),
      'a stream with a group for the events': (_, stream) => admin.xgroup('CREATE', stream, 'mine', '$', 'MKSTREAM')
    }
    for (const [kind, make] of Object.entries(kinds)) {
      const log = open(t)
      const keys = [`sse:{${log.name}}`, `sse:{${log.name}}:events`] as const
      await make(...keys)
      const before = await Promise.all(keys.map(async key => admin.dumpBuffer(key)))
      for (const call of [() => log.append(numbered(1)), () => log.read(0, 1), () => log.state(), () => log.end()]) {
        await t.rejects(async () => call(), {
          code: 'FST_SSE_LOG_FOREIGN',
          statusCode: 500,
          message: /hold other data/,
          cause: { message: /^FOREIGN / }
        }, kind)
      }
      const after = await Promise.all(keys.map(async key => admin.dumpBuffer(key)))
      t.ok(before.every((value, index) => value === after[index] || value?.equals(after[index]!)),
        `${kind} is as it was`)
    }
  })

  t.test('R10: an entry that is no event is rejected, and a log that lost its hash does not reject its own events', async t => {
    const log = open(t, { history: { maxBytes: 1 } })
    await log.append(numbered(1))
    await admin.xadd(`sse:{${log.name}}:events`, '2-9999999999999', 'mine', '1')
    await t.rejects(async () => log.read(1, 1), { code: 'FST_SSE_LOG_FOREIGN' })
    const other = open(t)
    await other.append(numbered(1))
    await admin.del(`sse:{${other.name}}`)
    t.equal((await open(t, { name: other.name }).state()).newest, 0)
    t.equal(await admin.exists(`sse:{${other.name}}:events`), 0)
  })

  t.test('R10: each call rejects an entry of another program in the stream, until the stream is deleted', async t => {
    const ids = ['*', '2-0', '2-9999999999999', '18446744073709551615-18446744073709551615']
    const records = [['mine', '1'], ['event', 'mine', 'json', '1'], ['a', '1', 'b', '2', 'c', '3']]
    for (const id of ids) {
      for (const fields of records) {
        const log = open(t, { client: admin, history: { maxAge: 60_000 } })
        const events = `sse:{${log.name}}:events`
        const tail = new RecordedTail()
        log.tail(tail.listener)
        const { epoch } = await log.append(numbered(1))
        const added = await admin.xadd(events, id, ...fields)
        const before = await admin.dumpBuffer(events)
        const append = async (): Promise<unknown> => log.append(numbered(2))
        const calls = [append, () => log.read(0, 1), () => log.read(1, 1), () => log.state(), () => log.end()]
        const refused = { code: 'FST_SSE_LOG_FOREIGN', message: /hold other data/, cause: { message: /^FOREIGN / } }
        for (const call of calls) await t.rejects(async () => call(), refused, `${id} ${fields}`)
        t.ok(before.equals(await admin.dumpBuffer(events)), 'the keys are unchanged')
        await admin.xdel(events, added!)
        // The other ids are higher than that of the next event.
        if (id !== '2-0') await t.rejects(append, refused, 'the stream accepts no lower id after it')
        t.equal((await log.read(0, 1)).entries.length, 1)
        await admin.del(events)
        t.strictSame(await log.append(numbered(2)), { epoch, offset: 2 })
        await tail.waitFor('later entries', () => tail.entries.at(-1)?.offset === 2)
      }
    }
  })

  t.test('R10: a stream without its hash, with an entry of another program, is not changed', async t => {
    const log = open(t)
    const [hash, events] = [`sse:{${log.name}}`, `sse:{${log.name}}:events`]
    await log.append(numbered(1))
    await admin.xadd(events, '*', 'mine', '1')
    await admin.del(hash)
    for (const call of [() => log.append(numbered(2)), () => log.read(0, 1), () => log.state(), () => log.end()]) {
      await t.rejects(async () => call(), { code: 'FST_SSE_LOG_FOREIGN' })
    }
    t.strictSame([await admin.xlen(events), await admin.exists(hash)], [2, 0])
  })

  t.test('a deleted stream counts no bytes', async t => {
    const log = open(t, { history: { maxBytes: 20 } })
    for (const n of [1, 2]) await log.append(numbered(n))
    await admin.del(`sse:{${log.name}}:events`)
    await log.append(numbered(3))
    t.strictSame((await log.read(0, 10)).entries.map(({ offset }) => offset), [3])
    t.equal(await admin.hget(`sse:{${log.name}}`, 'bytes'), '8')
  })

  t.test('keys of a newer version are not changed, those of an older one are read', async t => {
    const log = open(t)
    await log.append({ ...numbered(1), fingerprint: 'abc' })
    await admin.hset(`sse:{${log.name}}`, 'v', 3)
    for (const call of [() => log.append(numbered(1)), () => log.read(0, 1), () => log.state(), () => log.end()]) {
      await t.rejects(async () => call(), {
        code: 'FST_SSE_LOG_FOREIGN',
        message: `The keys of the channel '${log.name}' are of a newer version of this package: nothing was changed`
      })
    }
    t.equal(await admin.xlen(`sse:{${log.name}}:events`), 1)
    await admin.hdel(`sse:{${log.name}}`, 'v', 'secret', 'ended')
    await admin.xadd(`sse:{${log.name}}:events`, '2-9999999999999', 'event', 'message', 'json', '2')
    await admin.hset(`sse:{${log.name}}`, { newest: 2, appendedAt: '9999999999999', bytes: 16 })
    const older = open(t, { name: log.name })
    t.strictSame((await older.read(0, 10)).entries, [{ offset: 1, ...numbered(1), fingerprint: 'abc' }, {
      offset: 2,
      event: 'message',
      data: '2',
      json: true
    }])
    t.equal((await older.append({ ...numbered(3), fingerprint: 'no\nfingerprint' })).offset, 3)
    t.equal(await admin.hget(`sse:{${log.name}}`, 'v'), '2')
    t.strictSame((await older.read(2, 10)).entries, [{ offset: 3, ...numbered(3) }])
  })

  t.test('a check that Redis rejects is not the last: the next one may succeed', async t => {
    const log = open(t)
    const tail = new RecordedTail()
    log.tail(tail.listener)
    await log.state()
    await admin.set(`sse:{${log.name}}`, 'taken')
    const refused = async (): Promise<number> =>
      Number(/errorstat_FOREIGN:count=(\d+)/.exec(await admin.info('errorstats'))?.[1] ?? 0)
    const before = await refused()
    await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    while (await refused() === before);
    await admin.del(`sse:{${log.name}}`)
    await log.append(numbered(1))
    await tail.waitFor('later entries', () => tail.batches.length > 0)
  })

  t.test('a check requested during another one runs after it, unless there are no listeners by then', async t => {
    const log = open(t)
    const looks = async (): Promise<number> =>
      Number(/cmdstat_evalsha:calls=(\d+)/.exec(await admin.info('commandstats'))?.[1] ?? 0)
    const stop = log.tail(() => {})
    await log.state()
    await still(looks)
    const before = await looks()
    const look = (): void => { (log as unknown as RedisLog).check() }
    for (let n = 0; n < 5; n++) look()
    while (await looks() < before + 2);
    t.equal(await still(looks), before + 2)
    look()
    look()
    stop()
    look()
    t.equal(await still(looks), before + 3)
  })

  t.test('a user without the right to subscribe gets the code, and may write', async t => {
    await admin.acl('SETUSER', 'writer', 'on', '>secret', '+@all', '~*', 'resetchannels', '&nothing')
    const log = open(t, { client: server.client(t, { username: 'writer', password: 'secret' }) })
    log.tail(() => {})
    await t.rejects(async () => log.state(), {
      code: 'FST_SSE_LOG_UNAVAILABLE',
      message: "The event log of the channel '" + log.name + "' cannot be used",
      cause: { message: /NOPERM/ }
    })
    await admin.acl('SETUSER', 'writer', '&*')
    t.equal((await log.append(numbered(1))).offset, 1)
  })

  t.test('a late append rejects with a timeout, and its late success causes no error', async t => {
    const log = open(t, { timeout: 100 })
    await log.state()
    await log.append(numbered(1))
    server.signal('SIGSTOP')
    t.teardown(() => server.signal('SIGCONT'))
    await t.rejects(log.append(numbered(2)) as Promise<unknown>, {
      code: 'FST_SSE_LOG_UNAVAILABLE',
      message: 'did not answer within 100 milliseconds: the event may still be appended'
    })
    server.signal('SIGCONT')
    const { offset } = await log.append(numbered(3))
    t.equal(offset, 3)
    t.strictSame((await log.read(0, 10)).entries.map(({ data }) => data), ['1', '2', '3'])
  })

  t.test('a closed log sends no commands, and its connection closes with the last log', async t => {
    const client = server.client(t, { connectionName: 'closing' })
    const make = redisLog(client)
    const [one, other] = [make('closing 1', HISTORY), make('closing 2', HISTORY)]
    const connections = async (): Promise<number> =>
      (String(await admin.client('LIST')).match(/name=closing/g) ?? []).length
    for (const log of [one, other]) log.tail(() => {})
    await Promise.all([one.state(), other.state()])
    t.equal(await connections(), 2)
    one.close()
    one.close()
    await other.append(numbered(1))
    t.equal(await connections(), 2)
    other.close()
    while (await connections() > 1);
    await t.rejects(async () => one.state(), { code: 'FST_SSE_LOG_UNAVAILABLE' })
    one.tail(() => t.fail('a closed log delivers nothing'))()
    t.equal(await connections(), 1)
    const again = make('closing 1', HISTORY)
    const tail = new RecordedTail()
    again.tail(tail.listener)
    await again.append(numbered(1))
    await tail.waitFor('the entry', () => tail.entries.length === 1)
    again.close()
  })

  t.test('R4: each key that a channel leaves goes away, within seventy minutes after its age', async t => {
    const own = await RedisServer.start(t)
    const client = own.client(t)
    const age = 60_000
    const open = redisLog(client)
    for (const n of upTo(20)) {
      const log = open(`past ${n}`, { ...HISTORY, maxAge: age }) as MemberLog & RunLog
      log.tail(() => {})
      await Promise.all([log.append(numbered(1)), log.appendOnce!(numbered(2), 'once')])
      await log.append(numbered(3))
      await log.hold('me', { add: ['"a"', '"b"'], remove: [] }, 1_000)
      await log.members()
      await log.lease('me', 1_000)
      if (n % 2 === 0) await log.end(numbered(4), 'complete')
      log.close()
    }
    const most: Array<[RegExp, number]> = [[/^sse:\{past \d+\}$/, age + 3_600_000 + 1_000],
      [/:events$/, age * 9 / 8], [/:(leases|members)$/, age + 3_601_000], [/:key:once$/, 600_000],
      [/^sse:appends:/, 600_000], [/^sse:epoch:/, age + 3_600_000 + 600_000]]
    const keys = await client.keys('*')
    t.ok(keys.length > 80, String(keys.length))
    for (const key of keys) {
      const [, bound] = most.find(([pattern]) => pattern.test(key))!
      const left = await client.pttl(key)
      t.ok(left > 0 && left <= bound, `${key} lives ${left} of ${bound}`)
      // The same, a hundred thousand times faster.
      await client.pexpire(key, Math.ceil(left / 100_000))
    }
    while (await client.dbsize() > 0) await new Promise(resolve => setTimeout(resolve, 5))
  })

  t.test('a log is idle without listeners and appends under way, when unused for its age or five minutes', async t => {
    for (const [age, after] of [[60_000, 60_000], [Infinity, 300_000]] as const) {
      const log = open(t, { history: { maxAge: age } })
      const stop = log.tail(() => {})
      await log.append(numbered(1))
      const { now } = performance
      const later = (by: number): boolean => {
        performance.now = () => now.call(performance) + by
        try {
          return log.isIdle()
        } finally {
          performance.now = now
        }
      }
      t.notOk(later(after), 'there is a listener')
      stop()
      await log.state()
      t.notOk(later(after - 1_000))
      t.ok(later(after))
      const appended = log.append(numbered(2))
      t.notOk(later(after), 'an append is under way')
      await appended
    }
  })
})
