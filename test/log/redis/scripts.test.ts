import type { Redis } from 'ioredis'
import t from 'tap'
import { append } from '../../../lib/log/redis/append-script.ts'
import { decodeAppend, decodeReply, type AppendReply, type ScriptReply } from '../../../lib/log/redis/script-reply.ts'
import * as scripts from '../../../lib/log/redis/scripts.ts'
import { absent, REDIS } from '../../setup/programs.ts'
import { RedisServer } from '../../setup/redis.ts'

interface Known { epoch: string, offset: number, appendedAt: string }
interface Bounds { events?: number, bytes?: number, age?: number }

/** Runs scripts on the keys of a name. */
class Channel {
  readonly #redis: Redis
  readonly #name: string
  #fresh = 0
  known: Known = { epoch: '', offset: 0, appendedAt: '' }
  bounds: Bounds = {}

  constructor (redis: Redis, name: string) {
    this.#redis = redis
    this.#name = name
  }

  async run (script: scripts.Script, ...args: Array<string | number>): Promise<ScriptReply> {
    const { events = 100, bytes = 100_000, age = -1 } = this.bounds
    const keys = [this.#name, `${this.#name}:events`]
    const { epoch, offset, appendedAt } = this.known
    const reply = decodeReply(
      await this.#redis.callBuffer('EVAL', script.text, keys.length, ...keys, `${this.#name}${++this.#fresh}`, epoch, offset,
        appendedAt, events, bytes, age, age < 0 ? '' : age + 1_000, 'secret', ...args) as Buffer
    )!
    this.known = { epoch: reply.epoch, offset: reply.newest, appendedAt: reply.appendedAt }
    return reply
  }

  /** Appends with the command of that number. */
  async append (number: number, ...data: string[]): Promise<AppendReply> {
    const { events = 100, bytes = 100_000, age = -1 } = this.bounds
    const { epoch, offset, appendedAt } = this.known
    const terms = [events, bytes, age, age < 0 ? '' : age + 1_000, 0, 0, data.length]
    const [line] = append.decode(await this.#redis.callBuffer('EVAL', append.text, 3, `${this.#name}:receipt`, this.#name,
      `${this.#name}:events`, number, 'PUBLISH', '@0', 'secret', `${this.#name}${++this.#fresh}x`, 1,
      `${epoch} ${offset} ${appendedAt}`, terms.join(' '),
      ...data.flatMap(text => ['message', 'text', text])) as Buffer)!
    if (line!.startsWith('-')) throw new Error(line!.slice(1))
    const reply = decodeAppend(line!, epoch, 'secret')!
    this.known = { epoch: reply.epoch, offset: reply.newest, appendedAt: reply.appendedAt }
    return reply
  }

  async data (): Promise<string[]> { return (await this.run(scripts.read, 0, 100)).entries.map(({ data }) => data) }
}

t.test('the scripts in Redis', { skip: absent(REDIS) }, async t => {
  const server = await RedisServer.start(t)
  const redis = server.client(t)
  let names = 0
  const channel = (): Channel => new Channel(redis, `c${++names}`)

  t.test('a repeated append gets the same answer, and is not appended twice', async t => {
    const log = channel()
    const first = await log.append(1, 'a', 'b')
    log.known = { epoch: '', offset: 0, appendedAt: '' }
    t.strictSame(await log.append(1, 'a', 'b'), first)
    await log.append(2, 'c')
    t.strictSame(await log.data(), ['a', 'b', 'c'])
  })

  t.test('a completed append is known for a while after the end, too', async t => {
    const log = channel()
    await log.append(1, 'a')
    await log.run(scripts.end, 'PUBLISH', 'channel', '')
    t.equal((await log.append(1, 'a')).newest, 1)
    await t.rejects(log.append(2, 'b'), { message: /^ENDED / })
  })

  t.test('R1: a repeated append whose log was lost meanwhile gets its answer, and the next one starts a log', async t => {
    const log = channel()
    const first = await log.append(1, 'a')
    await redis.del(`c${names}`)
    t.equal((await log.append(1, 'a')).epoch, first.epoch)
    const { epoch, newest } = await log.append(2, 'b')
    t.equal(epoch, `c${names}3x0`)
    t.equal(newest, 1)
  })

  t.test('R1: a log that is behind a delivered position starts a new epoch', async t => {
    for (const script of [scripts.state, scripts.check]) {
      const log = channel()
      await log.append(1, 'a', 'b')
      const { known } = log
      t.equal((await log.run(script)).epoch, known.epoch)
      for (const lost of [{ offset: 3 }, { appendedAt: '1' }, { offset: 3, appendedAt: '1' }]) {
        log.known = { ...known, ...lost }
        const { epoch, newest } = await log.run(script)
        t.not(epoch, known.epoch)
        t.equal(newest, 0)
        t.strictSame(await log.data(), [])
        await redis.del(`c${names}`)
        await redis.hset(`c${names}`, { epoch: known.epoch, newest: 2, appendedAt: known.appendedAt, bytes: 2 })
      }
    }
  })

  t.test('R1: a log that assigned one offset to two events is detected by the check, also after later appends', async t => {
    const log = channel()
    await log.append(1, 'a')
    const { known } = log
    await log.append(2, 'b')
    log.known = known
    t.equal((await log.run(scripts.check)).epoch, known.epoch)
    log.known = { ...known, appendedAt: '12' }
    t.equal((await log.run(scripts.state)).epoch, known.epoch, 'which verifies the entry of the position')
    log.known = { ...known, appendedAt: '12' }
    t.not((await log.run(scripts.check)).epoch, known.epoch)
  })

  t.test('appendedAt never decreases, whatever the clock reports', async t => {
    const log = channel()
    const { epoch } = await log.append(1, 'a')
    const future = Date.now() + 60_000
    await redis.hset(`c${names}`, 'appendedAt', future)
    log.known = { epoch: '', offset: 0, appendedAt: '' }
    t.strictSame(await log.append(2, 'b').then(({ epoch, appendedAt }) => ({ epoch, appendedAt })), {
      epoch,
      appendedAt: String(future)
    })
  })

  t.test('events and bytes are counted over all appends, and the end of a batch beyond the limits is kept', async t => {
    const log = channel()
    log.bounds = { events: 3 }
    await log.append(1, ...'abcdefgh')
    t.strictSame(await log.data(), ['f', 'g', 'h'])
    log.bounds = { bytes: 2 * ('message'.length + 10) }
    await log.append(2, 'x'.repeat(10), 'y'.repeat(10), 'é'.repeat(5))
    t.strictSame(await log.data(), ['y'.repeat(10), 'é'.repeat(5)])
    t.equal(Number(await redis.hget(`c${names}`, 'bytes')), 34)
    log.bounds = { bytes: 10 }
    t.strictSame(await log.data(), [])
    t.equal(Number(await redis.hget(`c${names}`, 'bytes')), 0)
  })

  t.test('a thousand events beyond the limits are evicted at once', async t => {
    const log = channel()
    log.bounds = { events: 2_000 }
    await log.append(1, ...Array.from({ length: 1_000 }, (_, n) => String(n)))
    log.bounds = { events: 1 }
    t.strictSame(await log.data(), ['999'])
    t.equal(await redis.xlen(`c${names}:events`), 1)
  })

  t.test('R4: keys expire: the events with their age, the rest later, and nothing without an age', async t => {
    const log = channel()
    await log.append(1, 'a')
    t.strictSame([await redis.pttl(`c${names}`), await redis.pttl(`c${names}:events`)], [-1, -1])
    log.bounds = { age: 100_000 }
    await log.append(2, 'b')
    const within = (value: number, most: number): void => {
      t.ok(value > most - 10_000 && value <= most, `${value} of ${most}`)
    }
    within(await redis.pttl(`c${names}:events`), 112_500)
    within(await redis.pttl(`c${names}`), 101_000)
    within(await redis.pttl(`c${names}:receipt`), 600_000)
    log.bounds = {}
    await log.append(3, 'c')
    t.strictSame([await redis.pttl(`c${names}`), await redis.pttl(`c${names}:events`)], [-1, -1])
  })

  t.test('the keys of a log with listeners stay, and reading alone leaves no key without an expiry', async t => {
    for (const script of [scripts.state, scripts.check, scripts.end, scripts.read]) {
      const log = channel()
      log.bounds = { age: 50_000 }
      await log.run(script, ...script === scripts.end ? ['PUBLISH', 'channel', ''] : [0, 1])
      t.ok(await redis.pttl(`c${names}`) > 40_000)
      await redis.pexpire(`c${names}`, 1_000)
      await log.run(script, ...script === scripts.end ? ['PUBLISH', 'channel', ''] : [0, 1])
      t.ok(await redis.pttl(`c${names}`) > 40_000)
    }
  })

  t.test('a log keeps its offsets and its epoch when its events expire before it', async t => {
    const log = channel()
    const { epoch } = await log.append(1, 'a', 'b')
    await redis.del(`c${names}:events`)
    t.match(await log.run(scripts.state), { epoch, oldest: 3, newest: 2 })
    t.match(await log.append(2, 'c'), { epoch, newest: 3 })
    t.match(await log.run(scripts.state), { epoch, oldest: 3, newest: 3 })
    t.equal(Number(await redis.hget(`c${names}`, 'bytes')), 8)
  })

  t.test('R1: a log that expired before its events does not reuse them', async t => {
    const log = channel()
    const { epoch } = await log.append(1, 'a', 'b')
    await redis.del(`c${names}`)
    log.known = { epoch: '', offset: 0, appendedAt: '' }
    const appended = await log.append(2, 'c')
    t.not(appended.epoch, epoch)
    t.strictSame(await log.data(), ['c'])
  })

  t.test('a script has its own name, the hash of its text', async t => {
    const { end, state, read, check } = scripts
    for (const { text, sha } of [append, end, state, read, check]) t.equal(await redis.script('LOAD', text), sha)
  })
})
