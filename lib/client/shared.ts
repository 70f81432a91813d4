import type { onPageEvent } from './page-event.ts'
import type { Message, StreamState } from './stream-reader.ts'

type Item = Message | StreamState

/**
 * A batch of the connection, which the leading tab sends to the others: the number of its first event, and the position
 * after it.
 */
interface Batch { readonly first: number, readonly items: readonly Item[], readonly id: string }

/**
 * A request of a tab that missed events, such as a page from the back/forward cache: the number and the id of its last
 * event.
 */
interface ResumeRequest { readonly after: number, readonly id: string }

/** The response if the other tabs no longer know the event of that number: the tab must open its own connection. */
interface Unknown { readonly unknown: number }

/**
 * `position` asks the leading tab for its position, `end` ends the stream, and a tab sends its own number to itself.
 */
type SharedMessage = Batch | ResumeRequest | Unknown | 'position' | 'end' | number

/** A connection that resumes after an id. */
export interface SharedSource extends AsyncIterable<readonly Item[]> { readonly lastEventId: string }

// The number of events whose ids a tab remembers: one tab may be ahead of another by this number.
const REMEMBERED = 1_024

/** Returns the name under which tabs share a stream: their own name, or the URL. */
export function nameOf (share: true | string, url: unknown): string {
  // A path is another stream on another page.
  return `sse ${share === true ? new URL(String(url), globalThis.location?.href).href : share}`
}

/**
 * Shares one connection between all tabs of an origin that use the same name. The tab with the lock leads: it owns the
 * connection and sends each batch to the others. When it is gone, the next tab leads and connects after the last event
 * that it received. All tabs number the events alike, so a tab drops an event that arrives twice. The connection waits
 * for no tab: each tab buffers its unread events.
 *
 * A page in the back/forward cache runs no code: it leaves the other tabs when it enters, and requests the missed
 * events when it returns. Without `onPage` the connection must not be made again, and the page keeps it in the cache.
 */
export async function * shared<E> (
  name: string,
  lastEventId: string,
  open: (lastEventId: string, signal: AbortSignal) => SharedSource,
  decode: (message: Message) => E | undefined,
  signal: AbortSignal,
  onPage?: typeof onPageEvent
): AsyncGenerator<Array<E | StreamState>, void> {
  const self = Math.random()
  let channel: BroadcastChannel | undefined
  /** The number of the last event, undefined until one is known, and the ids of the last events by number. */
  let last: number | undefined
  const ids = new Map<number, string>()
  let position = lastEventId
  let state: StreamState = 'connecting'
  let leads = false
  /** The number of the next event of the connection, and the event after which another connection must resume. */
  let next = 0
  let resumeAfter: ResumeRequest | undefined
  let over = false
  let failure: unknown
  let pending: Item[] = []
  let wake = (): void => {}
  let caughtUp = (): void => {}
  /** The membership of this tab: it lasts until the signal aborts. */
  let membership: AbortController | undefined
  let closeConnection = (): void => {}
  let cancelLock = (): void => {}

  const send = (message: SharedMessage): void => channel?.postMessage(message)
  const closeChannel = (): void => {
    channel?.close()
    channel = undefined
    caughtUp()
  }

  const apply = ({ first, items, id }: Batch): void => {
    // Requests the events that this tab missed. Without an id it cannot.
    if (last !== undefined && first > last + 1 && position !== '') return send({ after: last, id: position })
    let number = first
    for (const item of items) {
      if (typeof item === 'string') pending.push(state = item)
      else if (isNew(number++, item.id)) pending.push(item)
    }
    last ??= number - 1
    if (last < number) position = id
    wake()
  }
  /**
   * Returns whether an event is new, and remembers it. An earlier number with another id is another event: the server
   * could not resume there. An earlier number without a known id is older than this tab.
   */
  const isNew = (number: number, id: string): boolean => {
    if (last !== undefined && number <= last && id !== '' && (ids.get(number) ?? id) === id) return false
    last = number
    ids.set(number, id)
    ids.delete(number - REMEMBERED)
    return true
  }

  const onMessage = ({ data }: MessageEvent<SharedMessage>): void => {
    if (data === self) caughtUp()
    else if (data === 'end') {
      over = true
      wake()
    } else if (data === 'position') {
      if (leads) sendPosition()
    } else if (typeof data === 'object') {
      if ('items' in data) apply(data)
      else if ('unknown' in data) {
        if (data.unknown === last) cancelLock()
      } else if (leads) resume(data)
    }
  }

  const sendPosition = (): void => send({ first: last! + 1, items: [state], id: position })

  /** Connects again after an event that all tabs know by its number: the others skip the events that they have. */
  const resume = (request: ResumeRequest): void => {
    const { after, id } = request
    // Another event of that number belongs to another count.
    if (next <= after + 1 && (ids.get(after) ?? id) === id) return sendPosition()
    if (onPage === undefined || ids.get(after) !== id) return send({ unknown: after })
    resumeAfter = request
    next = after + 1
    closeConnection()
  }

  /**
   * Waits until a message of this tab to itself arrives: earlier messages of the other tabs are in the same queue, so a
   * tab that was busy or asleep has then received them.
   */
  const catchUp = (): Promise<void> => new Promise(resolve => {
    caughtUp = resolve
    const other = new BroadcastChannel(name)
    other.postMessage(self satisfies SharedMessage)
    other.close()
  })

  const lead = async (left: AbortSignal): Promise<void> => {
    leads = true
    // A new count begins at a number that no tab has used.
    last ??= Date.now() * 1_000
    resumeAfter = { after: last, id: position }
    while (resumeAfter !== undefined && !left.aborted) {
      const connection = new AbortController()
      closeConnection = () => connection.abort()
      const source = open(resumeAfter.id, connection.signal)
      next = resumeAfter.after + 1
      resumeAfter = undefined
      for await (const items of source) {
        if (connection.signal.aborted) break
        const batch: Batch = { first: next, items, id: source.lastEventId }
        next += items.filter(item => typeof item !== 'string').length
        send(batch)
        apply(batch)
      }
    }
    if (left.aborted || channel === undefined) return
    send('end')
    // Releases the lock after the message is on its way: else the next tab could connect once more.
    await catchUp()
  }

  const join = async (left: AbortSignal): Promise<void> => {
    const waiting = new AbortController()
    cancelLock = () => waiting.abort()
    const whenLeft = new Promise<boolean>(resolve => {
      left.addEventListener('abort', () => resolve(true))
    })
    const request = (isFirst: boolean): Promise<boolean> =>
      navigator.locks.request(name, { signal: waiting.signal }, () =>
        Promise.race([whenLeft, (async () => {
          await catchUp()
          // A tab without a position lets the waiting tabs go first: one of them may have the position of the last
          // leader.
          if (isFirst && last === undefined) return false
          if (!over && !left.aborted) await lead(left)
          return true
        })()]))
    try {
      channel = new BroadcastChannel(name)
      channel.onmessage = onMessage
      send(last === undefined || position === '' ? 'position' : { after: last, id: position })
      if (!await request(true)) await request(false)
    } catch (error) {
      if (leads || left.aborted) throw error
      // A page without access to storage has no locks and channels either (SecurityError). It opens its own connection,
      // as does a page that missed events that the others no longer know.
      closeChannel()
      await lead(left)
    }
  }

  const enter = (): void => {
    const own = membership = new AbortController()
    leads = false
    const finish = (error?: unknown): void => {
      if (own !== membership) return
      failure = error
      over = true
      wake()
    }
    join(own.signal).then(() => finish(), finish)
  }
  /** Releases the lock at once: later code would run after the page is frozen. */
  const exit = (): void => {
    membership?.abort()
    membership = undefined
    cancelLock()
    closeConnection()
    closeChannel()
  }
  const hide = (): void => {
    if (over || membership === undefined) return
    exit()
    pending.push(state = 'connecting')
    wake()
  }
  const show = (): void => { if (!over && membership === undefined) enter() }
  const close = (): void => {
    over = true
    exit()
    wake()
  }

  signal.addEventListener('abort', close)
  const removers = [onPage?.('pagehide', hide), onPage?.('pageshow', show)]
  if (signal.aborted) over = true
  else enter()
  try {
    for (;;) {
      const items = pending
      pending = []
      if (items.length > 0) {
        const events: Array<E | StreamState> = []
        try {
          for (const item of items) {
            const event = typeof item === 'string' ? item : decode(item)
            if (event !== undefined) events.push(event)
          }
        } finally {
          // The events before an undecodable one are valid.
          yield events
        }
      } else if (over) break
      else await new Promise<void>(resolve => { wake = resolve })
    }
    if (failure !== undefined && !signal.aborted) throw failure
  } finally {
    close()
    signal.removeEventListener('abort', close)
    for (const remove of removers) remove?.()
  }
}
