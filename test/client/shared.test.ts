import { getEventListeners } from 'node:events'
import t, { type Test } from 'tap'
import type { Message, StreamState } from '../../lib/client/stream-reader.ts'
import { nameOf, shared, type SharedSource } from '../../lib/client/shared.ts'
import { within } from '../setup/within.ts'

type Item = Message | StreamState
type Granted = () => Promise<unknown>

/** A subset of Web Locks: exclusive, in the order of requests, with a signal for waiting requests. */
class Locks {
  readonly #queues = new Map<string, Array<() => Promise<void>>>()

  request (name: string, { signal }: { signal?: AbortSignal }, granted: Granted): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason)
      const queue = this.#queues.get(name) ?? []
      this.#queues.set(name, queue)
      const left = (): void => {
        queue.splice(queue.indexOf(run), 1)
        reject(signal!.reason)
      }
      const run = async (): Promise<void> => {
        signal?.removeEventListener('abort', left)
        await Promise.resolve().then(granted).then(resolve, reject)
        queue.shift()
        queue[0]?.()
      }
      signal?.addEventListener('abort', left)
      if (queue.push(run) === 1) run()
    })
  }

  /** Returns the number of holders and waiting requests. */
  count (name: string): number { return this.#queues.get(name)?.length ?? 0 }
}

const locks = new Locks()
Object.defineProperty(globalThis, 'navigator', { value: { locks }, configurable: true })

const message = (id: string, data = id): Message => ({ event: 'message', data, id })

/** A connection that a test controls. */
class Wire implements SharedSource {
  readonly after: string
  lastEventId: string
  readonly #signal: AbortSignal
  readonly #items: Item[][] = []
  #over = false
  #failure: unknown
  #wake = (): void => {}

  constructor (after: string, signal: AbortSignal) {
    this.after = this.lastEventId = after
    this.#signal = signal
    signal.addEventListener('abort', () => this.#wake())
  }

  /** Yields items together. An id of '' does not move the position. */
  bring (...items: Item[]): void {
    this.#items.push(items)
    this.#wake()
  }

  end (failure?: unknown): void {
    this.#over = true
    this.#failure = failure
    this.#wake()
  }

  async * [Symbol.asyncIterator] (): AsyncGenerator<Item[], void> {
    while (!this.#signal.aborted) {
      const items = this.#items.shift()
      if (items !== undefined) {
        for (const item of items) if (typeof item !== 'string') this.lastEventId = item.id || this.lastEventId
        yield items
      } else if (!this.#over) await new Promise<void>(resolve => { this.#wake = resolve })
      else if (this.#failure === undefined) return
      else throw this.#failure
    }
  }
}

/** The events of a page, which a test dispatches. */
class Page {
  readonly #target = new EventTarget()
  readonly on: NonNullable<Parameters<typeof shared>[5]> = (type, listener) => {
    this.#target.addEventListener(type, listener)
    return () => this.#target.removeEventListener(type, listener)
  }

  hide (): void {
    this.#target.dispatchEvent(new Event('pagehide'))
  }

  show (): void {
    this.#target.dispatchEvent(new Event('pageshow'))
  }

  get listeners (): number {
    return getEventListeners(this.#target, 'pagehide').length + getEventListeners(this.#target, 'pageshow').length
  }
}

interface TabOptions {
  lastEventId?: string
  read?: (message: Message) => Message | undefined
  pulls?: boolean
  page?: Page
}

/** A tab: the events of its stream, and its end. */
class Tab {
  readonly got: string[] = []
  readonly states: StreamState[] = []
  /** The number of items in each batch. */
  readonly sizes: number[] = []
  wire: Wire | undefined
  ended: 'complete' | 'closed' | Error | undefined
  readonly #controller = new AbortController()
  readonly #stream: AsyncGenerator<Item[], void>
  #check = (): void => {}

  constructor (
    t: Test,
    name: string,
    { lastEventId = '', read = message => message, pulls = true, page }: TabOptions = {}
  ) {
    const { signal } = this.#controller
    this.#stream = shared(name, lastEventId, (after, signal) => {
      this.wire = new Wire(after, signal)
      this.#check()
      return this.wire
    }, read, signal, page?.on)
    t.teardown(() => this.close())
    if (pulls) this.pull()
  }

  pull (): void {
    this.#run().then(() => {
      this.ended = this.#controller.signal.aborted ? 'closed' : 'complete'
    }, error => {
      this.ended = error
    }).finally(() => this.#check())
  }

  /** Reads one batch. */
  async next (): Promise<void> { this.#take((await within('something', this.#stream.next())).value ?? []) }

  /** Closes the tab as a stream does when its loop ends. */
  close (): void {
    this.#controller.abort()
    this.#stream.return().catch(() => {})
  }

  until (what: string, holds: () => boolean): Promise<void> {
    return within(what, new Promise(resolve => {
      this.#check = () => { if (holds()) resolve() }
      this.#check()
    }))
  }

  leads (): Promise<void> {
    return this.until('it leads', () => this.wire !== undefined)
  }

  gets (...got: string[]): Promise<void> {
    return this.until(`${got} is there, not ${this.got}`, () => this.got.join() === got.join())
  }

  enters (state: StreamState): Promise<void> {
    return this.until(state, () => this.states.at(-1) === state)
  }

  ends (): Promise<void> {
    return this.until('its end', () => this.ended !== undefined)
  }

  async #run (): Promise<void> {
    for await (const items of this.#stream) {
      this.#take(items)
      if (this.#controller.signal.aborted) break
    }
  }

  #take (items: Item[]): void {
    this.sizes.push(items.length)
    for (const item of items) {
      if (typeof item === 'string') this.states.push(item)
      else this.got.push(item.data)
    }
    this.#check()
  }
}

/** A leading tab that a test controls: it holds the lock and sends the messages of the test. */
class Leader {
  readonly #channel: BroadcastChannel
  readonly heard: unknown[] = []
  #release!: () => void
  #check = (): void => {}

  constructor (t: Test, name: string) {
    this.#channel = new BroadcastChannel(name)
    this.#channel.onmessage = event => {
      this.heard.push((event as MessageEvent).data)
      this.#check()
    }
    locks.request(name, {}, () => new Promise<void>(resolve => { this.#release = resolve }))
    t.teardown(() => {
      this.release()
      this.#channel.close()
    })
  }

  tell (first: number, id: string, ...items: Item[]): void { this.#channel.postMessage({ first, items, id }) }
  release (): void { this.#release() }

  hears (word: string): Promise<void> {
    return within(`it hears '${word}'`, new Promise(resolve => {
      this.#check = () => { if (this.heard.includes(word)) resolve() }
      this.#check()
    }))
  }
}

let names = 0
const fresh = (): string => `sse test ${++names}`

t.test('all tabs receive the events of one connection', async t => {
  const name = fresh()
  const first = new Tab(t, name, { lastEventId: 'a-1' })
  await first.leads()
  t.equal(first.wire!.after, 'a-1')
  const others = [new Tab(t, name), new Tab(t, name)]
  first.wire!.bring('connecting')
  first.wire!.bring('live', message('a-2'), message('a-3'))
  for (const tab of [first, ...others]) await tab.gets('a-2', 'a-3')
  for (const tab of [first, ...others]) t.equal(tab.states.at(-1), 'live')
  t.strictSame(others.map(tab => tab.wire), [undefined, undefined])
  t.equal(locks.count(name), 3)
})

t.test('each tab decodes by its own map, and receives the events before an undecodable one', async t => {
  const name = fresh()
  const fault = new Error('Not for this one')
  const first = new Tab(t, name, { read: message => message.data === 'b' ? undefined : message })
  await first.leads()
  const other = new Tab(t, name, {
    read: message => {
      if (message.data === 'c') throw fault
      return message
    }
  })
  first.wire!.bring('live')
  await other.enters('live')
  first.wire!.bring(message('1', 'a'), message('2', 'b'), message('3', 'c'), message('4', 'd'))
  await first.gets('a', 'c', 'd')
  await other.ends()
  t.equal(other.ended, fault)
  t.strictSame(other.got, ['a', 'b'])
})

t.test('a later tab receives the state, the position and later events', async t => {
  const name = fresh()
  const first = new Tab(t, name)
  await first.leads()
  first.wire!.bring('live', message('a-1'))
  await first.gets('a-1')
  const late = new Tab(t, name)
  await late.enters('live')
  first.wire!.bring(message('a-2'))
  await late.gets('a-2')
  first.close()
  await late.leads()
  t.equal(late.wire!.after, 'a-2')
})

t.test('a tab that received only the position leads from there', async t => {
  const name = fresh()
  const first = new Tab(t, name)
  await first.leads()
  first.wire!.bring('live', message('a-1'))
  await first.gets('a-1')
  const late = new Tab(t, name)
  await late.enters('live')
  first.close()
  await late.leads()
  t.equal(late.wire!.after, 'a-1')
  late.wire!.bring(message('a-2'))
  await late.gets('a-2')
})

t.test('the next leader resumes after the last event, with no gaps and no duplicates', async t => {
  const name = fresh()
  const tabs = [new Tab(t, name), new Tab(t, name), new Tab(t, name)] as const
  await tabs[0].leads()
  tabs[0].wire!.bring('live')
  for (const tab of tabs) await tab.enters('live')
  tabs[0].wire!.bring(message('a-1'))
  // It is sent before any tab has received it.
  tabs[0].wire!.bring(message('a-2'))
  await tabs[0].gets('a-1', 'a-2')
  tabs[0].close()
  await tabs[1].leads()
  t.equal(tabs[1].wire!.after, 'a-2')
  tabs[1].wire!.bring('connecting')
  await tabs[2].enters('connecting')
  tabs[1].wire!.bring('live', message('a-3'))
  for (const tab of [tabs[1], tabs[2]]) await tab.gets('a-1', 'a-2', 'a-3')
  t.equal(locks.count(name), 2)
  t.strictSame(tabs[0].got, ['a-1', 'a-2'])
})

t.test('a tab that is behind catches up before it leads', async t => {
  const name = fresh()
  const leader = new Leader(t, name)
  const tab = new Tab(t, name)
  await leader.hears('position')
  leader.tell(1, 'a-1', message('a-1'))
  await tab.gets('a-1')
  // The lock is granted before the messages of the channel arrive.
  leader.tell(2, 'a-2', message('a-2'))
  leader.release()
  await tab.leads()
  t.equal(tab.wire!.after, 'a-2')
  await tab.gets('a-1', 'a-2')
})

t.test('late events of the last leader are known when the next connection repeats them', async t => {
  const name = fresh()
  const leader = new Leader(t, name)
  const [tab, other] = [new Tab(t, name), new Tab(t, name)]
  await leader.hears('position')
  leader.tell(1, 'a-1', message('a-1'))
  await other.gets('a-1')
  leader.release()
  await tab.leads()
  t.equal(tab.wire!.after, 'a-1')
  leader.tell(2, 'a-2', message('a-2'))
  leader.tell(3, 'a-2', message('a-2', 'no id of its own'))
  tab.wire!.bring(message('a-2'))
  tab.wire!.bring(message('a-2', 'no id of its own'), message('a-3'))
  leader.tell(2, 'a-2', message('a-2'), message('a-2', 'no id of its own'))
  tab.wire!.bring(message('a-4'))
  for (const each of [tab, other]) await each.gets('a-1', 'a-2', 'no id of its own', 'a-3', 'a-4')
  leader.tell(2, 'a-2', message('a-2'))
  tab.close()
  await other.leads()
  t.equal(other.wire!.after, 'a-4', 'an old event does not move the position')
})

t.test('a tab that opened in between does not receive earlier events', async t => {
  const name = fresh()
  const leader = new Leader(t, name)
  const late = new Tab(t, name)
  await leader.hears('position')
  leader.tell(8, 'a-7', 'live')
  leader.tell(8, 'a-8', message('a-8'))
  // The next leader was behind.
  leader.tell(6, 'a-6', message('a-6'))
  leader.tell(7, 'a-9', message('a-7'), message('a-8'), message('a-9'))
  await late.gets('a-8', 'a-9')
})

t.test('other events at the same numbers, of a server that cannot resume, are received', async t => {
  const name = fresh()
  const leader = new Leader(t, name)
  const tab = new Tab(t, name)
  await leader.hears('position')
  leader.tell(1, 'a-3', message('a-1'), message('a-2'), message('a-3'))
  leader.tell(2, 'b-1', message('b-1'))
  leader.tell(3, 'b-2', message('b-2'))
  await tab.gets('a-1', 'a-2', 'a-3', 'b-1', 'b-2')
  leader.release()
  await tab.leads()
  t.equal(tab.wire!.after, 'b-2')
})

t.test('events without ids are never duplicates', async t => {
  const name = fresh()
  const leader = new Leader(t, name)
  const tab = new Tab(t, name)
  await leader.hears('position')
  leader.tell(1, '', message('', '1'), message('', '2'))
  leader.tell(2, '', message('', '3'))
  await tab.gets('1', '2', '3')
})

t.test('a tab remembers a limited number of ids', async t => {
  const name = fresh()
  const leader = new Leader(t, name)
  const tab = new Tab(t, name)
  await leader.hears('position')
  const all = Array.from({ length: 3_000 }, (_, n) => message(`a-${n + 1}`))
  leader.tell(1, 'a-3000', ...all)
  await tab.until('all', () => tab.got.length === all.length)
  // Old ids are forgotten, so a different one is not detected; recent ones are remembered.
  leader.tell(1, 'b-1', message('b-1'))
  leader.tell(1_976, 'b-2', message('b-2'))
  leader.tell(1_977, 'b-3', message('b-3'))
  await tab.until('one more', () => tab.got.length > all.length)
  t.strictSame(tab.got.slice(all.length), ['b-3'])
})

t.test('a tab without a position lets the waiting tabs lead first', async t => {
  const name = fresh()
  const leader = new Leader(t, name)
  // Two tabs open at once: only one of them receives the leader's last message, and the other is first in the queue.
  const { request } = locks
  const queued = new Promise<void>(resolve => {
    locks.request = (...args) => {
      locks.request = request
      const waits = ready.then(() => request.apply(locks, args))
      ready.then(resolve)
      return waits
    }
  })
  let enter!: () => void
  const ready = new Promise<void>(resolve => { enter = resolve })
  const knows = new Tab(t, name)
  await leader.hears('position')
  leader.tell(8, 'a-7', 'live')
  await knows.enters('live')
  const ignorant = new Tab(t, name)
  enter()
  await queued
  leader.release()
  await knows.leads()
  t.equal(knows.wire!.after, 'a-7')
  knows.wire!.bring(message('a-8'))
  await ignorant.gets('a-8')
  t.equal(ignorant.wire, undefined)
})

t.test('when all tabs are closed, the next one begins with its own id and new numbers', async t => {
  const name = fresh()
  const before = Date.now() * 1_000
  const first = new Tab(t, name, { lastEventId: 'a-1' })
  await first.leads()
  first.close()
  await within('nobody', (async () => { while (locks.count(name) > 0) await new Promise(setImmediate) })())
  const second = new Tab(t, name, { lastEventId: 'a-0' })
  await second.leads()
  t.equal(second.wire!.after, 'a-0')
  const listener = new BroadcastChannel(name)
  t.teardown(() => listener.close())
  const told = new Promise<{ first: number }>(resolve => {
    listener.onmessage = event => resolve((event as MessageEvent).data)
  })
  second.wire!.bring('live')
  t.ok((await within('its number', told)).first > before)
})

t.test('the end of the stream ends it for all tabs, and no other request is sent', async t => {
  const name = fresh()
  const tabs = [new Tab(t, name), new Tab(t, name), new Tab(t, name)] as const
  await tabs[0].leads()
  tabs[0].wire!.bring('live', message('a-1'))
  tabs[0].wire!.bring(message('a-2'))
  tabs[0].wire!.end()
  for (const tab of tabs) await tab.ends()
  t.strictSame(tabs.map(({ got, ended }) => [got.join(), ended]), Array(3).fill(['a-1,a-2', 'complete']))
  t.strictSame(tabs.slice(1).map(({ wire }) => wire), [undefined, undefined])
})

t.test('a tab with unread events at the end reads them, and does not lead', async t => {
  const name = fresh()
  const first = new Tab(t, name)
  await first.leads()
  const slow = new Tab(t, name, { pulls: false })
  const started = slow.next()
  await within('it waits for the lock', (async () => {
    while (locks.count(name) < 2) await new Promise(setImmediate)
  })())
  first.wire!.bring('live')
  await started
  first.wire!.bring(message('a-1'))
  first.wire!.bring(message('a-2'))
  first.wire!.end()
  await first.ends()
  await within('the lock is free', (async () => { while (locks.count(name) > 0) await new Promise(setImmediate) })())
  slow.pull()
  await slow.ends()
  t.equal(slow.ended, 'complete')
  t.strictSame(slow.got, ['a-1', 'a-2'])
  t.equal(slow.wire, undefined)
})

t.test('a failure ends the leader only, and the other tabs retry', async t => {
  const name = fresh()
  const tabs = [new Tab(t, name), new Tab(t, name), new Tab(t, name)] as const
  await tabs[0].leads()
  tabs[0].wire!.bring(message('a-1'))
  const refused = new Error('401')
  tabs[0].wire!.end(refused)
  await tabs[0].ends()
  t.equal(tabs[0].ended, refused)
  await tabs[1].leads()
  t.equal(tabs[1].wire!.after, 'a-1')
  tabs[1].wire!.end(refused)
  await tabs[1].ends()
  await tabs[2].leads()
  tabs[2].wire!.bring(message('a-2'))
  await tabs[2].gets('a-1', 'a-2')
})

t.test('a tab that closes while it waits leaves the queue, and a tab that closes before never enters it', async t => {
  const name = fresh()
  const tabs = [new Tab(t, name), new Tab(t, name), new Tab(t, name)] as const
  await tabs[0].leads()
  tabs[0].wire!.bring('live')
  await tabs[1].enters('live')
  tabs[1].close()
  await tabs[1].ends()
  t.equal(tabs[1].ended, 'closed')
  t.equal(locks.count(name), 2)
  const controller = new AbortController()
  controller.abort()
  t.strictSame(
    await within('its end', shared(name, '', () => t.fail() as never, message => message, controller.signal).next()),
    { value: undefined, done: true }
  )
  t.equal(locks.count(name), 2)
  tabs[0].close()
  await tabs[2].leads()
})

t.test('a tab that closes while it catches up releases the lock', async t => {
  const name = fresh()
  const leader = new Leader(t, name)
  const [tab, other] = [new Tab(t, name), new Tab(t, name)]
  leader.tell(1, 'a-1', 'live', message('a-1'))
  await other.gets('a-1')
  leader.release()
  await within('it catches up', (async () => {
    while (!leader.heard.some(word => typeof word === 'number')) await new Promise(setImmediate)
  })())
  tab.close()
  await other.leads()
  t.equal(other.wire!.after, 'a-1')
})

t.test('a tab that closes with unread events releases the lock', async t => {
  const name = fresh()
  const leader = new Leader(t, name)
  const slow = new Tab(t, name, { pulls: false })
  const started = slow.next()
  const other = new Tab(t, name)
  leader.tell(1, 'a-1', 'live', message('a-1'))
  await Promise.all([started, other.gets('a-1')])
  // Its message to itself arrives late.
  const { BroadcastChannel } = globalThis
  t.teardown(() => { globalThis.BroadcastChannel = BroadcastChannel })
  await within('it catches up', new Promise<void>(resolve => {
    globalThis.BroadcastChannel = class extends BroadcastChannel {
      override postMessage (): void {
        globalThis.BroadcastChannel = BroadcastChannel
        resolve()
      }
    }
    leader.release()
  }))
  slow.close()
  await other.leads()
  t.equal(slow.wire, undefined)
})

t.test('a slow tab stops neither the connection nor the other tabs', async t => {
  const name = fresh()
  const first = new Tab(t, name, { pulls: false })
  const started = first.next()
  await first.leads()
  const other = new Tab(t, name)
  first.wire!.bring('connecting')
  await started
  for (let n = 1; n <= 5; n++) first.wire!.bring(message(`a-${n}`))
  await other.gets('a-1', 'a-2', 'a-3', 'a-4', 'a-5')
  t.strictSame(first.got, [])
  await first.next()
  await first.gets('a-1', 'a-2', 'a-3', 'a-4', 'a-5')
  t.equal(first.sizes.at(-1), 5, 'all at once')
})

t.test('a closed tab yields no later events of the connection', async t => {
  const name = fresh()
  const first = new Tab(t, name, { pulls: false })
  const started = first.next()
  await first.leads()
  const other = new Tab(t, name)
  first.wire!.bring('live')
  await started
  await other.enters('live')
  first.wire!.bring(message('a-1'))
  first.close()
  await other.leads()
  other.wire!.bring(message('a-1'))
  await other.gets('a-1')
})

t.test('tabs with different names share nothing', async t => {
  const tabs = [new Tab(t, fresh()), new Tab(t, fresh())] as const
  for (const tab of tabs) await tab.leads()
  tabs[0].wire!.bring(message('a-1'))
  tabs[1].wire!.bring(message('b-1'))
  await tabs[0].gets('a-1')
  await tabs[1].gets('b-1')
})

t.test('without access to locks or channels, each tab has its own connection', async t => {
  const name = fresh()
  const refused = new Error('SecurityError')
  const { BroadcastChannel } = globalThis
  const { request } = locks
  t.teardown(() => {
    globalThis.BroadcastChannel = BroadcastChannel
    locks.request = request
  })
  const listener = new BroadcastChannel(name)
  t.teardown(() => listener.close())
  const told: unknown[] = []
  locks.request = () => Promise.reject(refused)
  const locked = [new Tab(t, name), new Tab(t, name, { lastEventId: 'a-1' })] as const
  for (const tab of locked) await tab.leads()
  globalThis.BroadcastChannel = class { constructor () { throw refused } } as unknown as typeof BroadcastChannel
  const mute = new Tab(t, name)
  listener.onmessage = event => told.push((event as MessageEvent).data)
  await mute.leads()
  const tabs = [...locked, mute]
  t.strictSame(tabs.map(({ wire }) => wire!.after), ['', 'a-1', ''])
  tabs.forEach((tab, n) => tab.wire!.bring(message(`a-${n}`)))
  for (const [n, tab] of tabs.entries()) await tab.gets(`a-${n}`)
  const last = new BroadcastChannel(name)
  last.postMessage('last')
  await within('all that was told', (async () => { while (!told.includes('last')) await new Promise(setImmediate) })())
  last.close()
  t.strictSame(told, ['position', 'position', 'last'], 'they tell each other nothing')
  const failure = new Error('503')
  mute.wire!.end(failure)
  await mute.ends()
  t.equal(mute.ended, failure)
})

t.test('tabs share by their name or by the URL, and a path is no URL', async t => {
  t.equal(nameOf('orders', '/events'), 'sse orders')
  t.equal(nameOf(true, 'http://there/events'), 'sse http://there/events')
  t.throws(() => nameOf(true, 'events'), TypeError)
  Object.defineProperty(globalThis, 'location', { value: new URL('http://there/a/page'), configurable: true })
  t.teardown(() => Reflect.deleteProperty(globalThis, 'location'))
  t.equal(nameOf(true, 'events'), 'sse http://there/a/events')
})

t.test('a page that enters the back/forward cache releases the lock at once and requests the missed events when it returns, without duplicates in other tabs', async t => {
  const name = fresh()
  const page = new Page()
  const first = new Tab(t, name, { page })
  await first.leads()
  const other = new Tab(t, name, { page: new Page() })
  first.wire!.bring('live', message('a-1'))
  await other.gets('a-1')
  const before = first.wire
  page.hide()
  await other.leads()
  t.equal(other.wire!.after, 'a-1')
  t.equal(first.states.at(-1), 'connecting')
  other.wire!.bring('live', message('a-2'), message('a-3'))
  await other.gets('a-1', 'a-2', 'a-3')
  const cut = other.wire!
  page.show()
  await other.until('another connection', () => other.wire !== cut)
  t.equal(other.wire!.after, 'a-1')
  other.wire!.bring('live', message('a-2'), message('a-3'), message('a-4'))
  for (const tab of [first, other]) await tab.gets('a-1', 'a-2', 'a-3', 'a-4')
  t.equal(first.wire, before, 'it has no connection of its own')
  t.equal(locks.count(name), 2)
  // It missed no event, so the connection is not opened again.
  const kept = other.wire
  page.hide()
  page.show()
  await first.until('it is live again', () => first.states.slice(-2).join() === 'connecting,live')
  t.equal(other.wire, kept)
  first.close()
  await first.ends()
  t.equal(page.listeners, 0)
})

t.test('a page that returns alone leads after its last event', async t => {
  const name = fresh()
  const page = new Page()
  const tab = new Tab(t, name, { page })
  await tab.leads()
  tab.wire!.bring('live', message('a-1'))
  await tab.gets('a-1')
  const before = tab.wire
  page.hide()
  page.hide()
  await tab.enters('connecting')
  page.show()
  page.show()
  await tab.until('another connection', () => tab.wire !== before)
  t.equal(tab.wire!.after, 'a-1')
  tab.wire!.bring('live', message('a-2'))
  await tab.gets('a-1', 'a-2')
  tab.wire!.end()
  await tab.ends()
  t.equal(tab.ended, 'complete')
  page.hide()
  page.show()
  t.equal(page.listeners, 0)
})

t.test('a page that returns requests by itself the events that the other tabs no longer know', async t => {
  const name = fresh()
  const page = new Page()
  const tab = new Tab(t, name, { page })
  await tab.leads()
  tab.wire!.bring('live', message('a-1'))
  await tab.gets('a-1')
  const before = tab.wire
  page.hide()
  await tab.enters('connecting')
  // This tab does not know the first one: it counts from another number.
  const other = new Tab(t, name, { page: new Page() })
  await other.leads()
  other.wire!.bring('live', message('a-7'))
  await other.gets('a-7')
  page.show()
  await tab.until('a connection of its own', () => tab.wire !== before)
  t.equal(tab.wire!.after, 'a-1')
  tab.wire!.bring('live', message('a-2'))
  await tab.gets('a-1', 'a-2')
  t.strictSame(other.got, ['a-7'])
  t.equal(locks.count(name), 1)
})

t.test('a connection without reconnect is not opened again for a page that returns', async t => {
  const name = fresh()
  const leader = new Tab(t, name)
  await leader.leads()
  const page = new Page()
  const tab = new Tab(t, name, { page })
  leader.wire!.bring('live', message('a-1'))
  await tab.gets('a-1')
  page.hide()
  await tab.enters('connecting')
  leader.wire!.bring(message('a-2'))
  await leader.gets('a-1', 'a-2')
  const kept = leader.wire
  page.show()
  await tab.leads()
  t.equal(tab.wire!.after, 'a-1')
  t.equal(leader.wire, kept)
})

t.test('a page that closes in the cache ends, and a tab with an aborted signal never begins', async t => {
  const name = fresh()
  const page = new Page()
  const tab = new Tab(t, name, { page })
  await tab.leads()
  page.hide()
  tab.close()
  await tab.ends()
  t.equal(tab.ended, 'closed')
  page.show()
  t.equal(locks.count(name), 0)
  t.equal(page.listeners, 0)
})

t.test('without ids a tab requests nothing, and ignores a response for another tab', async t => {
  const name = fresh()
  const leader = new Leader(t, name)
  const tab = new Tab(t, name, { page: new Page() })
  await leader.hears('position')
  leader.tell(1, '', message('', 'a'))
  const channel = new BroadcastChannel(name)
  t.teardown(() => channel.close())
  channel.postMessage({ unknown: 99 })
  leader.tell(9, '', message('', 'b'))
  await tab.gets('a', 'b')
})

t.test('a tab that missed events requests the events after its last one', async t => {
  const name = fresh()
  const leader = new Leader(t, name)
  const tab = new Tab(t, name, { page: new Page() })
  await leader.hears('position')
  leader.tell(1, 'a-1', message('a-1'))
  await tab.gets('a-1')
  leader.tell(9, 'a-9', message('a-9'))
  await within('the question', (async () => {
    while (!leader.heard.some(told => typeof told === 'object')) await new Promise(setImmediate)
  })())
  t.strictSame(leader.heard.filter(told => typeof told === 'object'), [{ after: 1, id: 'a-1' }])
  t.strictSame(tab.got, ['a-1'])
})

t.test('a leader sends its position to a page that is ahead, and rejects a page of another count', async t => {
  const name = fresh()
  const leader = new Tab(t, name, { page: new Page() })
  await leader.leads()
  leader.wire!.bring('live', message('a-1'))
  await leader.gets('a-1')
  const channel = new BroadcastChannel(name)
  t.teardown(() => channel.close())
  const heard: Array<{ first?: number, unknown?: number }> = []
  channel.onmessage = event => {
    heard.push((event as MessageEvent<{ first?: number }>).data)
  }
  const answer = async (count: number): Promise<void> =>
    within('the answer', (async () => {
      while (heard.length < count) await new Promise(setImmediate)
    })())
  channel.postMessage({ after: Number.MAX_SAFE_INTEGER, id: 'z-1' })
  await answer(1)
  const number = heard[0]!.first! - 1
  channel.postMessage({ after: number, id: 'b-1' })
  await answer(2)
  t.strictSame(heard[1], { unknown: number })
})

t.test('events of a closed connection are dropped', async t => {
  const name = fresh()
  const page = new Page()
  const controller = new AbortController()
  let release = (): void => {}
  const sources: Array<() => AsyncGenerator<Item[], void>> = [
    async function * () {
      yield [message('a-1')]
      await new Promise<void>(resolve => { release = resolve })
      yield [message('late')]
    },
    async function * () { yield [message('a-2')] }
  ]
  const stream = shared(name, '', () => ({ lastEventId: 'a-1', [Symbol.asyncIterator]: sources.shift()! }),
    read => read, controller.signal, page.on)
  t.strictSame((await within('the first', stream.next())).value, [message('a-1')])
  page.hide()
  release()
  t.strictSame((await within('its leaving', stream.next())).value, ['connecting'])
  page.show()
  t.strictSame((await within('the second', stream.next())).value, [message('a-2')])
  await stream.return()
})
