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
  losses = 0
  #check = (): void => {}

  onMessage (message: Buffer): void {
    this.messages.push(message.toString())
    this.#check()
  }

  onLoss (): void {
    this.losses++
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
  const make = (t: Test, options: object = {}): { subscriber: RedisSubscriber, client: Redis } => {
    const client = server.client(t, options)
    const subscriber = new RedisSubscriber(client)
    t.teardown(() => subscriber.close())
    return { subscriber, client }
  }
  const tails = async (): Promise<string[]> =>
    String(await admin.client('LIST')).split('\n').filter(line => line.includes(' name=') && line.includes(':tail '))
  const subscribers = async (...channels: string[]): Promise<number[]> =>
    (await admin.pubsub('NUMSUB', ...channels) as Array<string | number>).filter((_value, index) => index % 2 === 1)
      .map(Number)

  t.test('later messages reach all listeners, over one connection', async t => {
    const { subscriber } = make(t, { connectionName: 'mine' })
    const [one, two, other] = [new Listener(), new Listener(), new Listener()]
    await Promise.all([subscriber.subscribe('one', one), subscriber.subscribe('one', two),
      subscriber.subscribe('other', other)])
    await admin.publish('one', 'a')
    await admin.publish('other', 'b')
    for (const listener of [one, two, other]) await listener.until('the message', () => listener.messages.length > 0)
    t.strictSame([one.messages, two.messages, other.messages], [['a'], ['a'], ['b']])
    t.equal((await tails()).length, 1)
    t.match(await tails(), [/name=mine:tail /])
    t.strictSame(await subscribers('one', 'other'), [1, 1])
    subscriber.unsubscribe('one', one)
    subscriber.unsubscribe('one', one)
    t.strictSame(await subscribers('one', 'other'), [1, 1], 'a listener is left')
    subscriber.unsubscribe('one', two)
    subscriber.unsubscribe('nobody', two)
    while ((await subscribers('one'))[0] !== 0);
    t.strictSame(await subscribers('other'), [1])
  })

  t.test('a client without listeners has one connection', async t => {
    make(t)
    await admin.ping()
    t.strictSame(await tails(), [])
  })

  t.test('a listener that is added again in the same turn receives messages', async t => {
    const { subscriber } = make(t)
    const listener = new Listener()
    await subscriber.subscribe('again', listener)
    for (let n = 0; n < 20; n++) {
      subscriber.unsubscribe('again', listener)
      await subscriber.subscribe('again', listener)
      await admin.publish('again', String(n))
      await listener.until('the message', () => listener.messages.at(-1) === String(n))
    }
    t.equal(listener.messages.length, 20)
  })

  t.test('a listener removed before the subscription receives nothing', async t => {
    const { subscriber } = make(t)
    const [removed, there] = [new Listener(), new Listener()]
    const listening = subscriber.subscribe('left', removed)
    subscriber.unsubscribe('left', removed)
    await subscriber.subscribe('right', there)
    await within('the word', listening)
    t.strictSame(await subscribers('left', 'right'), [0, 1])
  })

  t.test('a listener removed while the connection opens receives nothing, and others use the connection', async t => {
    const { subscriber } = make(t)
    server.signal('SIGSTOP')
    t.teardown(() => server.signal('SIGCONT'))
    const listening = subscriber.subscribe('removed', new Listener())
    // In the next turn of the loop the connection is being opened, and not ready yet.
    const removed = new Listener()
    const left = subscriber.subscribe('left early', removed)
    await new Promise(setImmediate)
    subscriber.unsubscribe('left early', removed)
    server.signal('SIGCONT')
    await within('both words', Promise.all([listening, left]))
    t.strictSame(await subscribers('removed', 'left early'), [1, 0])
    t.equal((await tails()).length, 1)
  })

  t.test('a lost connection is replaced, and its listeners are notified of the loss', async t => {
    const { subscriber } = make(t)
    const ears = Array.from({ length: 50 }, () => new Listener())
    await Promise.all(ears.map((listener, n) => subscriber.subscribe(`lost ${n}`, listener)))
    for (let again = 1; again <= 5; again++) {
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      for (const [n, listener] of ears.entries()) {
        await listener.until('the loss, and the replacement', () => listener.losses === 2 * again)
        await admin.publish(`lost ${n}`, String(again))
        await listener.until('the message', () => listener.messages.length === again)
      }
    }
    t.equal((await tails()).length, 1)
  })

  t.test('a silent connection is dead, and replaced', async t => {
    const relay = await Relay.start(t, () => [server.port])
    const subscriber = new RedisSubscriber(server.client(t, { port: relay.port, lazyConnect: true }), 50)
    t.teardown(() => subscriber.close())
    const listener = new Listener()
    await subscriber.subscribe('silent', listener)
    subscriber.tick(performance.now())
    relay.lose(false)
    await admin.publish('silent', 'lost')
    subscriber.tick(performance.now() + 20)
    t.equal(listener.losses, 0, 'the last PING was a moment ago')
    subscriber.tick(performance.now() + 51)
    await listener.until('the loss, and the replacement', () => listener.losses === 2)
    await admin.publish('silent', 'a')
    await listener.until('the message', () => listener.messages.length === 1)
    t.strictSame(listener.messages, ['a'])
  })

  t.test('an unreachable Redis is awaited', async t => {
    const { subscriber, client } = make(t, { port: await freePort(), retryStrategy: () => 10 })
    const listener = new Listener()
    const listening = subscriber.subscribe('away', listener)
    await new Promise(resolve => client.once('reconnecting', resolve))
    client.options.port = server.port
    await within('the word', listening)
    await admin.publish('away', 'a')
    await listener.until('the message', () => listener.messages.length === 1)
  })

  t.test('a user without the right to subscribe gets a rejection', async t => {
    await admin.acl('SETUSER', 'limited', 'on', '>secret', '+@all', '~*', 'resetchannels')
    const { subscriber } = make(t, { username: 'limited', password: 'secret' })
    await t.rejects(within('the refusal', subscriber.subscribe('forbidden', new Listener())), { message: /NOPERM/ })
  })

  t.test('a closed client delivers nothing, and keeps no call pending', async t => {
    const { subscriber, client } = make(t, { port: await freePort(), retryStrategy: () => 10 })
    const listening = subscriber.subscribe('closed', new Listener())
    client.disconnect()
    await t.rejects(within('the refusal', listening))
  })

  t.test('a closed subscriber has no connection and opens none', async t => {
    const { subscriber } = make(t)
    const listener = new Listener()
    await subscriber.subscribe('over', listener)
    subscriber.close()
    while ((await tails()).length > 0);
    const other = make(t).subscriber
    const listening = other.subscribe('over', listener)
    other.close()
    await within('the word', listening)
    while ((await tails()).length > 0);
    t.equal(listener.losses, 0)
  })
})
