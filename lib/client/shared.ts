import type { Message, StreamState } from './reading.ts'

type Item = Message | StreamState

/** What the tab that has the connection tells the others: what came, the number of its first event, and the position after it. */
interface Batch { readonly first: number, readonly items: readonly Item[], readonly id: string }

/** `where` asks the one that leads, after `end` there is no more, and a number is for the tab itself whose number it is. */
type Told = Batch | 'where' | 'end' | number

/** A connection, which begins after an id. */
export interface Source extends AsyncIterable<readonly Item[]> { readonly lastEventId: string }

// How many events back a tab knows what it had: by how much one may be ahead of another.
const KNOWN = 1_024

/** What tabs have in common that share a stream: the name that they give it, or its address. */
export function nameOf (share: true | string, url: unknown): string {
  // A path means another stream on another page.
  return `sse ${share === true ? new URL(String(url), globalThis.location?.href).href : share}`
}

/**
 * One connection for all tabs of an origin that ask for the same name. The one with the lock has it and tells the others what comes;
 * when it is gone, the next goes on after the last event that it was told of. Events are counted by all alike, so what
 * comes a second time is known. The connection waits for no tab: each keeps what it has not read yet.
 */
export async function * shared<E> (
  name: string, lastEventId: string, open: (lastEventId: string) => Source, read: (message: Message) => E | undefined, signal: AbortSignal
): AsyncGenerator<Array<E | StreamState>, void> {
  const self = Math.random()
  let channel: BroadcastChannel | undefined
  /** The number of the last event, once one is known, and the ids of those before. */
  let last: number | undefined
  const ids = new Map<number, string>()
  let position = lastEventId
  let state: StreamState = 'connecting'
  let leads = false
  let over = false
  let failure: unknown
  let came: Item[] = []
  let wake!: () => void
  let heard = (): void => {}

  const tell = (told: Told): void => channel?.postMessage(told)
  const leave = (): void => {
    channel?.close()
    channel = undefined
    heard()
  }

  const apply = ({ first, items, id }: Batch): void => {
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

  const hear = ({ data }: MessageEvent<Told>): void => {
    if (data === self) heard()
    else if (data === 'end') {
      over = true
      wake()
    } else if (typeof data === 'object') apply(data)
    else if (data === 'where' && leads) tell({ first: last! + 1, items: [state], id: position })
  }

  /** What the others told before is in the same queue: when this comes back, a tab that was busy or asleep is not behind any more. */
  const catchUp = (): Promise<void> => new Promise(resolve => {
    heard = resolve
    const other = new BroadcastChannel(name)
    other.postMessage(self satisfies Told)
    other.close()
  })

  const lead = async (): Promise<void> => {
    leads = true
    // Who begins anew counts from a number that nobody has had.
    last ??= Date.now() * 1_000
    let first = last + 1
    const source = open(position)
    for await (const items of source) {
      const batch: Batch = { first, items, id: source.lastEventId }
      first += items.filter(item => typeof item !== 'string').length
      tell(batch)
      apply(batch)
    }
    if (!signal.aborted) tell('end')
  }

  const takePart = async (): Promise<void> => {
    const turn = (isFirst: boolean): Promise<boolean> => navigator.locks.request(name, { signal }, async () => {
      await catchUp()
      // Who knows nothing lets those go first who wait: one may know where the last one stopped.
      if (isFirst && last === undefined) return false
      if (!over) await lead()
      return true
    })
    try {
      channel = new BroadcastChannel(name)
      channel.onmessage = hear
      tell('where')
      if (!await turn(true)) await turn(false)
    } catch (error) {
      if (leads || signal.aborted) throw error
      // A page that may not keep anything may not have locks or channels either (SecurityError). It can have a connection of its own.
      leave()
      await lead()
    }
  }

  takePart().catch(error => { failure = error }).finally(() => {
    over = true
    wake()
  })
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
    over = true
    leave()
  }
}
