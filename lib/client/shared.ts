import type { onPageEvent } from './page-event.ts'
import type { Message, StreamState } from './stream-reader.ts'

type Item = Message | StreamState

/** What the tab that has the connection tells the others: what came, the number of its first event, and the position after it. */
interface Batch { readonly first: number, readonly items: readonly Item[], readonly id: string }

/** A tab returned from the back/forward cache: the number and the id of its last event. */
interface Return { readonly back: number, readonly id: string }

/** The events after that number are no longer known: the tab has to ask for them by itself. */
interface Refusal { readonly refused: number }

/** `where` asks the one that leads, after `end` there is no more, and a number is for the tab itself whose number it is. */
type SharedMessage = Batch | Return | Refusal | 'where' | 'end' | number

/** A connection, which begins after an id. */
export interface SharedSource extends AsyncIterable<readonly Item[]> { readonly lastEventId: string }

// How many events back a tab knows what it had: by how much one may be ahead of another.
const KNOWN = 1_024

/** What tabs have in common that share a stream: the name that they give it, or its address. */
export function nameOf (share: true | string, url: unknown): string {
  // A path means another stream on another page.
  return `sse ${share === true ? new URL(String(url), globalThis.location?.href).href : share}`
}

/**
 * One connection for all tabs of an origin that ask for the same name. The tab with the lock leads: it owns the
 * connection and sends each batch to the others. When it is gone, the next tab leads and connects after the last event
 * that it received. All tabs number the events alike, so a tab drops an event that arrives twice. The connection waits
 * for no tab: each tab buffers its unread events.
 *
 * A page in the back/forward cache runs no code: it leaves the other tabs when it enters, and asks for the missed
 * events when it returns. Without `onPage` the connection must not be made again, and the page keeps it in the cache.
 */
export async function * shared<E> (
  name: string, lastEventId: string, open: (lastEventId: string, signal: AbortSignal) => SharedSource, read: (message: Message) => E | undefined, signal: AbortSignal,
  onPage?: typeof onPageEvent
): AsyncGenerator<Array<E | StreamState>, void> {
  const self = Math.random()
  let channel: BroadcastChannel | undefined
  /** The number of the last event, once one is known, and the ids of those before. */
  let last: number | undefined
  const ids = new Map<number, string>()
  let position = lastEventId
  let state: StreamState = 'connecting'
  let leads = false
  /** The number of the next event of the connection, and the position where another one has to begin instead. */
  let next = 0
  let rewound: Return | undefined
  let over = false
  let failure: unknown
  let came: Item[] = []
  let wake = (): void => {}
  let heard = (): void => {}
  /** This tab takes part until the signal aborts. */
  let part: AbortController | undefined
  /** Ends the connection, and the wait for the lock. */
  let cut = (): void => {}
  let stand = (): void => {}

  const tell = (told: SharedMessage): void => channel?.postMessage(told)
  const leave = (): void => {
    channel?.close()
    channel = undefined
    heard()
  }

  const apply = ({ first, items, id }: Batch): void => {
    // Asks for the events that this tab missed. Without an id it cannot ask.
    if (last !== undefined && first > last + 1 && position !== '') return tell({ back: last, id: position })
    let number = first
    for (const item of items) {
      if (typeof item === 'string') came.push(state = item)
      else if (isNew(number++, item.id)) came.push(item)
    }
    last ??= number - 1
    if (last < number) position = id
    wake()
  }
  /** An earlier number with another id is another event, of a server that could not go on there; one that is not known is of a time before this tab. */
  const isNew = (number: number, id: string): boolean => {
    if (last !== undefined && number <= last && id !== '' && (ids.get(number) ?? id) === id) return false
    last = number
    ids.set(number, id)
    ids.delete(number - KNOWN)
    return true
  }

  const hear = ({ data }: MessageEvent<SharedMessage>): void => {
    if (data === self) heard()
    else if (data === 'end') {
      over = true
      wake()
    } else if (data === 'where') {
      if (leads) tellWhere()
    } else if (typeof data === 'object') {
      if ('items' in data) apply(data)
      else if ('refused' in data) {
        if (data.refused === last) stand()
      } else if (leads) rewind(data)
    }
  }

  const tellWhere = (): void => tell({ first: last! + 1, items: [state], id: position })

  /** Connects again after an event that all tabs know by its number: the others skip the events that they have. */
  const rewind = (told: Return): void => {
    // Another event of that number belongs to another count.
    if (next <= told.back + 1 && (ids.get(told.back) ?? told.id) === told.id) return tellWhere()
    if (onPage === undefined || ids.get(told.back) !== told.id) return tell({ refused: told.back })
    rewound = told
    next = told.back + 1
    cut()
  }

  /** What the others told before is in the same queue: when this comes back, a tab that was busy or asleep is not behind any more. */
  const catchUp = (): Promise<void> => new Promise(resolve => {
    heard = resolve
    const other = new BroadcastChannel(name)
    other.postMessage(self satisfies SharedMessage)
    other.close()
  })

  const lead = async (mine: AbortController): Promise<void> => {
    leads = true
    // Who begins anew counts from a number that nobody has had.
    last ??= Date.now() * 1_000
    rewound = { back: last, id: position }
    while (rewound !== undefined && !mine.signal.aborted) {
      const connection = new AbortController()
      cut = () => connection.abort()
      const source = open(rewound.id, connection.signal)
      next = rewound.back + 1
      rewound = undefined
      for await (const items of source) {
        if (connection.signal.aborted) break
        const batch: Batch = { first: next, items, id: source.lastEventId }
        next += items.filter(item => typeof item !== 'string').length
        tell(batch)
        apply(batch)
      }
    }
    if (!mine.signal.aborted) tell('end')
  }

  const takePart = async (mine: AbortController): Promise<void> => {
    const waiting = new AbortController()
    stand = () => waiting.abort()
    const left = new Promise<boolean>(resolve => { mine.signal.addEventListener('abort', () => resolve(true)) })
    const turn = (isFirst: boolean): Promise<boolean> => navigator.locks.request(name, { signal: waiting.signal }, () => Promise.race([left, (async () => {
      await catchUp()
      // Who knows nothing lets those go first who wait: one may know where the last one stopped.
      if (isFirst && last === undefined) return false
      if (!over && !mine.signal.aborted) await lead(mine)
      return true
    })()]))
    try {
      channel = new BroadcastChannel(name)
      channel.onmessage = hear
      tell(last === undefined || position === '' ? 'where' : { back: last, id: position })
      if (!await turn(true)) await turn(false)
    } catch (error) {
      if (leads || mine.signal.aborted) throw error
      // A page without access to storage has no locks and channels either (SecurityError). It opens a connection of
      // its own, as does a page that missed events that the others no longer know.
      leave()
      await lead(mine)
    }
  }

  const enter = (): void => {
    const mine = part = new AbortController()
    leads = false
    const finish = (error?: unknown): void => {
      if (mine !== part) return
      failure = error
      over = true
      wake()
    }
    takePart(mine).then(() => finish(), finish)
  }
  /** Releases the lock at once: later code would run after the page is frozen. */
  const exit = (): void => {
    part?.abort()
    part = undefined
    stand()
    cut()
    leave()
  }
  const hide = (): void => {
    if (over || part === undefined) return
    exit()
    came.push(state = 'connecting')
    wake()
  }
  const show = (): void => { if (!over && part === undefined) enter() }
  const close = (): void => {
    over = true
    exit()
    wake()
  }

  signal.addEventListener('abort', close)
  const forget = [onPage?.('pagehide', hide), onPage?.('pageshow', show)]
  if (signal.aborted) over = true
  else enter()
  try {
    for (;;) {
      const items = came
      came = []
      if (items.length > 0) {
        const events: Array<E | StreamState> = []
        try {
          for (const item of items) {
            const event = typeof item === 'string' ? item : read(item)
            if (event !== undefined) events.push(event)
          }
        } finally {
          // What came before one that cannot be read is good.
          yield events
        }
      } else if (over) break
      else await new Promise<void>(resolve => { wake = resolve })
    }
    if (failure !== undefined && !signal.aborted) throw failure
  } finally {
    close()
    signal.removeEventListener('abort', close)
    for (const each of forget) each?.()
  }
}
