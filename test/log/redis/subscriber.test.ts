import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { RedisSubscriber, type RedisListener } from '../../../lib/log/redis/subscriber.ts'
import { absent, REDIS } from '../../setup/programs.ts'
import { freePort, RedisServer } from '../../setup/redis.ts'
import { Relay } from '../../setup/relay.ts'
import { within } from '../../setup/within.ts'

/** Records messages, and the number of losses. */
class Listener implements RedisListener {
  readonly messages: string[] = []
  deaf = 0
  #check = (): void => {}

  onMessage (message: Buffer): void {
    this.messages.push(message.toString())
    this.#check()
  }

  onLoss (): void {
    this.deaf++
    this.#check()
  }

  until (what: string, holds: () => boolean): Promise<void> {
    return within(what, new Promise(resolve => {
      this.#check = () => { if (holds()) resolve() }
      this.#check()
    }))
  }
}

t.test('with Redis', { skip: absent(REDIS) }, async t => {
  const server = await RedisServer.start(t)
  const admin = server.client(t)
  const make = (t: Test, options: object = {}): { bell: RedisSubscriber, client: Redis } => {
    const client = server.client(t, options)
    const bell = new RedisSubscriber(client)
    t.teardown(() => bell.close())
    return { bell, client }
  }
  const tails = async (): Promise<string[]> => String(await admin.client('LIST')).split('\n').filter(line => line.includes(' name=') && line.includes(':tail '))
  const subscribers = async (...channels: string[]): Promise<number[]> => (await admin.pubsub('NUMSUB', ...channels) as Array<string | number>).filter((_value, index) => index % 2 === 1).map(Number)

  t.test('later messages reach all listeners, over one connection', async t => {
    const { bell } = make(t, { connectionName: 'mine' })
    const [one, two, other] = [new Listener(), new Listener(), new Listener()]
    await Promise.all([bell.subscribe('one', one), bell.subscribe('one', two), bell.subscribe('other', other)])
    await admin.publish('one', 'a')
    await admin.publish('other', 'b')
    for (const ear of [one, two, other]) await ear.until('the message', () => ear.messages.length > 0)
    t.strictSame([one.messages, two.messages, other.messages], [['a'], ['a'], ['b']])
    t.equal((await tails()).length, 1)
    t.match(await tails(), [/name=mine:tail /])
    t.strictSame(await subscribers('one', 'other'), [1, 1])
    bell.unsubscribe('one', one)
    bell.unsubscribe('one', one)
    t.strictSame(await subscribers('one', 'other'), [1, 1], 'somebody still listens')
    bell.unsubscribe('one', two)
    bell.unsubscribe('nobody', two)
    while ((await subscribers('one'))[0] !== 0);
    t.strictSame(await subscribers('other'), [1])
  })

  t.test('a client without listeners has one connection', async t => {
    make(t)
    await admin.ping()
    t.strictSame(await tails(), [])
  })

  t.test('a listener that is added again in the same turn receives messages', async t => {
    const { bell } = make(t)
    const ear = new Listener()
    await bell.subscribe('again', ear)
    for (let n = 0; n < 20; n++) {
      bell.unsubscribe('again', ear)
      await bell.subscribe('again', ear)
      await admin.publish('again', String(n))
      await ear.until('the message', () => ear.messages.at(-1) === String(n))
    }
    t.equal(ear.messages.length, 20)
  })

  t.test('a listener removed before the subscription receives nothing', async t => {
    const { bell } = make(t)
    const [gone, there] = [new Listener(), new Listener()]
    const listening = bell.subscribe('left', gone)
    bell.unsubscribe('left', gone)
    await bell.subscribe('right', there)
    await within('the word', listening)
    t.strictSame(await subscribers('left', 'right'), [0, 1])
  })

  t.test('a listener removed while the connection opens receives nothing, and others use the connection', async t => {
    const { bell } = make(t)
    server.signal('SIGSTOP')
    t.teardown(() => server.signal('SIGCONT'))
    const listening = bell.subscribe('gone', new Listener())
    // In the next turn of the loop the connection is being opened, and not ready yet.
    const gone = new Listener()
    const left = bell.subscribe('left early', gone)
    await new Promise(setImmediate)
    bell.unsubscribe('left early', gone)
    server.signal('SIGCONT')
    await within('both words', Promise.all([listening, left]))
    t.strictSame(await subscribers('gone', 'left early'), [1, 0])
    t.equal((await tails()).length, 1)
  })

  t.test('a lost connection is replaced, and its listeners are notified of the loss', async t => {
    const { bell } = make(t)
    const ears = Array.from({ length: 50 }, () => new Listener())
    await Promise.all(ears.map((ear, n) => bell.subscribe(`lost ${n}`, ear)))
    for (let round = 1; round <= 5; round++) {
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      for (const [n, ear] of ears.entries()) {
        await ear.until('that it missed something', () => ear.deaf === round)
        await admin.publish(`lost ${n}`, String(round))
        await ear.until('the message', () => ear.messages.length === round)
      }
    }
    t.equal((await tails()).length, 1)
  })

  t.test('a silent connection is dead, and replaced', async t => {
    const relay = await Relay.start(t, () => [server.port])
    const bell = new RedisSubscriber(server.client(t, { port: relay.port, lazyConnect: true }), 50)
    t.teardown(() => bell.close())
    const ear = new Listener()
    await bell.subscribe('silent', ear)
    bell.tick(performance.now())
    relay.lose(false)
    await admin.publish('silent', 'lost')
    bell.tick(performance.now() + 20)
    t.equal(ear.deaf, 0, 'it was asked a moment ago')
    bell.tick(performance.now() + 51)
    await ear.until('that it missed something', () => ear.deaf === 1)
    await admin.publish('silent', 'a')
    await ear.until('the message', () => ear.messages.length === 1)
    t.strictSame(ear.messages, ['a'])
  })

  t.test('an unreachable Redis is awaited', async t => {
    const { bell, client } = make(t, { port: await freePort(), retryStrategy: () => 10 })
    const ear = new Listener()
    const listening = bell.subscribe('away', ear)
    await new Promise(resolve => client.once('reconnecting', resolve))
    client.options.port = server.port
    await within('the word', listening)
    await admin.publish('away', 'a')
    await ear.until('the message', () => ear.messages.length === 1)
  })

  t.test('a user without the right to subscribe gets a rejection', async t => {
    await admin.acl('SETUSER', 'deaf', 'on', '>secret', '+@all', '~*', 'resetchannels')
    const { bell } = make(t, { username: 'deaf', password: 'secret' })
    await t.rejects(within('the refusal', bell.subscribe('forbidden', new Listener())), { message: /NOPERM/ })
  })

  t.test('a closed client delivers nothing, and keeps no call pending', async t => {
    const { bell, client } = make(t, { port: await freePort(), retryStrategy: () => 10 })
    const listening = bell.subscribe('closed', new Listener())
    client.disconnect()
    await t.rejects(within('the refusal', listening))
  })

  t.test('a closed subscriber has no connection and opens none', async t => {
    const { bell } = make(t)
    const ear = new Listener()
    await bell.subscribe('over', ear)
    bell.close()
    while ((await tails()).length > 0);
    const other = make(t).bell
    const listening = other.subscribe('over', ear)
    other.close()
    await within('the word', listening)
    while ((await tails()).length > 0);
    t.equal(ear.deaf, 0)
  })
})
