import type { Message, StreamState } from './reading.ts'

/** What the tab that has the connection tells the others: what came, counted, and the position after it. */
interface Batch { readonly first: number, readonly items: ReadonlyArray<Message | StreamState>, readonly id: string }

/** A connection, which begins after an id. */
export interface Source extends AsyncIterable<ReadonlyArray<Message | StreamState>> { readonly lastEventId: string }

// How many events back a tab knows what it had: by how much one may be ahead of another.
const KNOWN = 1_024

/**
 * One connection for all tabs of an origin that ask for the same name. The one with the lock has it and tells the others what comes;
 * when it is gone, the next goes on after the last event that it was told of. Events are counted by all alike, so what
 * comes a second time is known.
 */
export async function * shared<E extends object> (name: string, lastEventId: string, open: (lastEventId: string) => Source, read: (message: Message) => E | undefined, signal: AbortSignal): AsyncGenerator<Array<E | StreamState>, void> {
  const channel = new BroadcastChannel(`sse ${name}`)
  /** The number of the last event, once one is known, and the ids of those before. */
  let last: number | undefined
  const ids = new Map<number, string>()
  let position = lastEventId
  let state: StreamState = 'connecting'
  let leads = false
  let came: Array<Message | StreamState> = []
  let wake = (): void => {}

  const apply = ({ first, items, id }: Batch): void => {
    let number = first
    for (const item of items) {
      if (typeof item === 'string') {
        state = item
        came.push(item)
      } else if (isNew(number++, item.id)) came.push(item)
    }
    last ??= number - 1
    if (last < number) position = id
    wake()
  }
  const isNew = (number: number, id: string): boolean => {
    if (last !== undefined && number <= last && ids.get(number) === id) return false
    last = number
    ids.set(number, id)
    ids.delete(number - KNOWN)
    return true
  }

  channel.onmessage = ({ data }: MessageEvent<Batch | 'where'>) => {
    if (data !== 'where') apply(data)
    else if (leads) channel.postMessage({ first: (last ?? 0) + 1, items: [state], id: position } satisfies Batch)
  }
  channel.postMessage('where')

  const lead = async (): Promise<void> => {
    leads = true
    const source = open(position)
    let first = (last ?? 0) + 1
    for await (const items of source) {
      const batch: Batch = { first, items, id: source.lastEventId }
      first += items.filter(item => typeof item !== 'string').length
      channel.postMessage(batch)
      apply(batch)
    }
    // The end may have moved the position.
    channel.postMessage({ first, items: [], id: source.lastEventId } satisfies Batch)
  }
  let over = false
  let failure: unknown
  navigator.locks.request(`sse ${name}`, { signal }, lead).catch(error => { failure = error }).finally(() => {
    over = true
    wake()
  })
  try {
    for (;;) {
      const items = came
      came = []
      if (items.length > 0) yield items.map(item => typeof item === 'string' ? item : read(item)).filter(item => item !== undefined)
      else if (over) break
      else await new Promise<void>(resolve => { wake = resolve })
    }
    if (failure !== undefined && !signal.aborted) throw failure
  } finally {
    channel.close()
  }
}
