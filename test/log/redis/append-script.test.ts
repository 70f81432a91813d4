import type { Redis } from 'ioredis'
import t from 'tap'
import { append } from '../../../lib/log/redis/append-script.ts'
import { decodeMessage, VERSION } from '../../../lib/log/redis/script-reply.ts'
import { absent, REDIS } from '../../setup/programs.ts'
import { RedisServer } from '../../setup/redis.ts'

interface Part {
  name: string
  data: string[]
  epoch?: string
  offset?: number
  at?: string
  events?: number
  bytes?: number
  age?: number
  probes?: boolean
  once?: string[]
}

t.test('the script of appends', { skip: absent(REDIS) }, async t => {
  const server = await RedisServer.start(t)
  const redis = server.client(t)
  let numbers = 0
  const send = async (parts: Part[], number = ++numbers, client: Redis = redis): Promise<string[]> => {
    const keys = [...parts.flatMap(({ name }) => [name, `${name}:events`]), ...parts.flatMap(({ once = [] }) => once)]
    const args: Array<string | number> = []
    for (const { data, epoch = '', offset = 0, at = '', events = 16, bytes = 1_000, age = -1, probes = false, once = [] } of parts) {
      args.push(`${epoch} ${offset} ${at}`,
        [events, bytes, age, age < 0 ? '' : age + 1_000, probes ? 1 : 0, once.length, data.length].join(' '))
      for (const [n, text] of data.entries()) {
        args.push('message', 'text', text)
        if (once.length > 0) args.push(n < once.length ? 3 + n : '')
      }
    }
    return append.decode(await client.callBuffer('EVAL', append.text, keys.length + 1, 'receipt', ...keys, number,
      'PUBLISH', '@0', 'secret', `epoch${number}x`, parts.length, ...args) as Buffer)!
  }
  /** The number of calls of a command. */
  const calls = async (name: string): Promise<number> =>
    Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(await redis.info('commandstats'))?.[1] ?? 0)
  const isFast = async (part: Part): Promise<boolean> => {
    // Only the other cases set the time to live of the hash.
    const slow = async (): Promise<number> => await calls('persist') + await calls('pexpire')
    const before = await slow()
    const [line] = await send([part])
    if (!/^[\d=]/.test(line!)) throw new Error(line)
    return await slow() === before
  }

  t.test('many channels have one line each, and a repeated command gets the same answer', async t => {
    const parts = ['a', 'b'].map(name => ({ name, data: ['1', '2'] }))
    const number = ++numbers
    const lines = await send(parts, number)
    t.match(lines, [/^=epoch\d+x0 2 \d+ secret$/, /^=epoch\d+x1 2 \d+ secret$/])
    t.strictSame(await send(parts, number), lines)
    const [, epoch] = /^=(\w+)/.exec(lines[0]!)!
    const next = await send([{ name: 'a', data: ['3'], epoch: epoch!, offset: 1 }, { name: 'b', data: ['3'] }])
    t.match(next, [/^3-\d+$/, /^=epoch\d+x1 3 \d+ secret$/], 'an epoch that the sender knows is not repeated')
    t.equal(await redis.xlen('a:events'), 3)
  })

  t.test('an error of one channel leaves the others', async t => {
    await redis.set('taken', 'mine')
    await redis.hset('newer', { epoch: 'abc', newest: 0, appendedAt: 0, bytes: 0, v: VERSION + 1 })
    await redis.hset('closed', { epoch: 'abc', newest: 0, appendedAt: 0, bytes: 0, ended: 1, v: VERSION })
    const lines = await send(['taken', 'newer', 'closed', 'good'].map(name => ({ name, data: ['1'] })))
    t.match(lines, [/^-FOREIGN /, /^-NEWER /, /^-ENDED /, /^=\w+ 1 /])
  })

  t.test('the ordinary case is short, and every other one is not', async t => {
    await send([{ name: 'o', data: ['1'] }])
    const [epoch, at] = await redis.hmget('o', 'epoch', 'appendedAt') as [string, string]
    const known = { name: 'o', data: ['2'], epoch, offset: 1, at }
    t.ok(await isFast(known))
    t.ok(await isFast({ ...known, data: ['3', '4'] }), 'further than the sender knows')
    t.notOk(await isFast({ ...known, epoch: '' }), 'an epoch that the sender does not know')
    t.notOk(await isFast({ ...known, probes: true }), 'a check of the right to publish')
    t.notOk(await isFast({ ...known, age: 60_000 }), 'another age')
    t.ok(await isFast({ ...known, age: 60_000 }))
    await redis.hset('o', 'kept', `${Date.now() - 7_500} 60000`)
    t.notOk(await isFast({ ...known, age: 60_000 }), 'an eighth of the age later: the keys are kept')
    t.ok(await redis.pttl('o:events') > 60_000)
    t.ok(await isFast({ ...known, age: 60_000 }))
    t.notOk(await isFast({ ...known, age: 60_000, bytes: 20 }), 'beyond the limit of bytes')
    t.equal(await redis.xlen('o:events'), 2)
    t.ok(await isFast({ ...known, age: 60_000, data: ['x'.repeat(0)] }))
    await redis.del('o:events')
    t.notOk(await isFast({ ...known, age: 60_000 }), 'a deleted stream')
    t.notOk(await isFast({ ...known, age: -1 }))
    t.equal(await redis.pttl('o:events'), -1)
    for (const field of ['kept', 'oldest', 'secret']) {
      await redis.hdel('o', field)
      t.notOk(await isFast(known), `without ${field}, as an older version has it`)
      t.ok(await isFast(known))
    }
  })

  t.test('a history may exceed its limits by an eighth until the next read, and not more', async t => {
    await send([{ name: 'e', data: ['0'] }])
    const [epoch, at] = await redis.hmget('e', 'epoch', 'appendedAt') as [string, string]
    for (let n = 1; n < 18; n++) t.ok(await isFast({ name: 'e', data: [String(n)], epoch, offset: 1, at }), String(n))
    t.notOk(await isFast({ name: 'e', data: ['18'], epoch, offset: 1, at }))
    t.equal(await redis.xlen('e:events'), 16)
    t.equal(await redis.hget('e', 'oldest'), '4')
  })

  t.test('R8: a log with another entry at the position of the sender starts a new epoch, also if it has more', async t => {
    await send([{ name: 'other', data: ['1'] }])
    const [epoch, at] = await redis.hmget('other', 'epoch', 'appendedAt') as [string, string]
    t.match(await send([{ name: 'other', data: ['2', '3'], epoch, offset: 1, at }]), [/^3-/])
    const [line] = await send([{ name: 'other', data: ['4'], epoch, offset: 2, at: '12' }])
    t.match(line, /^=epoch\d+x0 1 \d+ secret$/)
    t.not(await redis.hget('other', 'epoch'), epoch)
  })

  t.test('a log behind the position of the sender, and a lost offset, start a new epoch', async t => {
    for (const lost of [{ offset: 2 }, { at: '12' }]) {
      await redis.del('l')
      await send([{ name: 'l', data: ['1'] }])
      const [epoch, at] = await redis.hmget('l', 'epoch', 'appendedAt') as [string, string]
      const [line] = await send([{ name: 'l', data: ['2'], epoch, offset: 1, at, ...lost }])
      t.match(line, /^=\w+ 1 /)
      t.not(await redis.hget('l', 'epoch'), epoch)
    }
  })

  t.test('an entry of another program with a higher id is found', async t => {
    await send([{ name: 'f', data: ['1'] }])
    const [epoch, at] = await redis.hmget('f', 'epoch', 'appendedAt') as [string, string]
    await redis.xadd('f:events', '9-0', 'mine', '1')
    await redis.xdel('f:events', '9-0')
    t.match(await send([{ name: 'f', data: ['2'], epoch, offset: 1, at }]), [/^-FOREIGN /])
  })

  t.test('a message has a seal in both cases', async t => {
    const messages: Buffer[] = []
    const listener = server.client(t)
    await listener.subscribe('m@0')
    listener.on('messageBuffer', (_channel: Buffer, message: Buffer) => { messages.push(message) })
    await send([{ name: 'm', data: ['1'] }])
    const [epoch, at] = await redis.hmget('m', 'epoch', 'appendedAt') as [string, string]
    t.ok(await isFast({ name: 'm', data: ['2', '€'], epoch, offset: 1, at }))
    while (messages.length < 2) await new Promise(setImmediate)
    t.match(messages.map(message => decodeMessage(message, 'secret')), [
      { epoch, newest: 1, entries: [{ offset: 1, data: '1' }] },
      { epoch, newest: 3, entries: [{ offset: 2, data: '2' }, { offset: 3, data: '€' }] }
    ])
  })

  t.test('a message is made for a subscriber only, and always without the right to ask for subscribers', async t => {
    await send([{ name: 'n', data: ['1'] }, { name: 'p', data: ['1'] }])
    const known = await Promise.all(['n', 'p'].map(async name => {
      const [epoch, at] = await redis.hmget(name, 'epoch', 'appendedAt') as [string, string]
      return { name, data: ['2'], epoch, offset: 1, at }
    }))
    const listener = server.client(t)
    await listener.subscribe('p@0')
    const messages: Buffer[] = []
    listener.on('messageBuffer', (_channel: Buffer, message: Buffer) => { messages.push(message) })
    const before = await calls('publish')
    t.match(await send(known), [/^2-/, /^2-/])
    t.equal(await calls('publish') - before, 1)
    while (messages.length < 1) await new Promise(setImmediate)
    t.match(decodeMessage(messages[0]!, 'secret'), { newest: 2, entries: [{ offset: 2, data: '2' }] })
    await redis.call('ACL', 'SETUSER', 'no-pubsub', 'on', '>x', '~*', '&*', '+@all', '-pubsub')
    const stranger = server.client(t, { username: 'no-pubsub', password: 'x' })
    t.match(await send(known, ++numbers, stranger), [/^3-/, /^3-/])
    t.equal(await calls('publish') - before, 3)
  })

  t.test('a key appends once, in its order among others, and is kept for ten minutes', async t => {
    const once = ['k:key:1', 'k:key:2']
    t.match(await send([{ name: 'k', data: ['1', '2', '3'], once }]), [/^=\w+ 3 \d+ secret 1 2 3$/])
    t.match(await send([{ name: 'k', data: ['4', '5', '6'], once: ['k:key:2', 'k:key:3'] }]), [/^=\w+ 5 \d+ secret -2 4 5$/])
    t.match(await send([{ name: 'k', data: ['4', '5'], once }]), [/^=\w+ 5 \d+ secret -1 -2$/], 'nothing new')
    const left = await redis.pttl('k:key:3')
    t.ok(left > 590_000 && left <= 600_000, String(left))
    await redis.hset('k', 'ended', 1)
    t.match(await send([{ name: 'k', data: ['4', '5', '6'], once: ['k:key:3', 'k:key:4'] }]),
      [/^=\w+ 5 \d+ secret -4 0 0$/], 'after the end')
    await redis.del('k', 'k:events', 'k:key:1')
    await redis.hset('k:key:1', 'mine', '1')
    t.match(await send([{ name: 'k', data: ['1', '2'], once }]), [/^=\w+ 2 \d+ secret 1 2$/],
      'keys of another epoch, and of another kind, do not count')
  })

  t.test('a full Redis rejects the whole command before it writes anything', async t => {
    await send([{ name: 'w', data: ['1'] }])
    const [epoch, at] = await redis.hmget('w', 'epoch', 'appendedAt') as [string, string]
    const size = await redis.dbsize()
    await redis.config('SET', 'maxmemory-policy', 'noeviction')
    await redis.config('SET', 'maxmemory', '1')
    const parts = [{ name: 'closed', data: ['1'] }, { name: 'w', data: ['2'], epoch, offset: 1, at }, { name: 'x', data: ['1'] }]
    await t.rejects(send(parts), { message: /OOM/ })
    await t.rejects(send(parts.toReversed()), { message: /OOM/ })
    await redis.config('SET', 'maxmemory', '0')
    t.strictSame([await redis.xlen('w:events'), await redis.dbsize()], [1, size])
  })
})
