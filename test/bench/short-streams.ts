import type { Transport } from './connection.ts'
import type { Contestant } from './contestant.ts'
import { Reader } from './reader.ts'
import { count, type Workload } from './workload.ts'

const CONNECTIONS = 20
const EVENTS = 10

/** Short streams one after the other, over kept-alive connections, from a generator that is always ready. */
export const shortStreams = ({ streams }: { streams: number }): Workload => ({
  name: 'short streams',
  what: `${count(streams)} streams of ${EVENTS} small events, ${CONNECTIONS} kept-alive connections`,
  ...reading(`/${EVENTS}`, streams)
})

/** The same from a source that checks a signal and has a `finally`, with a callback at the close. */
export function naturalStreams ({ streams, transport = 'http' }: { streams: number, transport?: Transport }): Workload {
  const { load, ...rest } = reading(`/natural/${EVENTS}`, streams)
  const closed = new Map<Contestant, number>()
  return {
    name: 'natural streams',
    what: `${count(streams)} streams of ${EVENTS} small events${{ http: '', https: ' over TLS', h2: ' over HTTP/2' }[transport]}, with a signal and a callback at the close`,
    ...rest,
    async load (contestant) {
      const seconds = await load(contestant)
      const total = (closed.get(contestant) ?? 0) + streams
      closed.set(contestant, total)
      // The closes belong to the measured work.
      await contestant.request('closed', total)
      return seconds
    }
  }
}

function reading (path: string, streams: number): Pick<Workload, 'unit' | 'amount' | 'prepare' | 'load'> {
  let readers: Reader[] = []
  return {
    unit: 'stream',
    amount: streams,
    async prepare (contestant) {
      readers = await Promise.all(Array.from({ length: CONNECTIONS }, () => Reader.open(contestant)))
    },
    async load () {
      const startedAt = performance.now()
      let left = streams
      await Promise.all(readers.map(async reader => {
        while (left-- > 0) await reader.read(path, EVENTS)
      }))
      const seconds = (performance.now() - startedAt) / 1000
      for (const reader of readers) reader.close()
      return seconds
    }
  }
}
